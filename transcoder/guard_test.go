package transcoder

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// panicking is a codec that panics over messages with "panic" in them.
type panicking struct{ codec.Codec }

type (
	panickingRequest  struct{ codec.Request }
	panickingResponse struct{ codec.Response }
)

func (c panicking) CompileRequest(md protoreflect.MessageDescriptor, body string, o codec.Options) (codec.Request, error) {
	r, err := c.Codec.CompileRequest(md, body, o)
	return panickingRequest{r}, err
}

func (c panicking) CompileResponse(md protoreflect.MessageDescriptor, body string, o codec.Options) (codec.Response, error) {
	r, err := c.Codec.CompileResponse(md, body, o)
	return panickingResponse{r}, err
}

func (r panickingRequest) AppendWire(dst, body []byte, params []codec.Param) ([]byte, error) {
	if bytes.Contains(body, []byte("panic!")) {
		panic("a test's")
	}
	return r.Request.AppendWire(dst, body, params)
}

func (r panickingResponse) AppendJSON(dst, wire []byte) ([]byte, error) {
	if bytes.Contains(wire, []byte("panic?")) {
		panic("a test's")
	}
	return r.Response.AppendJSON(dst, wire)
}

func TestAPanicInAGoroutineOfACallEndsTheCallOnly(t *testing.T) {
	logger := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer slog.SetDefault(logger)
	broken := panicking{new(codec.Wire)}
	s := startShop(t, func(o *Options) { o.Codec = broken })
	for name, c := range map[string]struct{ line, body, want string }{
		"over a message of a stream":                 {"POST /v1/upload", `{"title":"a"}{"title":"panic!"}`, `{"code":13,"message":"the gateway failed"`},
		"over the first one, which may come late":    {"POST /v1/chat", `{"title":"panic!"}`, `{"code":13,"message":"the gateway failed"`},
		"over an answer":                             {"POST /v1/chat", `{"title":"panic?"}`, `{"code":13,"message":"the gateway failed"`},
		"over an answer after others are on the way": {"POST /v1/chat", `{"title":"a"}{"title":"panic?"}`, `{"title":"a"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, text := s.do(c.line, c.body); !strings.HasPrefix(text, c.want) || !strings.Contains(text, "the gateway failed") {
				t.Errorf("got %s", text)
			}
		})
	}
	t.Run("over a frame", func(t *testing.T) {
		socket := s.startSocket("Chat", "", func(o *Options, _ *SocketOptions, _ *counts) { o.Codec = broken })
		if got := converse(t, socket.dial(t, "/"), `{"title":"panic!"}`); got != "4113 the gateway failed" {
			t.Errorf("got %s", got)
		}
	})
}

func TestACloseFrameHoldsWhateverABackendSays(t *testing.T) {
	for _, message := range []string{"\xff", "\xff" + strings.Repeat("\xfe", 300), strings.Repeat("é", 100)} {
		code, reason := closing(status.Error(1<<31, message))
		if code != 4102 || !utf8.ValidString(reason) || len(reason) > maxReason || reason == "" {
			t.Errorf("code %v of %d: %d with %q", codes.Code(1<<31), 1<<31, code, reason)
		}
	}
}
