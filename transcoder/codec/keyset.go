package codec

import (
	"hash/maphash"
	"math/bits"
)

// keySet finds map keys that come twice, in maps within maps. A key is known by where it stands in the output.
type keySet struct {
	keys  []outputKey // of all maps that are open, the innermost last
	slots []uint32    // hash tables of those that are large, the innermost last
}

type outputKey struct {
	hash       uint64
	start, end int
}

// openMap is one map that is being written.
type openMap struct {
	firstKey  int
	firstSlot int
	expected  int // how many keys there may be
}

// fewKeys is up to how many keys are compared one by one.
const fewKeys = 8

var keySeed = maphash.MakeSeed()

// open begins a map of which the first entry is one of that many bytes out of a rest of that many.
func (s *keySet) open(entry, rest int) openMap {
	return openMap{len(s.keys), len(s.slots), min(rest/(entry+1), maxExpected)}
}

// maxExpected bounds how large a table may be before the keys are there.
const maxExpected = 4096

func (s *keySet) close(m openMap) { s.keys, s.slots = s.keys[:m.firstKey], s.slots[:m.firstSlot] }

// add adds the key out[start:end] to the map, which must be the innermost, and reports whether it is new.
func (s *keySet) add(m openMap, out []byte, start, end int) bool {
	key := outputKey{maphash.Bytes(keySeed, out[start:end]), start, end}
	keys := s.keys[m.firstKey:]
	if len(keys) < fewKeys {
		for _, k := range keys {
			if k.same(key, out) {
				return false
			}
		}
		s.keys = append(s.keys, key)
		return true
	}
	if slots := len(s.slots) - m.firstSlot; slots < 2*(len(keys)+1) {
		s.grow(m, max(2*slots, 8*fewKeys, 2<<bits.Len(uint(m.expected))))
	}
	slots := s.slots[m.firstSlot:]
	mask := uint64(len(slots) - 1)
	i := key.hash & mask
	for ; slots[i] != 0; i = (i + 1) & mask {
		if keys[slots[i]-1].same(key, out) {
			return false
		}
	}
	s.keys = append(s.keys, key)
	slots[i] = uint32(len(keys) + 1)
	return true
}

func (k outputKey) same(l outputKey, out []byte) bool {
	return k.hash == l.hash && string(out[k.start:k.end]) == string(out[l.start:l.end])
}

// grow gives the map a table of so many slots, a power of two.
func (s *keySet) grow(m openMap, size int) {
	s.slots = s.slots[:m.firstSlot]
	for range size {
		s.slots = append(s.slots, 0)
	}
	slots := s.slots[m.firstSlot:]
	for n, k := range s.keys[m.firstKey:] {
		i := k.hash & uint64(size-1)
		for slots[i] != 0 {
			i = (i + 1) & uint64(size-1)
		}
		slots[i] = uint32(n + 1)
	}
}

func (s *keySet) reset() { s.keys, s.slots = s.keys[:0], s.slots[:0] }

// shrink lets go of the memory of a huge map.
func (s *keySet) shrink() {
	if cap(s.keys) > maxKept/8 {
		*s = keySet{}
	}
}
