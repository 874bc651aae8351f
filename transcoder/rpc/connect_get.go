package rpc

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/fault"
)

// HasGet reports whether Connect's clients may call a method by GET: a unary one that says it has no side effects.
func HasGet(md protoreflect.MethodDescriptor) bool {
	o, ok := md.Options().(*descriptorpb.MethodOptions)
	return ok && o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS && !md.IsStreamingClient() && !md.IsStreamingServer()
}

// readQuery reads the call that is in the query of a GET: message and encoding, which is the codec, must be there;
// base64, compression and connect may be.
func (u *connectCall) readQuery(r *http.Request) error {
	bad := func(text string) error { return fault.New(fault.InvalidRequest, text) }
	if r.ContentLength > 0 {
		return bad("a GET has no body")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("the query has a broken escape")
	}
	one := func(name string) string {
		if values := query[name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	switch {
	case len(query["message"]) != 1:
		return bad("query: expected one parameter message")
	case len(query["encoding"]) != 1:
		return bad("query: expected one parameter encoding, proto or json")
	case query["connect"] != nil && one("connect") != "v1":
		return bad("query: connect: expected v1")
	}
	u.codec, u.encoding = one("encoding"), one("compression")
	u.body = append(u.body[:0], one("message")...)
	if one("base64") == "1" {
		// In the alphabet for URLs, with padding or not.
		text := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(one("message"), "="))
		if u.body, err = base64.RawURLEncoding.AppendDecode(u.body[:0], []byte(text)); err != nil {
			return bad("query: message: expected base64")
		}
	}
	return nil
}
