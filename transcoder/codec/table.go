package codec

import "encoding/binary"

// table finds the index of a name. It is an open hash table at most half full, its hash made of the length and the
// first and last words of the name, so that most names are found with one comparison.
type table struct {
	names []entry
	mask  uint32
	slots []entry
}

type entry struct {
	name  string
	index int // -1 in an empty slot
}

// add adds a name; the first index of a name stays.
func (t *table) add(name string, index int) { t.names = append(t.names, entry{name, index}) }

// build makes the table out of what was added.
func (t *table) build() {
	size := 4
	for size < 2*len(t.names) {
		size *= 2
	}
	t.mask = uint32(size - 1)
	t.slots = make([]entry, size)
	for i := range t.slots {
		t.slots[i].index = -1
	}
	for _, e := range t.names {
		if t.find([]byte(e.name)) >= 0 {
			continue
		}
		i := hashName([]byte(e.name)) & t.mask
		for t.slots[i].index >= 0 {
			i = (i + 1) & t.mask
		}
		t.slots[i] = e
	}
	t.names = nil
}

// find returns the index of a name, -1 when there is none.
func (t *table) find(name []byte) int {
	for i := hashName(name) & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		if s.index < 0 || s.name == string(name) {
			return s.index
		}
	}
}

// hashName needs no protection against chosen names: the names in the table come from descriptors.
func hashName(b []byte) uint32 {
	var x, y uint64
	switch n := len(b); {
	case n >= 8:
		x, y = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		x, y = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		x, y = uint64(b[0])|uint64(b[n/2])<<8, uint64(b[n-1])
	}
	h := (x ^ uint64(len(b))<<56) * 0x9E3779B97F4A7C15
	h = (h ^ h>>32 ^ y) * 0xD6E8FEB86659FD93
	return uint32(h >> 32)
}
