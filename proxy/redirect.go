package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
)

// Redirect answers with a Location. It is immutable and safe for concurrent use.
type Redirect struct {
	to     text
	status int
	query  bool
}

// CompileRedirect makes the redirect of a route that matches template, whose path prefix may be "".
func CompileRedirect(cfg *config.Redirect, template *routing.Template, prefix string) (*Redirect, error) {
	slashes := strings.Count(prefix, "/")
	to, err := compileText(cfg.To, template.Fields(), map[string]func(*Call) string{
		"rest": func(c *Call) string {
			if slashes == 0 {
				return ""
			}
			return strings.TrimPrefix(rest(c.Path, slashes), "/")
		},
	})
	if err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	status, err := strconv.Atoi(cfg.Status)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return &Redirect{to: to, status: status, query: cfg.Query == "keep"}, nil
}

// Status returns the status that it answers with.
func (d *Redirect) Status() int { return d.status }

// Serve answers. The error is what the caller is to be told; nothing was written then.
func (d *Redirect) Serve(w http.ResponseWriter, r *http.Request, call *Call) *fault.Error {
	call.request = r
	// An empty segment in front would make a host of what follows, and dots are for nobody.
	if e := (allowed{encodedSlash: true, parameters: true}).check(call.Path); e != nil {
		return e
	}
	location := d.to.value(call, escapeLocation)
	if strings.HasPrefix(location, "//") {
		return badPath("has an escaped slash that would lead to another host")
	}
	if query := r.URL.RawQuery; d.query && query != "" {
		separator := "?"
		if strings.Contains(location, "?") {
			separator = "&"
		}
		location += separator + escapeBytes(query, func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '#' })
	}
	h := w.Header()
	h["Location"] = []string{location}
	h["Content-Length"] = []string{"0"}
	w.WriteHeader(d.status)
	return nil
}

// escapeLocation keeps what a path and a host have, and percent-encodes the rest, so that no variable begins a query, a
// fragment or a user.
func escapeLocation(s string) string {
	return escapeBytes(s, func(c byte) bool { return c <= ' ' || c >= 0x7f || strings.IndexByte("\"#<>?\\^`{|}@", c) >= 0 })
}
