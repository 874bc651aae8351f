package config

// Route is one thing served. Exactly one of GRPC, HTTP, WebSocket, Redirect, Respond, Docs, Client and Login is set.
type Route struct {
	Pos Position `yaml:"-"`

	// The name logs, metrics and errors use.
	Name string `yaml:"name" required:"true"`
	// Which requests are for this route.
	Match Match `yaml:"match"`
	// gRPC services, for native gRPC clients and as REST/JSON.
	GRPC *GRPCRoute `yaml:"grpc"`
	// HTTP requests, passed on to HTTP backends.
	HTTP *HTTPRoute `yaml:"http"`
	// WebSocket connections, for a service on the bus.
	WebSocket *WebSocketRoute `yaml:"websocket"`
	// An answer that sends the client elsewhere.
	Redirect *Redirect `yaml:"redirect"`
	// A fixed answer.
	Respond *Respond `yaml:"respond"`
	// Documentation of gRPC routes' REST side, at paths of its own.
	Docs *DocsRoute `yaml:"docs"`
	// The browser client, crossgate.js.
	Client *ClientRoute `yaml:"client"`
	// The paths of a login at an OpenID provider.
	Login *LoginRoute `yaml:"login"`

	// The release that sends part of the requests to other upstreams. For grpc and http routes. Left out: none.
	Release string `yaml:"release"`
	// Who may call. Left out: anyone.
	Auth *RouteAuth `yaml:"auth"`
	// How the backend is told who the caller is. Left out: by what the caller itself sends.
	ForwardIdentity *ForwardIdentity `yaml:"forward_identity"`
	// Rules about who may do what. Left out: whoever auth lets pass.
	Authorize *Authorize `yaml:"authorize"`
	// A service that is asked whether a request may pass. Left out: none.
	ExternalAuth *ExternalAuth `yaml:"external_auth"`
	// How often. Every rule must have room for the request.
	RateLimits []RateLimit `yaml:"rate_limits"`
	// Which routes are served first while the process has more to do than it can (docs/limits.md): low is shed first, critical never.
	Priority string `yaml:"priority" default:"normal" enum:"low,normal,high,critical"`
	// Which other web origins may call. Left out: none.
	CORS *CORS `yaml:"cors"`
	// Headers that have browsers be careful, in place of all of the gateway's security_headers; {} for none. Left out: the gateway's.
	SecurityHeaders *SecurityHeaders `yaml:"security_headers"`
	// How answers are compressed.
	Compression Compression `yaml:"compression"`
	// How answers are kept for those who ask for the same. Left out: they are not.
	Cache *Cache `yaml:"cache"`
	// The longest time for a request, from its headers to its last byte; for a stream 0, no limit, is common. An upgraded connection of an http route may last longer: it has idle_timeout.
	Timeout Duration `yaml:"timeout" default:"30s"`
	// The longest time until a backend answers: for one message all of the answer, else its headers. Left out: as long as timeout lets it.
	TryTimeout Duration `yaml:"try_timeout"`
	// The longest silence of a stream of gRPC or of an HTTP answer, in both directions. Left out: any.
	StreamIdleTimeout Duration `yaml:"stream_idle_timeout"`
	// How requests that failed are tried again. Left out: they are not, but for those that cannot have begun.
	Retry *Retry `yaml:"retry"`
	// When a request that takes long is sent to a second endpoint. Left out: never.
	Hedge *Hedge `yaml:"hedge"`
	// A second upstream that gets copies of requests. Left out: none.
	Mirror *Mirror `yaml:"mirror"`
	// The largest request body, and for gRPC the largest message.
	MaxBodySize Size `yaml:"max_body_size" default:"4MiB" min:"1"`
}

// Match says which requests are for a route. All that is set must hold.
type Match struct {
	Pos Position `yaml:"-"`

	// Host names without port: exact, or *.example.com for every name below it. Left out: any host.
	Hosts []string `yaml:"hosts"`
	// The exact path.
	Path string `yaml:"path"`
	// The start of the path, which must end with a slash. For gRPC routes it bounds the REST bindings; /package.Service/Method paths are always served.
	PathPrefix string `yaml:"path_prefix"`
	// In place of path and path_prefix, a path template as google.api.http has them: /v1/shops/{shop}/items/{rest=**}. Not for gRPC routes, whose methods have templates of their own.
	Template string `yaml:"template"`
	// HTTP methods. Left out: any that the target has.
	Methods []string `yaml:"methods"`
	// Headers that must be there with exactly this value, "*" for any value.
	Headers map[string]string `yaml:"headers"`
}

