package auth

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Changes are what admission does to the headers of a request and of its answer.
type Changes struct {
	// Remove are headers that the backend does not get from the caller.
	Remove []string
	// Request are headers that the backend gets.
	Request []HeaderChange
	// Answer are headers that the client gets.
	Answer []HeaderChange
}

// HeaderChange is one header with its value. Its name is canonical.
type HeaderChange struct {
	Name, Value string
	How         How
}

// How says what a change does where there is such a header.
type How uint8

// The ways.
const (
	Replace How = iota
	Append
	IfAbsent
	IfPresent // in place of the value that is there
)

// Apply changes one header.
func (c *HeaderChange) Apply(h http.Header) {
	had := h[c.Name]
	switch {
	case c.How == Append:
		// Not in place: the slice may be somebody else's.
		h[c.Name] = append(had[:len(had):len(had)], c.Value)
	case c.How == IfAbsent && len(had) > 0, c.How == IfPresent && len(had) == 0:
	default:
		h[c.Name] = []string{c.Value}
	}
}

// changeable returns the canonical form of a header that others than the gateway may set, "" for one that they may not: what frames
// a message, concerns one connection, or is the protocols' own.
func changeable(name string) string {
	if !httpguts.ValidHeaderFieldName(name) {
		return ""
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Host", "Content-Length",
		"Content-Type", "Content-Encoding":
		return ""
	}
	if strings.HasPrefix(name, "Grpc-") || strings.HasPrefix(name, "Sec-Websocket-") {
		return ""
	}
	return name
}
