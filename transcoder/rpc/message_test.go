package rpc

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func TestTheMessageOfACallIsReadWhereItIsOne(t *testing.T) {
	frame := func(flags byte, text string) string { return string(appendPrefix(nil, flags, len(text))) + text }
	gone := errors.New("gone")
	long := frame(0, strings.Repeat("x", 1000))
	tests := []struct {
		name string
		body io.Reader
		want string
		all  bool
		err  error
	}{
		{"a message", strings.NewReader(frame(0, "abc")), frame(0, "abc"), true, nil},
		{"an empty one", strings.NewReader(frame(0, "")), frame(0, ""), true, nil},
		{"one of the most bytes", strings.NewReader(long), long, true, nil},
		{"byte by byte", iotest.OneByteReader(strings.NewReader(long)), long, true, nil},
		{"one whose end is not there yet", io.MultiReader(strings.NewReader(frame(0, "abc")), iotest.ErrReader(gone)), frame(0, "abc"), true, nil},
		{"a compressed one", strings.NewReader(frame(1, "abc")), frame(1, "abc"), false, nil},
		{"one of more bytes", strings.NewReader(frame(0, strings.Repeat("x", 1001))[:20]), frame(0, strings.Repeat("x", 1001))[:20], false, nil},
		{"one that claims four gigabytes", strings.NewReader("\x00\xff\xff\xff\xff"), "\x00\xff\xff\xff\xff", false, nil},
		{"two", strings.NewReader(frame(0, "abc") + frame(0, "d")), frame(0, "abc") + frame(0, "d"), false, nil},
		{"nothing", strings.NewReader(""), "", false, nil},
		{"half a prefix", strings.NewReader("\x00\x00"), "\x00\x00", false, nil},
		{"half a message", strings.NewReader(frame(0, "abc")[:6]), frame(0, "abc")[:6], false, nil},
		{"a client that leaves", io.MultiReader(strings.NewReader(frame(0, "abc")[:6]), iotest.ErrReader(gone)), frame(0, "abc")[:6], false, gone},
	}
	for _, test := range tests {
		got, whole, err := ReadMessage(nil, test.body, 1000)
		if !bytes.Equal(got, []byte(test.want)) || whole != test.all || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v, %v", test.name, got, whole, err)
		}
	}
}

func TestMessagesInOtherCodecsAreNotProto(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc+json": false, "application/grpc+thrift": false, "application/grpc; x=y": true,
	} {
		if IsProto(http.Header{"Content-Type": {kind}}) != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
	if IsProto(http.Header{"Content-Type": {"application/grpc", "application/grpc+json"}}) {
		t.Error("two content types are read as one")
	}
}