// GRPCRoute serves gRPC services.
type GRPCRoute struct {
	Pos Position `yaml:"-"`

	// The upstream that has the services.
	Upstream string `yaml:"upstream" required:"true"`
	// Full service names; package.* for every service of a package and those below it, * for all.
	Services []string `yaml:"services" default:"*"`
	// How messages become JSON.
	JSON JSON `yaml:"json"`
	// How the messages of a server stream stand in an HTTP answer.
	Streams Streams `yaml:"streams"`
	// WebSocket connections to the methods, at their own paths and at those of their REST bindings. Left out: none.
	WebSocket *GRPCWebSocket `yaml:"websocket"`
	// What happens to query parameters that are no field: refuse with 400, or ignore.
	UnknownQuery string `yaml:"unknown_query" default:"refuse" enum:"refuse,ignore"`
	// Query parameters that are always ignored, even where the message has a field of that name, such as key and alt; "*" at the end of a name is a wildcard.
	IgnoredQuery []string `yaml:"ignored_query"`
	// HTML forms, application/x-www-form-urlencoded and multipart/form-data, as request messages: refuse; same_origin, but not what a browser sends from another origin; or accept. A page of any origin may send a form with the user's cookies and without asking first.
	Forms string `yaml:"forms" default:"refuse" enum:"refuse,same_origin,accept"`
	// Methods whose update_mask stays as the client sent it: full names, package.Service.*, package.* or *. Elsewhere a PATCH whose body is one field of the request, a message, and that leaves a FieldMask field update_mask empty gets the paths of the fields in the body.
	KeepUpdateMask []string `yaml:"keep_update_mask"`
	// Request headers handed to the backend as metadata besides the standard ones; "*" at the end of a name is a wildcard.
	// Always handed on: traceparent, tracestate, x-request-id, accept-language, user-agent, and Grpc-Metadata-* without that prefix.
	ForwardHeaders []string `yaml:"forward_headers"`
	// Response metadata handed to the client as plain headers; the rest comes as Grpc-Metadata-*.
	ReturnHeaders []string `yaml:"return_headers"`
	// Whether requests of every protocol must hold to the buf.validate rules in their descriptors. Services without descriptors are not served then.
	Validate bool `yaml:"validate" default:"false"`
}

// JSON says how messages become JSON. The defaults are grpc-gateway's.
type JSON struct {
	Pos Position `yaml:"-"`

	// Field names in answers: lowerCamelCase JSON names, or the names of the .proto file. Requests may use both.
	Names string `yaml:"names" default:"json" enum:"json,proto"`
	// Fields without a value in answers.
	Unpopulated string `yaml:"unpopulated" default:"emit" enum:"emit,omit"`
	// Enum values in answers. Requests may use both.
	Enums string `yaml:"enums" default:"names" enum:"names,numbers"`
	// Integers of 64 bits in answers: strings, as the protobuf JSON mapping has them, or numbers, of which JavaScript and other readers lose the digits beyond 2^53. Requests may use both.
	Int64 string `yaml:"int64" default:"strings" enum:"strings,numbers"`
	// Fields of a request body that the message does not have.
	Unknown string `yaml:"unknown" default:"refuse" enum:"refuse,ignore"`
	// How deeply messages may nest, in requests and in answers. Most protobuf libraries read 100.
	MaxDepth int `yaml:"max_depth" default:"100" min:"1" max:"10000"`
}

// Streams says how the messages of a server stream stand in an HTTP answer. docs/streams.md shows each framing.
type Streams struct {
	Pos Position `yaml:"-"`

	// What a client gets whose Accept header asks for nothing else: a line of JSON for each message, a line {"result":…} as
	// from grpc-gateway, one JSON array, or server-sent events. By Accept: text/event-stream is sse, application/json an
	// array (or results, where that is the route's framing), and application/x-ndjson lines.
	Framing string `yaml:"framing" default:"ndjson" enum:"ndjson,result,array,sse"`
	// The field of a message, a string or a whole number, that is the id of its event; dots lead into embedded messages.
	// Left out, and for messages without that field: a running number. A client that comes again with Last-Event-ID
	// has it handed on as metadata last-event-id.
	EventID string `yaml:"event_id"`
	// How long a stream of events may be silent before it gets a comment, which keeps proxies from closing it. 0 for never.
	KeepAlive Duration `yaml:"keep_alive" default:"15s"`
}

// GRPCWebSocket is how gRPC methods are served over WebSocket: each frame is a message, and the closing frame the status.
// docs/streams.md is the contract. The largest message is the route's max_body_size.
type GRPCWebSocket struct {
	Pos Position `yaml:"-"`

	// Web origins that may connect: scheme://host[:port], scheme://*.example.com, or "*". Left out: only the origin of the gateway itself.
	Origins []string `yaml:"origins"`
	// How often a client may send. Every rule must have room for the message; per connection is a key here too.
	MessageRateLimits []RateLimit `yaml:"message_rate_limits"`
	// How often a connection is pinged.
	PingInterval Duration `yaml:"ping_interval" default:"25s" min:"10ms"`
	// How long a pong may take.
	PingTimeout Duration `yaml:"ping_timeout" default:"10s" min:"10ms"`
}

// Respond is a fixed answer. Body or File, not both.
type Respond struct {
	Pos Position `yaml:"-"`

	// The HTTP status.
	Status int `yaml:"status" default:"200" min:"200" max:"599"`
	// The body.
	Body string `yaml:"body" empty:"true"`
	// A file with the body, read at load.
	File Path `yaml:"file"`
	// The Content-Type.
	ContentType string `yaml:"content_type" default:"text/plain; charset=utf-8"`
}
