package codec

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
)

func FuzzJSONToWire(f *testing.F) {
	c := theCorpus()
	all := newTwins()
	r := &filler{rand.New(rand.NewPCG(3, 4)), c}
	for i, md := range c.messages {
		name := string(md.FullName())
		w := all.pick(f, name, 0)
		for range 3 {
			if text, err := w.marshal.Marshal(r.message(md, 2)); err == nil && len(text) < 2000 {
				f.Add(name, uint8(i%len(twinOptions)), text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, name string, options uint8, text []byte) {
		all.pick(t, name, options).checkWire(t, text)
	})
}

func FuzzWireToJSON(f *testing.F) {
	c := theCorpus()
	all := newTwins()
	r := &filler{rand.New(rand.NewPCG(5, 6)), c}
	for i, md := range c.messages {
		name := string(md.FullName())
		for range 3 {
			wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(r.message(md, 2))
			if err == nil && len(wire) < 1000 {
				f.Add(name, uint8(i%len(twinOptions)), wire)
				f.Add(name, uint8(i%len(twinOptions)), r.disorder(wire, md))
			}
		}
	}
	f.Fuzz(func(t *testing.T, name string, options uint8, wire []byte) {
		all.pick(t, name, options).checkJSON(t, wire)
	})
}

// FuzzRequest has a body of one field or of the whole message with parameters in the form a=b&c.d=e.
func FuzzRequest(f *testing.F) {
	all := newRequestTwins(f)
	for i, b := range requestBodies {
		for n, text := range b.texts {
			f.Add(uint8(i), []byte(text), requestParams[(7*i+n)%len(requestParams)]+"&"+requestParams[(11*i+5*n+1)%len(requestParams)])
		}
	}
	f.Fuzz(func(t *testing.T, body uint8, text []byte, query string) {
		if err := all.compare(body, text, query); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzResponse prints one field of a message.
func FuzzResponse(f *testing.F) {
	c := theCorpus()
	all := newResponseTwins()
	r := &filler{rand.New(rand.NewPCG(7, 8)), c}
	for i, md := range c.messages {
		wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(r.message(md, 2))
		if err == nil && len(wire) < 1000 {
			f.Add(string(md.FullName()), uint8(i), uint8(i%len(twinOptions)), r.disorder(wire, md))
		}
	}
	f.Fuzz(func(t *testing.T, name string, field, options uint8, wire []byte) {
		if err := all.compare(name, field, options, wire); err != nil {
			t.Fatal(err)
		}
	})
}
