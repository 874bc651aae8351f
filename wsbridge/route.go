package wsbridge

import (
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// Route is the compiled rules of one WebSocket route. It is immutable.
type Route struct {
	name             string
	service          string
	raw              bool
	compression      websocket.CompressionMode // of what clients send
	minCompressed    int                       // of the frames to clients
	atLeastOnce      bool
	queue            bus.Queue
	origins          admission.Origins
	channels         []channelRule
	decisions        *decisions
	assigned         []nameTemplate // the channels of every connection
	channelsClaim    string         // that names more of them; empty for none
	presence         bool           // some channel has it
	welcomeTimeout   time.Duration  // of the service, which is asked about connections; 0 where it is not
	maxMessage       int64
	maxSubscriptions int
	maxConnections   int
	maxPerUser       int
	maxPerIP         int
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
		queue:            bus.Queue{MaxLength: cfg.Queue.MaxLength, Window: cfg.Queue.DedupWindow.Std()},
		origins:          admission.CompileOrigins(cfg.Origins),
		maxMessage:       int64(cfg.MaxMessageSize),
		maxSubscriptions: cfg.MaxSubscriptions,
		maxConnections:   cfg.MaxConnections,
		maxPerUser:       cfg.MaxConnectionsPerUser,
		maxPerIP:         cfg.MaxConnectionsPerIP,
		queueSize:        int(cfg.QueueSize),
		pingInterval:     cfg.PingInterval.Std(),
		pingTimeout:      cfg.PingTimeout.Std(),
		replyTimeout:     cfg.ReplyTimeout.Std(),
		decisions:        new(decisions),
	}
	if c := cfg.Compression; c != nil {
		r.minCompressed = int(c.MinSize)
		if r.compression = websocket.CompressionNoContextTakeover; c.ContextTakeover {
			r.compression = websocket.CompressionContextTakeover
		}
	}
	for i := range cfg.Channels {
		r.channels = append(r.channels, compileChannel(&cfg.Channels[i]))
		r.presence = r.presence || cfg.Channels[i].Presence != nil
	}
	for _, pattern := range cfg.Subscribe {
		parts, _ := compilePattern(pattern)
		r.assigned = append(r.assigned, nameTemplate(parts))
	}
	r.channelsClaim = cfg.ChannelsClaim
	if c := cfg.Connect; c != nil && c.Ask {
		r.welcomeTimeout = c.Timeout.Std()
	}
	return r
}
