package codec

import (
	"math/rand/v2"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
)

// twins compiles the codec and the reference for a type and options that fuzzing picks.
type twins struct {
	mu  sync.Mutex
	all map[[2]int]*twin
}

func (w *twins) pick(t testing.TB, message uint16, options uint8) *twin {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := theCorpus()
	key := [2]int{int(message) % len(c.messages), int(options) % len(twinOptions)}
	if w.all[key] == nil {
		w.all[key] = newTwin(t, c.messages[key[0]], twinOptions[key[1]])
	}
	return w.all[key]
}

func FuzzJSONToWire(f *testing.F) {
	c := theCorpus()
	all := &twins{all: make(map[[2]int]*twin)}
	r := &filler{rand.New(rand.NewPCG(3, 4)), c}
	for i, md := range c.messages {
		w := all.pick(f, uint16(i), 0)
		for range 3 {
			if text, err := w.marshal.Marshal(r.message(md, 2)); err == nil && len(text) < 2000 {
				f.Add(uint16(i), uint8(i%len(twinOptions)), text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, message uint16, options uint8, text []byte) {
		all.pick(t, message, options).checkWire(t, text)
	})
}

func FuzzWireToJSON(f *testing.F) {
	c := theCorpus()
	all := &twins{all: make(map[[2]int]*twin)}
	r := &filler{rand.New(rand.NewPCG(5, 6)), c}
	for i, md := range c.messages {
		for range 3 {
			wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(r.message(md, 2))
			if err == nil && len(wire) < 1000 {
				f.Add(uint16(i), uint8(i%len(twinOptions)), wire)
				f.Add(uint16(i), uint8(i%len(twinOptions)), r.disorder(wire, md))
			}
		}
	}
	f.Fuzz(func(t *testing.T, message uint16, options uint8, wire []byte) {
		all.pick(t, message, options).checkJSON(t, wire)
	})
}
