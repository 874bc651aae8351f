package rpc

import (
	"io"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/codec"
)

type panicking struct{ codec.Request }

func (panicking) AppendWire([]byte, []byte, []codec.Param) ([]byte, error) { panic("a test's") }

// TestAPanicOverAMessageIsTheCallsError reads a body as the backend's transport does, whose goroutine nobody recovers.
func TestAPanicOverAMessageIsTheCallsError(t *testing.T) {
	var cause error
	b := &jsonBody{ReadCloser: io.NopCloser(strings.NewReader("\x00\x00\x00\x00\x02{}")), call: &call{
		handler: &Handler{request: panicking{}, options: Options{MaxMessage: 100}}, cancel: func(err error) { cause = err }}}
	for range 2 {
		if n, err := b.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%d bytes are read, %v", n, err)
		}
	}
	if own, ok := cause.(*fault.Error); !ok || own.Reason != fault.Internal { //nolint:errorlint // as it was given
		t.Errorf("the call ends with %v", cause)
	}
}
