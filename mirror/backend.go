package mirror

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/upstream"
)

// Header marks copies, so that a backend can tell them from requests whose answer somebody gets.
const Header = "Crossgate-Mirror"

// Over returns b with copies of the unary calls and of the requests that it gets. b itself for a nil mirror.
func (m *Mirror) Over(b upstream.Backend) upstream.Backend {
	if m == nil {
		return b
	}
	return &mirrored{b, m}
}

// mirrored is a backend whose requests are copied.
type mirrored struct {
	upstream.Backend
	mirror *Mirror
}

// Invoke makes a unary call, and copies it before: its message is the caller's again after.
func (b *mirrored) Invoke(ctx context.Context, call *upstream.Call, reply *upstream.Reply) error {
	if m := b.mirror; m.reserve(int64(len(call.Request))) {
		m.add(m.sendCall(call))
	}
	return b.Backend.Invoke(ctx, call, reply)
}

func (m *Mirror) sendCall(call *upstream.Call) send {
	c := &upstream.Call{Method: call.Method, Request: slices.Clone(call.Request), Metadata: make([]string, 0, len(call.Metadata)+2)}
	for i := 0; i+1 < len(call.Metadata); i += 2 {
		if !m.without[call.Metadata[i]] {
			c.Metadata = append(c.Metadata, call.Metadata[i], call.Metadata[i+1])
		}
	}
	c.Metadata = append(c.Metadata, strings.ToLower(Header), "1")
	return func(ctx context.Context) bool {
		c.Deadline = time.Now().Add(m.timeout)
		var reply upstream.Reply
		return !isFailure(status.Code(m.to.Invoke(ctx, c, &reply)))
	}
}

// isFailure reports the codes with which a backend says that it failed, as upstreams' outlier detection has them.
func isFailure(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.DataLoss:
		return true
	}
	return false
}

// RoundTrip passes a request through. Its copy is sent once all of the body has passed by, or at once where there is none. A
// connection that becomes one of another protocol is none to copy.
func (b *mirrored) RoundTrip(r *http.Request) (*http.Response, error) {
	m := b.mirror
	if r.Header["Upgrade"] != nil || !m.reserve(r.ContentLength) {
		return b.Backend.RoundTrip(r)
	}
	c := m.copyOf(r)
	if r.Body == nil || r.Body == http.NoBody {
		m.add(c.send)
		return b.Backend.RoundTrip(r)
	}
	body := &passing{source: r.Body, copied: c, length: r.ContentLength}
	r = r.WithContext(r.Context())
	r.Body = body
	answer, err := b.Backend.RoundTrip(r)
	if err != nil {
		body.end(incomplete) // where nobody could be asked, nobody has closed it
	}
	return answer, err
}
