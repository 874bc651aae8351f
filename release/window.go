package release

import "time"

// A window is what became of a side's requests of late, in slots of equal length: the one that is filled, and windowSlots-1 that
// are over. It slides by a slot at a time, and never grows. It is one goroutine's.
const windowSlots = 12

type window struct {
	current int
	slots   [windowSlots]counts
	ends    time.Time // when the slot in use is over
}

// add counts what ended in the last second.
func (w *window) add(c *counts) { w.slots[w.current].add(c) }

// slide drops what is older than length.
func (w *window) slide(now time.Time, length time.Duration) {
	each := length / (windowSlots - 1)
	switch {
	case w.ends.IsZero():
		w.ends = now.Add(each)
	case now.Sub(w.ends) > length:
		w.clear()
		w.ends = now.Add(each)
	}
	for !now.Before(w.ends) {
		w.current = (w.current + 1) % windowSlots
		w.slots[w.current] = counts{}
		w.ends = w.ends.Add(each)
	}
}

func (w *window) clear() { w.slots = [windowSlots]counts{} }

// sum returns what the window amounts to.
func (w *window) sum() *counts {
	sum := &counts{}
	for i := range w.slots {
		sum.add(&w.slots[i])
	}
	return sum
}
