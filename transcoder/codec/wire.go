package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Wire is the codec that builds no messages: it runs a [Program] over the bytes. A message type is compiled once for all requests
// and responses of the same options, so that one Wire serves all methods of a set of descriptors. The zero value is ready for use, and safe for
// concurrent use.
type Wire struct {
	// Limits bounds each conversion. It must not change once something is compiled.
	Limits Limits

	mu        sync.Mutex
	compilers map[Options]*Compiler
}

var _ Codec = (*Wire)(nil)

func (w *Wire) compiler(o Options) *Compiler {
	if o.Resolver != nil && !reflect.TypeOf(o.Resolver).Comparable() {
		return NewCompiler(o, w.Limits)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.compilers[o]
	if c == nil {
		c = NewCompiler(o, w.Limits)
		if w.compilers == nil {
			w.compilers = make(map[Options]*Compiler)
		}
		w.compilers[o] = c
	}
	return c
}

// CompileRequest is as [Codec] has it.
func (w *Wire) CompileRequest(md protoreflect.MessageDescriptor, body string, o Options) (Request, error) {
	p, err := w.compiler(o).Compile(md)
	if err != nil {
		return nil, err
	}
	r := &wireRequest{p: p, whole: body == "*"}
	if body != "" && !r.whole {
		if r.field, err = p.named("body", body); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// CompileResponse is as [Codec] has it. Required fields that a backend does not set are no error.
func (w *Wire) CompileResponse(md protoreflect.MessageDescriptor, responseBody string, o Options) (Response, error) {
	p, err := w.compiler(o).Compile(md)
	if err != nil {
		return nil, err
	}
	r := &wireResponse{p: p}
	if responseBody != "" {
		if r.field, err = p.named("response_body", responseBody); err != nil {
			return nil, err
		}
		r.bare = *r.field
		r.bare.prefix = nil
	}
	return r, nil
}

// named finds a field that a binding names.
func (p *Program) named(what, name string) (*field, error) {
	for _, f := range p.fields {
		if string(f.desc.Name()) == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("%s: %s has no field %q", what, p.name, name)
}

type wireRequest struct {
	p     *Program
	whole bool   // the body is the message
	field *field // the field that the body is
}

func (r *wireRequest) AppendWire(dst, body []byte, params []Param) ([]byte, error) {
	d := newDecoder(r.p.c, dst, body)
	defer d.free()
	d.params.set(params)
	switch {
	case len(bytes.TrimSpace(body)) == 0 || !r.whole && r.field == nil:
		return d.finish(dst, d.members(r.p, nil), "")
	case r.whole:
		return d.finish(dst, d.document(r.p), "")
	}
	return d.finish(dst, d.members(r.p, r.field), r.field.desc.JSONName())
}

// members writes a message that has the field f, of which the text is the value, and the parameters.
func (d *decoder) members(p *Program, f *field) int {
	seen := d.newSeen(p.slots)
	if f != nil && d.end(d.member(f, &seen, 0, skipSpace(d.in, 0))) < 0 {
		return -1
	}
	if !d.writeParams(p, &seen) || !d.initialized(p, &seen, 0) {
		return -1
	}
	return 0
}

type wireResponse struct {
	p     *Program
	field *field // what is printed; nil for the whole message
	bare  field  // the same without its name
}

func (r *wireResponse) AppendJSON(dst, wire []byte) ([]byte, error) {
	e := newEncoder(r.p.c)
	defer e.free()
	e.partial = true
	if r.field == nil {
		return e.run(dst, wire, r.p)
	}
	e.begin(dst, wire, false)
	out, err := e.selected(dst, wire, r)
	if mayBeMended(err) {
		e.begin(dst, wire, true)
		out, err = e.selected(dst, wire, r)
	}
	if err != nil {
		return dst, fmt.Errorf("codec: %s: %w", r.p.name, err)
	}
	return out, nil
}

// selected writes one field of a message and checks the others. One that is not set is what grpc-gateway prints: an empty message, an empty list, a default, or null.
func (e *encoder) selected(out []byte, wire []byte, r *wireResponse) ([]byte, error) {
	e.depth-- // of this message itself
	if err := e.collect(r.p, wire); err != nil {
		return out, err
	}
	n := 0
	for _, rec := range e.records {
		if rec.f == r.field {
			e.records[n] = rec
			n++
			continue
		}
		if err := e.checkRecord(rec); err != nil {
			return out, err
		}
		if rec.group == r.field.group { // another member of its oneof replaces it
			if err := e.checkAll(0, n); err != nil {
				return out, err
			}
			n = 0
		}
	}
	start := len(out)
	if n > 0 {
		var err error
		if out, err = e.occurrences(out, &r.bare, 0, n); err != nil || len(out) > start {
			return out, err
		}
	}
	f := r.field
	if f.card == singular && f.msg != nil && f.msg.form != formValue {
		return e.message(out, f.msg, nil)
	}
	if f.card == singular && f.msg != nil {
		return append(out, "null"...), nil
	}
	return append(out, unsetText(f)...), nil
}
