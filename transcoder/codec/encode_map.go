package codec

import "google.golang.org/protobuf/encoding/protowire"

// mapping writes a map field, as long as its entries follow each other.
func (e *encoder) mapping(out []byte, f *field, b []byte, i int) ([]byte, int, error) {
	out = append(out, f.prefix...)
	open := len(out)
	var keys openMap
	for first := true; ; first = false {
		s, end, err := payload(b, i)
		if err != nil {
			return out, i, err
		}
		if first {
			keys = e.keys.open(len(s), len(b)-i)
		}
		if out, err = e.entry(out, f, s, keys); err != nil {
			return out, i, err
		}
		i = end
		next, after := varint(b, i)
		if i >= len(b) || after < 0 || next != f.tag {
			break
		}
		i = after
	}
	e.keys.close(keys)
	return closeWith(out, open, '{', '}'), i, nil
}

// entry writes an entry of a map with a comma before it. A key that the map has had is errOrder; when the input is indexed,
// where the last entry comes first, it is nothing.
func (e *encoder) entry(out []byte, f *field, s []byte, keys openMap) ([]byte, error) {
	at, err := e.scanEntry(f, s)
	if err != nil {
		return out, err
	}
	start := len(out)
	out = append(out, ',')
	if out, err = appendKey(out, f.mapK, s, at.key); err != nil {
		return out, err
	}
	if !e.keys.add(keys, out, start+1, len(out)) {
		if !e.indexed {
			return out, errOrder
		}
		return out[:start], e.check(f, s)
	}
	out = append(out, ':')
	switch {
	case at.value < 0:
		return e.defaultValue(out, f.mapV)
	case !at.split:
		out, _, err = e.value(out, f.mapV, s, at.value)
		return out, err
	case !e.indexed:
		return out, errOrder
	}
	return e.splitValue(out, f.mapV, s)
}

// entryAt is where in an entry its key and its value begin, behind their tags; -1 where there is none.
type entryAt struct {
	key, value int
	split      bool // the value is a message in several pieces
}

func (e *encoder) scanEntry(f *field, s []byte) (entryAt, error) {
	at := entryAt{key: -1, value: -1}
	for i := 0; i < len(s); {
		tag, next := varint(s, i)
		if next < 0 {
			return at, errWire
		}
		switch tag {
		case f.mapK.tag:
			if err := e.checkReplaced(f.mapK, s, at.key); err != nil {
				return at, err
			}
			at.key = next
		case f.mapV.tag:
			if at.split = at.value >= 0 && f.mapV.msg != nil; !at.split {
				if err := e.checkReplaced(f.mapV, s, at.value); err != nil {
					return at, err
				}
			}
			at.value = next
		}
		if tag&7 == uint64(protowire.BytesType) && tag>>3 != 0 && tag>>3 <= uint64(protowire.MaxValidNumber) {
			var err error
			if _, i, err = payload(s, next); err != nil {
				return at, err
			}
			continue
		}
		var err error
		if i, err = e.skip(s, next, tag); err != nil {
			return at, err
		}
	}
	return at, nil
}

// checkReplaced checks the key or the scalar value at an index of an entry, if any, which another one after it replaces.
func (e *encoder) checkReplaced(f *field, s []byte, i int) error {
	if i < 0 {
		return nil
	}
	return e.checkScalar(f, s[i:])
}

// appendKey writes the key at an index as a string.
func appendKey(out []byte, f *field, s []byte, i int) ([]byte, error) {
	if f.kind == kindString {
		var key []byte
		if i >= 0 {
			var err error
			if key, _, err = payload(s, i); err != nil {
				return out, err
			}
		}
		out, ok := appendString(out, key)
		if !ok {
			return out, errUTF8
		}
		return out, nil
	}
	out = append(out, '"')
	if i < 0 {
		s, i = zeros[:], 0
	}
	out, err := appendScalar(out, f, s, i)
	return append(out, '"'), err
}

// zeros is the wire form of the default of every scalar kind.
var zeros [8]byte

func appendScalar(out []byte, f *field, s []byte, i int) ([]byte, error) {
	out, _, err := (*encoder)(nil).value(out, f, s, i) // needs no encoder for a scalar
	return out, err
}

// defaultValue writes the value of an entry that has none.
func (e *encoder) defaultValue(out []byte, f *field) ([]byte, error) {
	if f.msg != nil {
		return e.message(out, f.msg, nil)
	}
	return appendScalar(out, f, zeros[:], 0)
}
