package admission

import (
	"net/url"
	"strings"
)

// carrier is a request as auth sees it.
type carrier Request

// Header implements auth.Carrier.
func (r *carrier) Header(name string) string { return (*Request)(r).HeaderValue(name) }

// HeaderValue returns the value of a header, by its canonical name. Of one that is there twice it returns "": which of the two
// is meant is for nobody to guess.
func (r *Request) HeaderValue(name string) string { return one(r.Request.Header[name]) }

func one(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// Cookie implements auth.Carrier.
func (r *carrier) Cookie(name string) string { return (*Request)(r).Cookie(name) }

// Cookie returns the value of a cookie, "" where there is none. Other cookies may be as odd as they like: a page's scripts set
// them too (RFC 6265 section 5.4). Of two with the name the first counts, whose path is the longer.
func (r *Request) Cookie(name string) string {
	for _, line := range r.Request.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if !ok || n != name {
				continue
			}
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			return value
		}
	}
	return ""
}

// Query implements auth.Carrier.
func (r *carrier) Query(name string) string {
	if !r.Upgrade && !r.pages || r.RawQuery == "" {
		return ""
	}
	values, err := url.ParseQuery(r.RawQuery)
	if err != nil {
		return ""
	}
	return one(values[name])
}

// Certificate implements auth.Carrier.
func (r *carrier) Certificate() string { return r.ClientCertificate }

// Subprotocol implements auth.Carrier.
func (r *carrier) Subprotocol(prefix string) string {
	if !r.Upgrade || prefix == "" {
		return ""
	}
	for _, line := range r.Request.Header["Sec-Websocket-Protocol"] {
		for name := range strings.SplitSeq(line, ",") {
			if credential, ok := strings.CutPrefix(strings.TrimSpace(name), prefix); ok {
				return credential
			}
		}
	}
	return ""
}
