package release

import (
	"bytes"
	"testing"
	"time"
)

func TestANodesCountsAreReadAsTheyWereWritten(t *testing.T) {
	var tally tally
	for i, d := range []time.Duration{0, 0, time.Millisecond, 20 * time.Millisecond, time.Hour, -1} {
		tally.observe(Outcome(i%3), d)
	}
	c := tally.take()
	if c.requests != 4 || c.failures != 2 || c.timed() != 5 || *tally.take() != (counts{}) {
		t.Errorf("%+v", c)
	}
	for _, c := range []*counts{{}, c, full()} {
		text := c.appendTo(nil)
		got, rest, err := parseCounts(append(text, "rest"...))
		if err != nil || *got != *c || string(rest) != "rest" {
			t.Errorf("%x is read as %+v, %q, %v", text, got, rest, err)
		}
		if len(text) > 2048 {
			t.Errorf("they take %d bytes", len(text))
		}
	}
}

// full has the most that a node can have.
func full() *counts {
	c := &counts{requests: mostCounted, failures: mostCounted}
	for b := range c.delays {
		c.delays[b] = mostCounted
	}
	return c
}

func FuzzCounts(f *testing.F) {
	f.Add([]byte{})
	f.Add((&counts{requests: 3, failures: 1}).appendTo(nil))
	f.Add(full().appendTo(nil))
	f.Add([]byte{1, 2, 0})
	f.Add([]byte{9, 2, 2, 159, 1, 1, 0, 1})
	f.Fuzz(func(t *testing.T, from []byte) {
		c, rest, err := parseCounts(from)
		if err != nil {
			return
		}
		if c.failures > c.requests || c.requests > mostCounted || !bytes.HasSuffix(from, rest) {
			t.Errorf("%x is read as %+v", from, c)
		}
		if again, _, err := parseCounts(c.appendTo(nil)); err != nil || *again != *c {
			t.Errorf("%+v is written so that it is read as %+v, %v", c, again, err)
		}
	})
}
