package codec

// seenSet is the slots of one message that are taken: those of its fields, its oneofs, and of the required fields that have a
// value. The first 64 need no memory.
type seenSet struct {
	first uint64
	more  []uint64
	base  int // what decoder.bits is cut to when the message ends
}

// newSeen carves a set out of the decoder's memory.
func (d *decoder) newSeen(slots int) seenSet {
	s := seenSet{base: len(d.bits)}
	if slots > 64 {
		n := (slots - 1) / 64
		for range n {
			d.bits = append(d.bits, 0)
		}
		s.more = d.bits[s.base : s.base+n : s.base+n]
	}
	return s
}

func (s *seenSet) has(slot int) bool {
	if slot < 64 {
		return s.first>>slot&1 != 0
	}
	return s.more[slot>>6-1]>>(slot&63)&1 != 0
}

func (s *seenSet) add(slot int) {
	if slot < 64 {
		s.first |= 1 << slot
	} else {
		s.more[slot>>6-1] |= 1 << (slot & 63)
	}
}
