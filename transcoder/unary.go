package transcoder

import (
	"context"
	"net/http"
	"strconv"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
	"github.com/crossgate/crossgate/upstream"
)

var jsonType = []string{"application/json"}

// call is what a unary call needs, kept for the next one.
type call struct {
	body   []byte // the request's JSON
	json   []byte // the answer's JSON
	params []codec.Param
	reply  *upstream.Reply
}

var calls = sync.Pool{New: func() any { return &call{reply: upstream.NewReply()} }}

// keepable is the largest buffer that a pool keeps: one large message should not cost its memory for ever.
const keepable = 1 << 20

func (c *call) release() {
	c.reply.Reset()
	if cap(c.body) > keepable {
		c.body = nil
	}
	if cap(c.json) > keepable {
		c.json = nil
	}
	clear(c.params)
	c.params = c.params[:0]
	calls.Put(c)
}

func (m *Method) serveUnary(ctx context.Context, w http.ResponseWriter, r *http.Request, vars routing.Vars) {
	c := calls.Get().(*call)
	defer c.release()
	if err := m.roundTrip(ctx, c, r, vars); err != nil {
		m.back.header(w.Header(), c.reply.Header)
		m.back.named(w.Header(), c.reply.Trailer)
		m.fail(w, r, err)
		return
	}
	m.answer(w, r, c)
}

// roundTrip reads the request, calls the backend and prints the answer into c.json: nothing is written to the client
// before all of it is there.
func (m *Method) roundTrip(ctx context.Context, c *call, r *http.Request, vars routing.Vars) error {
	var err error
	if m.hasBody {
		if c.body, err = readBody(c.body[:0], r, m.options.MaxBodySize); err != nil {
			return err
		}
	} else {
		c.body = c.body[:0]
	}
	if c.params, err = m.params(c.params[:0], vars, r.URL.RawQuery, c.body); err != nil {
		return err
	}
	wire := takeWire()
	if *wire, err = m.request.AppendWire((*wire)[:0], c.body, c.params); err != nil {
		wirePool{}.Put(wire)
		return err
	}
	request := mem.NewBuffer(wire, wirePool{})
	err = m.options.Backend.Invoke(ctx, m.method.FullMethod, request, c.reply)
	request.Free()
	if err != nil {
		return err
	}
	if c.json, err = m.response.AppendJSON(c.json[:0], c.reply.Bytes()); err != nil {
		return fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	return nil
}

func (m *Method) answer(w http.ResponseWriter, r *http.Request, c *call) {
	h := w.Header()
	m.back.header(h, c.reply.Header)
	m.back.named(h, c.reply.Trailer)
	h["Content-Type"] = jsonType
	switch {
	case len(c.reply.Trailer) > 0 && takesTrailers(r):
		trailers(h, c.reply.Trailer)
	case len(c.json) > 2048:
		// Below this net/http finds the length itself. With it there would be no trailers in HTTP/1.1.
		h["Content-Length"] = []string{strconv.Itoa(len(c.json))}
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(c.json)
	}
}

// wirePool keeps request buffers. grpc-go gives one back when it is written, which may be after the call has ended.
type wirePool struct{}

// wires are larger than grpc-go's pooling threshold of 1 KiB, below which it never gives a buffer back.
var wires = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func takeWire() *[]byte { return wires.Get().(*[]byte) }

func (wirePool) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

func (wirePool) Put(b *[]byte) {
	if cap(*b) <= keepable {
		wires.Put(b)
	}
}
