package config

// Cache keeps the answers of a route to GET and HEAD, and to calls without side effects, as a shared cache does (RFC 9111). docs/cache.md says what is kept, for
// whom and how long.
type Cache struct {
	Pos Position `yaml:"-"`

	// How long an answer stays fresh that says nothing about it. 0: it is not kept. It is not for requests with credentials or cookies that key leaves out.
	TTL Duration `yaml:"ttl" default:"0s"`
	// The longest that any answer is fresh, whatever it says.
	MaxTTL Duration `yaml:"max_ttl" default:"24h"`
	// Whether an answer without ttl that has a Last-Modified is fresh for a tenth of its age, at most a day (RFC 9111 section 4.2.2).
	Heuristic bool `yaml:"heuristic" default:"false"`
	// How long after an answer has become stale it is still given while a new one is fetched in the background (RFC 5861), where the answer itself says neither that nor must-revalidate.
	StaleWhileRevalidate Duration `yaml:"stale_while_revalidate" default:"0s"`
	// How long after an answer has become stale it is still given where the backend fails with a status of 500, 502, 503 or 504 (RFC 5861), where the answer itself says neither that nor must-revalidate.
	StaleIfError Duration `yaml:"stale_if_error" default:"0s"`
	// Answers with a larger body pass unkept.
	MaxEntrySize Size `yaml:"max_entry_size" default:"1MiB" min:"1" max:"1GiB"`
	// What tells answers apart besides the route, scheme, host, path and query, and the message of a call.
	Key CacheKey `yaml:"key"`
	// What becomes of an answer with Set-Cookie: refuse keeps none, strip keeps it without its cookies, which only the first client gets.
	SetCookie string `yaml:"set_cookie" default:"refuse" enum:"refuse,strip"`
	// Whether Cache-Control of a request, as no-cache, counts: honour, or ignore, where clients must not be able to pass the cache by.
	RequestDirectives string `yaml:"request_directives" default:"honour" enum:"honour,ignore"`
	// How long a request for what another is already fetching waits for that one before it goes to the backend itself. 0: not at all.
	Coalesce Duration `yaml:"coalesce" default:"5s"`
	// Whether answers are kept in Redis, too, for other nodes and for what memory has no room for. Who can write there can have clients get anything.
	Redis bool `yaml:"redis" default:"false"`
	// Request headers with which a request passes the cache by, besides those that make frameworks take another URL or method, such as X-Original-URL and X-HTTP-Method-Override.
	BypassHeaders []string `yaml:"bypass_headers"`
	// Answer headers with the tags that an answer can be purged by. Left out: Cache-Tag and Surrogate-Key.
	TagHeaders []string `yaml:"tag_headers"`
	// Whether clients get tag_headers.
	Tags string `yaml:"tags" default:"pass" enum:"pass,strip"`
	// Further methods of a grpc route that have no side effects, besides those that say idempotency_level = NO_SIDE_EFFECTS, by their full names, as shop.v1.Catalog.Search; a component * at the end stands for one or more. They must be of one message each way.
	Methods []string `yaml:"methods"`
}

// CacheKey is what tells answers apart besides what always does.
type CacheKey struct {
	Pos Position `yaml:"-"`

	// Request headers.
	Headers []string `yaml:"headers"`
	// Cookies.
	Cookies []string `yaml:"cookies"`
	// Whether each caller has answers of their own. Elsewhere an answer to a caller with an identity is kept only where it says public or s-maxage.
	User bool `yaml:"user" default:"false"`
	// Metadata of gRPC calls that does not tell answers apart. Left out: all of it does, but for what clients, browsers, proxies and tracing send by themselves.
	IgnoreMetadata []string `yaml:"ignore_metadata"`
}

// CacheStore is the memory that the answers of all routes share.
type CacheStore struct {
	Pos Position `yaml:"-"`

	// The most memory, whose least useful answers go first.
	MaxMemory Size `yaml:"max_memory" default:"64MiB" min:"64KiB"`
	// What is kept in Redis, of routes that say so.
	Redis CacheRedis `yaml:"redis"`
}

// CacheRedis are the bounds of what is kept in Redis.
type CacheRedis struct {
	Pos Position `yaml:"-"`

	// How long Redis may take to answer before the backend is asked.
	Timeout Duration `yaml:"timeout" default:"50ms" min:"1ms" max:"1m"`
	// Larger answers are kept in memory alone.
	MaxEntrySize Size `yaml:"max_entry_size" default:"256KiB" min:"1"`
	// The longest that an answer is kept.
	MaxTTL Duration `yaml:"max_ttl" default:"1h"`
}
