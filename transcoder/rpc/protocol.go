package rpc

import (
	"net/http"
	"strings"
)

// Protocol is the RPC protocol that a request speaks.
type Protocol uint8

// The protocols.
const (
	None          Protocol = iota // plain HTTP
	GRPC                          // gRPC over HTTP/2
	GRPCWeb                       // gRPC-Web
	GRPCWebText                   // gRPC-Web in base64
	Connect                       // a unary call of Connect by POST
	ConnectGet                    // a unary call of Connect by GET
	ConnectStream                 // a stream of Connect
)

// Detect says which protocol a request speaks, by its Content-Type, which each of them has to itself. Two need more: a
// POST of application/json, or of what is nobody's, is Connect's when it has a Connect-Protocol-Version, as the calls of
// Connect's clients do, and a GET when its query says connect=v1.
func Detect(r *http.Request) Protocol {
	if r.Method == http.MethodGet {
		if saysConnect(r.URL.RawQuery) {
			return ConnectGet
		}
		return None
	}
	values := r.Header["Content-Type"]
	if len(values) == 0 {
		return None
	}
	p, codec := parseContentType(values[0])
	if p == None || p == Connect && codec == "json" {
		if r.Header["Connect-Protocol-Version"] == nil {
			return None
		}
		return Connect
	}
	return p
}

// parseContentType returns the protocol of a media type, and the name of the messages' codec, "" for the default.
func parseContentType(s string) (p Protocol, codec string) {
	if s == "application/json" {
		return Connect, "json"
	}
	s, _, _ = strings.Cut(s, ";")
	kind, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(s)), "application/")
	if !ok {
		return None, ""
	}
	switch kind {
	case "json", "proto":
		return Connect, kind
	}
	for _, of := range [...]struct {
		prefix   string
		protocol Protocol
	}{{"grpc-web-text", GRPCWebText}, {"grpc-web", GRPCWeb}, {"grpc", GRPC}, {"connect", ConnectStream}} {
		if codec, ok = strings.CutPrefix(kind, of.prefix); !ok {
			continue
		}
		if codec != "" && codec[0] != '+' {
			return None, ""
		}
		return of.protocol, strings.TrimPrefix(codec, "+")
	}
	return None, ""
}

// saysConnect reports whether a query has the parameter connect=v1.
func saysConnect(query string) bool {
	const parameter = "connect=v1"
	for rest := query; ; {
		i := strings.Index(rest, parameter)
		if i < 0 {
			return false
		}
		after := rest[i+len(parameter):]
		if (i == 0 || rest[i-1] == '&') && (after == "" || after[0] == '&') {
			return true
		}
		rest = after
	}
}
