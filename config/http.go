package config

// HTTPRoute passes requests on to HTTP backends. docs/http.md says what becomes of paths and headers.
type HTTPRoute struct {
	Pos Position `yaml:"-"`

	// The upstream, one of protocol http.
	Upstream string `yaml:"upstream" required:"true"`
	// Whether match.path_prefix is cut off the path, but for its last slash.
	StripPrefix bool `yaml:"strip_prefix" default:"false"`
	// What is put in front of the path, after strip_prefix: /base makes /base/x of /x.
	AddPrefix string `yaml:"add_prefix"`
	// A regular expression (RE2) and what takes the place of its first match in the path, after the prefixes.
	Rewrite *Rewrite `yaml:"rewrite"`
	// The Host that the backend gets: keep, the client's; upstream, the address of the endpoint; or a name, host[:port].
	Host string `yaml:"host" default:"keep"`
	// Odd things that a path may have, refused with 400 elsewhere because backends differ on what they mean: encoded_slash, %2F and %5C; empty_segment, //; parameters, a semicolon.
	AllowInPath []string `yaml:"allow_in_path" enum:"encoded_slash,empty_segment,parameters"`
	// Protocols that a connection may be upgraded to, as websocket; "*" for any. Elsewhere an Upgrade is not passed on.
	Upgrades []string `yaml:"upgrades"`
	// How long an upgraded connection may be silent in both directions. 0 for ever.
	IdleTimeout Duration `yaml:"idle_timeout" default:"5m"`
	// Which headers tell the backend where the request came from: x_forwarded, X-Forwarded-For, -Host and -Proto; forwarded, Forwarded (RFC 7239); both; or none. Whatever it is, a client's own are dropped, unless it is one of the listener's trusted_proxies.
	Forwarded string `yaml:"forwarded" default:"x_forwarded" enum:"x_forwarded,forwarded,both,none"`
	// The name that the gateway goes by in Via (RFC 9110 section 7.6.3), in both directions. Left out: no Via.
	Via string `yaml:"via"`
	// Changes of the request's headers. Values may have variables: {user}, {client_ip}, {host}, {scheme}, {method}, {path}, {request_id}, {route}, and {path.NAME} for a variable of match.template.
	RequestHeaders HeaderEdits `yaml:"request_headers"`
	// Changes of the answer's headers. Values may have the same variables.
	ResponseHeaders HeaderEdits `yaml:"response_headers"`
}

// Rewrite is a change of a path by a regular expression.
type Rewrite struct {
	Pos Position `yaml:"-"`

	// The expression, in the syntax of RE2. It sees the path as it came, percent-encoded, without query.
	Pattern string `yaml:"pattern" required:"true"`
	// What takes the place of the first match, with \1 to \9 for groups and \0 for all of it. What comes out must be a path, or the request is refused.
	Replacement string `yaml:"replacement" required:"true" empty:"true"`
}

// HeaderEdits are changes of headers, in this order: remove, set, add. Headers that belong to one connection, such as
// Connection and Transfer-Encoding, and Content-Length and Host are nobody's to change.
type HeaderEdits struct {
	Pos Position `yaml:"-"`

	// Headers taken out.
	Remove []string `yaml:"remove"`
	// Headers whose values are replaced by this one. Where the value comes out empty, the header is taken out.
	Set map[string]string `yaml:"set"`
	// Headers that get one more value.
	Add map[string]string `yaml:"add"`
}

// Redirect answers with a Location.
type Redirect struct {
	Pos Position `yaml:"-"`

	// Where to: a path, or a URL. It may have variables: {scheme}, {host}, {path}, {rest}, which is what follows match.path_prefix, and {path.NAME} for a variable of match.template.
	To string `yaml:"to" required:"true"`
	// The status: 301 and 302 let clients turn POST into GET, 303 makes them, 307 and 308 do not let them; 301 and 308 are kept for ever.
	Status string `yaml:"status" default:"307" enum:"301,302,303,307,308"`
	// What happens to the query: keep it, or drop it.
	Query string `yaml:"query" default:"keep" enum:"keep,drop"`
}
