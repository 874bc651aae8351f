package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
)

// Backend is where requests go to. Its errors are a *fault.Error where it knows what happened.
type Backend interface {
	RoundTrip(*http.Request) (*http.Response, error)
}

// Tunnels counts upgraded connections: net/http does not wait for what it has handed over.
type Tunnels interface {
	// Enter reports whether one more may begin; Leave says that it has ended.
	Enter() bool
	Leave()
	// Life ends when all of them must.
	Life() context.Context
}

// Options are what a handler needs besides its configuration.
type Options struct {
	Backend  Backend
	Template *routing.Template // what is matched
	Prefix   string            // match.path_prefix
	Timeout  time.Duration     // 0 for none
	MaxBody  int64
	Tunnels  Tunnels
	// OwnCORS says that the gateway answers CORS for the route, and so a backend's headers about it do not count.
	OwnCORS bool
}

// Call is what the gateway knows of an admitted request.
type Call struct {
	// Path is what was matched, percent-encoded.
	Path string
	Vars routing.Vars
	User string
	// Hops are the addresses that the request came through, from the client to the peer.
	Hops []netip.Addr
	// Trusted says that the peer is a trusted proxy.
	Trusted bool
	// Host and Scheme are what a trusted proxy says that the client used, empty where none does.
	Host, Scheme string

	RequestID string
	Route     string
	// Upgraded, where there is one, is called when the connection has become one of another protocol.
	Upgraded func()

	request *http.Request
}

// Handler serves the requests of one route. It is immutable and safe for concurrent use.
type Handler struct {
	options  Options
	host     string // the Host sent, "" for the endpoint's
	keepHost bool
	slashes  int // of the prefix that is cut off
	prefix   string
	rewrite  *regexp.Regexp
	by       string // what takes the place of what rewrite matches
	allowed  allowed
	origins  origins
	via      string
	upgrades []string
	idle     time.Duration // of an upgraded connection
	request  edits
	response edits
}

// Compile makes the handler of a route.
func Compile(cfg *config.HTTPRoute, o Options) (*Handler, error) {
	h := &Handler{
		options: o, prefix: cfg.AddPrefix, allowed: allowedOf(cfg.AllowInPath), via: cfg.Via, upgrades: cfg.Upgrades, idle: cfg.IdleTimeout.Std(),
		origins: origins{
			xForwarded: cfg.Forwarded == "x_forwarded" || cfg.Forwarded == "both",
			forwarded:  cfg.Forwarded == "forwarded" || cfg.Forwarded == "both",
		},
	}
	switch cfg.Host {
	case "keep":
		h.keepHost = true
	case "upstream":
	default:
		h.host = cfg.Host
	}
	if cfg.StripPrefix {
		h.slashes = strings.Count(o.Prefix, "/")
	}
	var err error
	if w := cfg.Rewrite; w != nil {
		if h.rewrite, err = regexp.Compile(w.Pattern); err != nil {
			return nil, fmt.Errorf("rewrite: %w", err)
		}
		h.by = replacement(w.Replacement)
	}
	fields := fieldsOf(o.Template)
	if h.request, err = compileEdits(&cfg.RequestHeaders, fields); err != nil {
		return nil, fmt.Errorf("request_headers: %w", err)
	}
	if h.response, err = compileEdits(&cfg.ResponseHeaders, fields); err != nil {
		return nil, fmt.Errorf("response_headers: %w", err)
	}
	return h, nil
}

// WithBackend returns the handler of requests that go to another backend.
func (h *Handler) WithBackend(b Backend) *Handler {
	other := *h
	other.options.Backend = b
	return &other
}

// replacement turns \1 into what package regexp knows.
func replacement(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '$':
			b.WriteString("$$")
		case c == '\\' && i+1 < len(s):
			if i++; s[i] == '\\' {
				b.WriteByte('\\')
			} else {
				b.WriteString("${" + s[i:i+1] + "}")
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// path returns the path that goes to the backend.
func (h *Handler) path(matched string) (string, *fault.Error) {
	if e := h.allowed.check(matched); e != nil {
		return "", e
	}
	path := matched
	if h.slashes > 0 {
		path = rest(path, h.slashes)
	}
	path = h.prefix + path
	if h.rewrite == nil {
		return path, nil
	}
	if at := h.rewrite.FindStringSubmatchIndex(path); at != nil {
		by := h.rewrite.ExpandString(nil, h.by, path, at)
		path = path[:at[0]] + string(by) + path[at[1]:]
		// What was taken apart can be put together to something else.
		if e := h.allowed.check(path); e != nil {
			return "", e
		}
	}
	return path, nil
}

// owned reports whether a header or trailer of the client's has a name under which the backend expects what the gateway says,
// also with underscores for hyphens, which servers that hand headers on as environment variables do not tell apart.
func (h *Handler) owned(name string) bool {
	name = hyphened(name)
	return isConnectionHeader(name) || saysOrigin(name) || slices.Contains(config.ConnectionHeaders, name) ||
		name == "X-Request-Id" || name == "Authorization" || name == "Cookie" || h.request.owns(name)
}
