package mirror

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/upstream"
)

// copied is a copy of a request that passes through.
type copied struct {
	mirror  *Mirror
	request *http.Request
	body    []byte
}

// copyOf copies all of r but its body. Trailers are left out.
func (m *Mirror) copyOf(r *http.Request) *copied {
	header := make(http.Header, len(r.Header)+1)
	for name, values := range r.Header {
		if name != "Expect" && !m.without[strings.ToLower(name)] {
			header[name] = values
		}
	}
	header[Header] = []string{"1"}
	if isGRPC(header) {
		header["Grpc-Timeout"] = []string{upstream.FormatTimeout(m.timeout)}
	}
	url := *r.URL
	return &copied{mirror: m, request: &http.Request{
		Method: r.Method, URL: &url, Host: r.Host, Header: header, ContentLength: r.ContentLength,
		Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
	}}
}

func isGRPC(h http.Header) bool { return strings.HasPrefix(h.Get("Content-Type"), "application/grpc") }

// maxAnswer is how much of an answer is read, so that its connection can be used again.
const maxAnswer = 1 << 20

func (c *copied) send(ctx context.Context) bool {
	r := c.request.WithContext(ctx)
	if c.body != nil {
		r.Body = io.NopCloser(bytes.NewReader(c.body))
	}
	answer, err := c.mirror.to.RoundTrip(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	if _, err := io.CopyN(io.Discard, answer.Body, maxAnswer); err != nil && err != io.EOF {
		return false
	}
	if isGRPC(answer.Header) {
		for _, h := range [...]http.Header{answer.Header, answer.Trailer} {
			if code, err := strconv.ParseUint(h.Get("Grpc-Status"), 10, 32); err == nil {
				return !isFailure(codes.Code(code))
			}
		}
		return false
	}
	return answer.StatusCode < http.StatusInternalServerError
}
