package proxy

import (
	"net/http"
	"net/textproto"
	"strings"
)

// stripConnection takes out what is for the next neighbour only: the headers that always are, and those that Connection
// names (RFC 9110 section 7.6.1).
func stripConnection(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range tokens(line) {
			delete(h, textproto.CanonicalMIMEHeaderKey(name))
		}
	}
	for name := range h {
		if isConnectionHeader(name) {
			delete(h, name)
		}
	}
}

// isConnectionHeader knows headers that belong to one connection whether or not Connection names them, as many senders
// forget to.
func isConnectionHeader(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// hyphened returns the header that a backend may take name for which hands headers on as environment variables: it does not tell
// underscores from hyphens (RFC 3875 section 4.1.18).
func hyphened(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// dropMistaken takes out what a backend without hyphens in names would take for what the gateway says, or for what frames the
// request.
func (h *Handler) dropMistaken(header http.Header) {
	for name := range header {
		if strings.IndexByte(name, '_') >= 0 && h.owned(name) {
			delete(header, name)
		}
	}
}

// tokens yields the elements of a list of tokens.
func tokens(line string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.Trim(token, " \t"); token != "" && !yield(token) {
				return
			}
		}
	}
}

// hasToken reports whether one of the elements of a header's lists is token, whatever its case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for t := range tokens(line) {
			if strings.EqualFold(t, token) {
				return true
			}
		}
	}
	return false
}

// upgradeOf returns the protocol that a request asks to upgrade to, one that the route takes, or "".
func (h *Handler) upgradeOf(r *http.Request) string {
	if len(h.upgrades) == 0 || r.ProtoMajor != 1 || r.ProtoMinor == 0 || !hasToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	for _, line := range r.Header["Upgrade"] {
		for asked := range tokens(line) {
			for _, taken := range h.upgrades {
				// With h2c a client would send requests past admission.
				if strings.EqualFold(asked, taken) || taken == "*" && !strings.EqualFold(asked, "h2c") {
					return asked
				}
			}
		}
	}
	return ""
}
