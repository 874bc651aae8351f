package wsbridge

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
)

// Route is the compiled rules of one WebSocket route. It is immutable.
type Route struct {
	name             string
	service          string
	raw              bool
	atLeastOnce      bool
	anyOrigin        bool
	origins          []string
	channels         []channelRule
	maxMessage       int64
	maxSubscriptions int
	queueSize        int
	pingInterval     time.Duration
	pingTimeout      time.Duration
	replyTimeout     time.Duration
}

type channelRule struct {
	pattern string // without its *
	prefix  bool
	allow   string
	roles   []string
}

// CompileRoute compiles the rules of a route.
func CompileRoute(name string, cfg *config.WebSocketRoute) *Route {
	r := &Route{
		name:             name,
		service:          cfg.Service,
		raw:              cfg.Mode == "raw",
		atLeastOnce:      cfg.Delivery == "at_least_once",
		anyOrigin:        slices.Contains(cfg.Origins, "*"),
		maxMessage:       int64(cfg.MaxMessageSize),
		maxSubscriptions: cfg.MaxSubscriptions,
		queueSize:        int(cfg.QueueSize),
		pingInterval:     cfg.PingInterval.Std(),
		pingTimeout:      cfg.PingTimeout.Std(),
		replyTimeout:     cfg.ReplyTimeout.Std(),
	}
	for _, o := range cfg.Origins {
		r.origins = append(r.origins, strings.ToLower(o))
	}
	for i := range cfg.Channels {
		c := &cfg.Channels[i]
		pattern, prefix := strings.CutSuffix(c.Pattern, "*")
		r.channels = append(r.channels, channelRule{pattern, prefix, c.Subscribe, c.Roles})
	}
	return r
}

// allowsOrigin checks the Origin header, which a browser always sends and a page cannot choose. Without it the client is
// no browser. The gateway's own origin is always allowed.
func (r *Route) allowsOrigin(req *http.Request) bool {
	values := req.Header["Origin"]
	if len(values) == 0 || r.anyOrigin {
		return true
	}
	if len(values) > 1 {
		return false
	}
	origin := strings.ToLower(values[0])
	if slices.Contains(r.origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, req.Host)
}

// maySubscribe decides by the first rule whose pattern fits.
func (r *Route) maySubscribe(channel string, id *auth.Identity) bool {
	for i := range r.channels {
		c := &r.channels[i]
		if channel != c.pattern && !(c.prefix && strings.HasPrefix(channel, c.pattern)) {
			continue
		}
		switch c.allow {
		case "anyone":
		case "authenticated":
			if !id.Authenticated() {
				return false
			}
		default:
			return false
		}
		return len(c.roles) == 0 || slices.ContainsFunc(c.roles, func(role string) bool { return slices.Contains(id.Roles, role) })
	}
	return false
}

// validChannel reports whether a name may be a channel's: 1 to 255 bytes, printable ASCII without spaces.
func validChannel(name string) bool {
	if name == "" || len(name) > 255 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
