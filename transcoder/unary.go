package transcoder

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
	"github.com/crossgate/crossgate/upstream"
)

var jsonType = []string{"application/json"}

// unaryCall is what a unary call needs, kept for the next one.
type unaryCall struct {
	body   []byte // the request's JSON
	json   []byte // the answer's JSON
	answer []byte // what the client gets: json, or part of reply
	params []codec.Param
	call   upstream.Call
	reply  upstream.Reply
	lost   bool // a write of the answer failed
}

var unaryCalls = sync.Pool{New: func() any { return new(unaryCall) }}

const (
	// writeAtOnce is how much of an answer net/http takes without waiting for the client.
	writeAtOnce = 4 << 10
	// answerTime is how long a client may take to read a whole answer.
	answerTime = 5 * time.Minute
)

// keepable is the largest buffer that a pool keeps: one large message should not cost its memory for ever.
const keepable = 1 << 20

func (c *unaryCall) release() {
	if c.lost {
		// HTTP/2's server may still be reading what it could not write.
		return
	}
	c.reply.Reset()
	for _, b := range []*[]byte{&c.body, &c.json, &c.call.Request} {
		if cap(*b) > keepable {
			*b = nil
		}
	}
	c.answer = nil
	clear(c.params)
	c.params = c.params[:0]
	clear(c.call.Metadata)
	c.call.Metadata = c.call.Metadata[:0]
	unaryCalls.Put(c)
}

// serveUnary makes a call of one message each way. timeout is 0 for none.
func (m *Method) serveUnary(w http.ResponseWriter, r *http.Request, vars routing.Vars, timeout time.Duration) {
	c := unaryCalls.Get().(*unaryCall)
	defer c.release()
	c.call.Deadline = time.Time{}
	if timeout > 0 {
		c.call.Deadline = time.Now().Add(timeout)
	}
	if err := m.roundTrip(c, w, r, vars); err != nil {
		m.back.header(w.Header(), c.reply.Header)
		m.back.named(w.Header(), c.reply.Trailer)
		m.fail(w, r, err)
		return
	}
	m.answer(w, r, c)
}

// roundTrip reads the request, calls the backend and makes c.answer: nothing is written to the client before all of it is
// there.
func (m *Method) roundTrip(c *unaryCall, w http.ResponseWriter, r *http.Request, vars routing.Vars) error {
	var err error
	if c.call.Metadata, err = m.forward.metadata(c.call.Metadata[:0], r); err != nil {
		return err
	}
	if c.body, c.params, err = m.readRequest(c.body, c.params[:0], TimedBody{Request: r, Writer: w, Deadline: c.call.Deadline}, vars); err != nil {
		return err
	}
	if c.call.Request, err = m.appendRequest(c.call.Request[:0], r, c.body, c.params); err != nil {
		return err
	}
	c.call.Method = m.method.FullMethod
	if err = m.options.Backend.Invoke(r.Context(), &c.call, &c.reply); err != nil {
		return err
	}
	if m.rawOut != nil {
		c.answer, err = m.rawOut.answer(w.Header(), c.reply.Bytes())
		return err
	}
	w.Header()["Content-Type"] = jsonType
	if c.json, err = m.response.AppendJSON(c.json[:0], c.reply.Bytes()); err != nil {
		return fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	c.answer = c.json
	return nil
}

func (m *Method) answer(w http.ResponseWriter, r *http.Request, c *unaryCall) {
	h := w.Header()
	m.back.header(h, c.reply.Header)
	m.back.named(h, c.reply.Trailer)
	switch {
	case len(c.reply.Trailer) > 0 && takesTrailers(r):
		trailers(h, c.reply.Trailer)
	case len(c.answer) > 2048:
		// Below this net/http finds the length itself. With it there would be no trailers in HTTP/1.1.
		h["Content-Length"] = []string{strconv.Itoa(len(c.answer))}
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		if r.ProtoMajor == 2 && len(c.answer) > writeAtOnce {
			// A client that opens no window must not hold on to the answer. Connections look after their own.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
		}
		_, err := w.Write(c.answer)
		c.lost = err != nil
	}
}
