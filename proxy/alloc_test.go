package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/routing"
)

// canned is a backend that answers without a connection, which has allocations of its own.
type canned struct{ answer http.Response }

func (c *canned) RoundTrip(*http.Request) (*http.Response, error) {
	c.answer.Body = io.NopCloser(strings.NewReader("hello"))
	c.answer.Header = http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"5"}}
	return &c.answer, nil
}

// sink is a client that takes anything.
type sink struct{ h http.Header }

func (s sink) Header() http.Header         { return s.h }
func (s sink) Write(b []byte) (int, error) { return len(b), nil }
func (s sink) WriteHeader(int)             {}

func TestForwardingAllocatesLittle(t *testing.T) {
	template, err := routing.PathPrefix("/")
	if err != nil {
		t.Fatal(err)
	}
	backend := &canned{http.Response{StatusCode: 200, ContentLength: 5}}
	h, err := Compile(&config.HTTPRoute{Host: "keep", Forwarded: "x_forwarded"}, Options{Backend: backend, Template: template, MaxBody: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/some/path?with=query", nil)
	call := &Call{Path: "/some/path", Hops: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, RequestID: "id"}
	w := sink{http.Header{}}
	n := testing.AllocsPerRun(1000, func() {
		if e := h.Serve(w, r, call); e != nil {
			t.Fatal(e)
		}
	})
	// The exchange, the request that goes out, three for 1xx answers, the client's address as text; five are the backend's.
	if n > 11 {
		t.Errorf("%v allocations", n)
	}
}
