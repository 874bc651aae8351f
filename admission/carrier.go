package admission

import (
	"net/http"
	"net/url"
	"strings"
)

// carrier is a request as auth sees it.
type carrier Request

// Header implements auth.Carrier. Of a header that is there twice it returns "": which of the two is meant is for
// nobody to guess.
func (r *carrier) Header(name string) string { return one(r.Request.Header[name]) }

func one(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// Cookie implements auth.Carrier.
func (r *carrier) Cookie(name string) string {
	for _, line := range r.Request.Header["Cookie"] {
		cookies, err := http.ParseCookie(line)
		if err != nil {
			continue
		}
		for _, c := range cookies {
			if c.Name == name {
				return c.Value
			}
		}
	}
	return ""
}

// Query implements auth.Carrier.
func (r *carrier) Query(name string) string {
	if !r.Upgrade || r.RawQuery == "" {
		return ""
	}
	values, err := url.ParseQuery(r.RawQuery)
	if err != nil {
		return ""
	}
	return one(values[name])
}

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
