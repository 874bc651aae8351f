package wsbridge

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

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
	decisions        *decisions
	maxMessage       int64
	maxSubscriptions int
	queueSize        int
	pingInterval     time.Duration
	pingTimeout      time.Duration
	replyTimeout     time.Duration
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
		decisions:        new(decisions),
	}
	for _, o := range cfg.Origins {
		r.origins = append(r.origins, strings.ToLower(o))
	}
	for i := range cfg.Channels {
		r.channels = append(r.channels, compileChannel(&cfg.Channels[i]))
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
