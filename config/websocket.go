package config

import "time"

// WebSocketRoute connects browsers to a service on the bus.
type WebSocketRoute struct {
	Pos Position `yaml:"-"`

	// The service that gets the messages.
	Service string `yaml:"service" required:"true"`
	// What a frame is for a client without a subprotocol: an envelope in JSON, or the payload itself.
	Mode string `yaml:"mode" default:"envelope" enum:"envelope,raw"`
	// Whether clients without WebSocket may come by server-sent events and POST at the same path. Only where mode is envelope.
	SSE bool `yaml:"sse" default:"true"`
	// Compression of messages with clients that can (permessage-deflate, RFC 7692). Left out: none.
	Compression *MessageCompression `yaml:"compression"`
	// Web origins that may connect: scheme://host[:port], scheme://*.example.com, or "*". Left out: only the origin of the gateway itself.
	Origins []string `yaml:"origins"`
	// How inbound messages reach the service: published to every replica, or queued for exactly one, losing none in a crash.
	Delivery string `yaml:"delivery" default:"at_most_once" enum:"at_most_once,at_least_once"`
	// How the service's queue is kept, where delivery is at_least_once.
	Queue Queue `yaml:"queue"`
	// Which channels clients may subscribe to. The first pattern that fits decides; none: denied.
	Channels []Channel `yaml:"channels"`
	// Channels that each connection is subscribed to as it opens: names, with {sub} and {claims.org} as in the patterns of channels. They ask nobody's leave; what is kept of them, and who is present, says the entry of channels that fits.
	Subscribe []string `yaml:"subscribe"`
	// A claim of the token, dotted for nested ones, that names channels which its connections are subscribed to as they open: a string or a list.
	ChannelsClaim string `yaml:"channels_claim"`
	// Whether the service is asked about each connection.
	Connect *Connect `yaml:"connect"`
	// How often a client may send. Every rule must have room for the message; per connection is a key here too. Left out: 1000/s per connection, with a burst of 5000.
	MessageRateLimits []RateLimit `yaml:"message_rate_limits"`
	// Rules about messages, subscriptions and questions about presence, each by itself, over the names of authorize and message.type, route, channel, size and data. Left out: whoever may connect may send.
	AuthorizeMessages *Authorize `yaml:"authorize_messages"`
	// The largest message from a client.
	MaxMessageSize Size `yaml:"max_message_size" default:"64KiB" min:"1" max:"64MiB"`
	// The most subscriptions of a connection.
	MaxSubscriptions int `yaml:"max_subscriptions" default:"128" min:"1"`
	// The most connections of the route on one node.
	MaxConnections int `yaml:"max_connections" default:"200000" min:"1"`
	// The most connections of one user of the route on one node. Anonymous ones are not counted.
	MaxConnectionsPerUser int `yaml:"max_connections_per_user" default:"10000" min:"1"`
	// The most connections of the route from one IP address, or one /64 of IPv6, on one node.
	MaxConnectionsPerIP int `yaml:"max_connections_per_ip" default:"20000" min:"1"`
	// The most bytes that wait for a slow client; beyond it the connection is closed with code 4008.
	QueueSize Size `yaml:"queue_size" default:"1MiB" min:"1KiB"`
	// How often an idle connection is pinged.
	PingInterval Duration `yaml:"ping_interval" default:"25s" min:"10ms"`
	// How long a pong may take, and a write.
	PingTimeout Duration `yaml:"ping_timeout" default:"10s" min:"10ms"`
	// How long a message with an id waits for the service's reply.
	ReplyTimeout Duration `yaml:"reply_timeout" default:"10s" min:"10ms"`
}

// MessageCompression is how the messages of WebSockets are compressed, each by itself.
type MessageCompression struct {
	Pos Position `yaml:"-"`

	// The smallest message to a client that is compressed.
	MinSize Size `yaml:"min_size" default:"512B" min:"1"`
	// Whether a client may compress a message by what it has sent before, which costs 32 KiB for each connection that does.
	ContextTakeover bool `yaml:"context_takeover" default:"false"`
}

