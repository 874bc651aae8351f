package upstream

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// roundTrip sends one native gRPC message and returns the answer's messages.
func roundTrip(t testing.TB, p *Pool, text string) (string, error) {
	t.Helper()
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)))
	body := &onceBody{Reader: bytes.NewReader(append(frame, text...))}
	r := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/t.T/Echo"}, Host: "shop.example.com",
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "X-Sent": {"one"}}, Body: body, ContentLength: -1,
	}).WithContext(testContext(t))
	answer, err := p.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if got := answer.Trailer.Get("Grpc-Status"); got != "0" {
		t.Errorf("grpc-status %q, message %q", got, answer.Trailer.Get("Grpc-Message"))
	}
	if answer.Trailer.Get("X-Trailer") != "t" || answer.Header.Get("X-Echo") != "one" {
		t.Errorf("header %v, trailer %v", answer.Header, answer.Trailer)
	}
	return string(raw[min(5, len(raw)):]), nil
}

// onceBody fails when it is read after it was closed, as a server's request body does.
type onceBody struct {
	io.Reader
	closed bool
}

func (b *onceBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.Reader.Read(p)
}

func (b *onceBody) Close() error {
	b.closed = true
	return nil
}

func TestRoundTripPassesOverAnEndpointThatIsDown(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(closedAddress(t), a.address)).Pool("shop")
	for range 5 {
		if got, err := roundTrip(t, p, "hello"); err != nil || got != "hello" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestRoundTripMovesLargeMessages(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address)).Pool("shop")
	text := strings.Repeat("x", 6<<20)
	if got, err := roundTrip(t, p, text); err != nil || got != text {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestRoundTripWithoutABackendSaysUnavailable(t *testing.T) {
	p := openSet(t, nil, upstreamOf(closedAddress(t))).Pool("shop")
	if _, err := roundTrip(t, p, "x"); status.Code(err) != codes.Unavailable {
		t.Errorf("error %v", err)
	}
}

func TestABodyIsLeftOpenForTheNextEndpointUntilItIsRead(t *testing.T) {
	owned := &onceBody{Reader: strings.NewReader("x")}
	unsent := &sentBody{body: owned}
	if err := unsent.Close(); err != nil || owned.closed {
		t.Fatalf("closed before it was read: %v, the caller's body is closed: %v", err, owned.closed)
	}
	if _, err := unsent.Read(make([]byte, 1)); err == nil {
		t.Error("it can be read after it was closed")
	}
	next := &sentBody{body: owned}
	if n, err := next.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the next endpoint reads %d, %v", n, err)
	}
	if err := next.Close(); err != nil || !owned.closed {
		t.Error("closing a body that is being read does not end the read")
	}
}