// HasEvents reports whether clients without WebSocket are served.
func (w *WebSocketRoute) HasEvents() bool { return w.SSE && w.Mode == "envelope" }

// DefaultMessageRateLimits hold where a route has no message_rate_limits.
var DefaultMessageRateLimits = []RateLimit{{Per: []string{"connection"}, Rate: Rate{Events: 1000, Per: time.Second}, Burst: 5000, Cost: 1, Store: "memory"}}

// Connect has the service say whether a client may stay that connects, and which channels it is subscribed to.
type Connect struct {
	Pos Position `yaml:"-"`

	// Asks it. Nothing the client sends is handled before the answer.
	Ask bool `yaml:"ask" default:"true"`
	// How long the service may take. Without an answer the connection is closed with code 1013.
	Timeout Duration `yaml:"timeout" default:"5s" min:"10ms" max:"1m"`
}

// Channel is who may do what with the channels of a pattern.
type Channel struct {
	Pos Position `yaml:"-"`

	// The name. "*" at the end stands for any rest; {sub} for the subscriber's user and {claims.org} for a claim of its token, dotted for nested ones, any element of a list. A pattern with variables fits nobody who has no value for them.
	Pattern string `yaml:"pattern" required:"true"`
	// Who may subscribe. Token: who has a subscription token for the channel. Service: whom the service lets, which is asked.
	Subscribe string `yaml:"subscribe" default:"authenticated" enum:"anyone,authenticated,token,service,nobody"`
	// Roles of which a subscriber must have one.
	Roles []string `yaml:"roles"`
	// How long a node remembers what the service said of a user, its claims and a channel; 0s asks each time. Where subscribe is service.
	DecisionTTL Duration `yaml:"decision_ttl" default:"10s" max:"1h"`
	// What is kept of each channel, so that a client that comes back gets what it has missed. Left out: nothing.
	History *History `yaml:"history"`
	// Who is in each channel, for those who may know. Left out: nobody is told.
	Presence *Presence `yaml:"presence"`
}

// Presence is what is kept of who subscribes to a channel, and who may know.
type Presence struct {
	Pos Position `yaml:"-"`

	// Who may read it, and is told of events. Allowed: who may subscribe. Subscribers: who does. Nobody: only services.
	Read string `yaml:"read" default:"allowed" enum:"allowed,subscribers,nobody"`
	// Roles of which a reader must have one.
	Roles []string `yaml:"roles"`
	// Of what subscribers are told: of each connection that joins or leaves, of each user's first and last, or of none. For channels of some hundreds at most: each of n who join is told to n.
	Events string `yaml:"events" default:"none" enum:"none,connections,users"`
	// Claims of the token, dotted for nested ones, that others are shown. What the service says of a connection takes their place.
	Claims []string `yaml:"claims"`
	// The most bytes of JSON that others are shown of a connection. What is larger is not shown.
	MaxInfo Size `yaml:"max_info" default:"1KiB" min:"2" max:"64KiB"`
	// How long after a node's last sign of life its connections are taken out of the channel.
	TTL Duration `yaml:"ttl" default:"15s" min:"5s" max:"1h"`
	// How long a connection that has broken stays in the channel, so that who comes back in time has not left. With events of users.
	Grace Duration `yaml:"grace" default:"0s" max:"5m"`
}

// Queue is how a service's queue in Redis is kept.
type Queue struct {
	Pos Position `yaml:"-"`

	// The most messages that wait or are being handled; beyond it, messages are refused. What has been acknowledged does not count.
	MaxLength int `yaml:"max_length" default:"1000000" min:"1" max:"100000000"`
	// How long a message of a client that gives its name is remembered, so that it is queued once however often it is sent.
	DedupWindow Duration `yaml:"dedup_window" default:"5m" min:"1s" max:"24h"`
}

// History is how much of a channel is kept in Redis. Who publishes with the script of docs/websocket.md says it, too.
type History struct {
	Pos Position `yaml:"-"`

	// The most messages.
	Size int `yaml:"size" default:"100" min:"1" max:"100000"`
	// How long a message is kept.
	TTL Duration `yaml:"ttl" default:"5m" min:"1s" max:"720h"`
}
