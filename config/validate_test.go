package config

import (
	"strings"
	"testing"
)

func TestBadProcessSectionsAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"listen addresses that are none, or are taken", `
listeners:
  - address: nowhere
  - address: 127.0.0.1:65536
  - address: "http://127.0.0.1:80"
  - address: A.example:80
  - address: 127.0.0.1:80
  - address: 127.0.0.1:80
  - address: 127.0.0.1:0
  - address: 127.0.0.1:0
`, `
c.yaml:2:14: address: "nowhere" is not an address; expected host:port
c.yaml:3:14: address: "127.0.0.1:65536" has no port from 1 to 65535
c.yaml:4:14: address: "http://127.0.0.1:80" is not an address; expected host:port
c.yaml:5:14: address: hosts are in lower case; write "a.example"
c.yaml:7:14: address: "127.0.0.1:80" is taken by another listener, at c.yaml:6:14
`},
		{"half a certificate", `
listeners:
  - address: :443
    tls: {certificate: c.pem}
`, `
c.yaml:3:10: tls: certificate and key are needed together
`},
		{"an admin listener that others can reach, without a token", `
admin: {address: 0.0.0.0:9901}
`, `
c.yaml:1:18: address: "0.0.0.0:9901" is not loopback; admin needs a token then
`},
		{"an admin listener on all addresses, without a token", `
admin: {address: ":9901"}
`, `
c.yaml:1:18: address: ":9901" is not loopback; admin needs a token then
`},
		{"an admin address that is none", `
admin: {address: none}
`, `
c.yaml:1:18: address: "none" is not an address; expected host:port
`},
		{"a redis url of another scheme", `
redis: {url: "http://localhost"}
`, `
c.yaml:1:14: url: the scheme is neither redis nor rediss, nor one of them with +sentinel or +cluster; expected redis://[user:password@]host:port/db
`},
		{"a redis url without a host", `
redis: {url: "redis://:password@/0"}
`, `
c.yaml:1:14: url: the URL cannot be read; expected redis://[user:password@]host:port/db, with other characters percent-encoded
`},
		{"a redis database that is no number", `
redis: {url: "redis://localhost/many"}
`, `
c.yaml:1:14: url: the URL cannot be read; expected redis://[user:password@]host:port/db, with other characters percent-encoded
`},
		{"redis without a url", `
redis: {prefix: "cg:"}
`, `
c.yaml:1:8: redis: url or urls is needed
`},
		{"redis with both url and urls", `
redis: {url: "redis://localhost", urls: ["redis://localhost"]}
`, `
c.yaml:1:41: urls: url is given too; one of the two is expected
`},
		{"two redis urls of one server, and one that is none", `
redis: {urls: ["redis://a:1", "redis://user:password@a:1", "redis+tree://a:2"]}
`, `
c.yaml:1:31: urls: another URL has the same host and port
c.yaml:1:60: urls: the scheme is neither redis nor rediss, nor one of them with +sentinel or +cluster; expected redis://[user:password@]host:port/db
`},
		{"sentinels without the name of a master", `
redis: {url: "redis+sentinel://localhost:26379"}
`, `
c.yaml:1:14: url: the URL names no master; expected redis+sentinel://[user:password@]host:port/db?master_name=name
`},
		{"a parameter that a cluster does not have", `
redis: {url: "redis+cluster://localhost:7000?master_name=x"}
`, `
c.yaml:1:14: url: the URL cannot be read; expected redis://[user:password@]host:port/db, with other characters percent-encoded
`},
		{"a redis prefix that is a pattern", `
redis: {url: "redis://localhost", prefix: "cg*"}
`, `
c.yaml:1:43: prefix: "cg*" may not have spaces, *, ?, brackets or braces
`},
	})
}

func TestBadDescriptorsAndRulesAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"a source of two kinds, or none", `
descriptors:
  - {file: a, protos: {root: b}}
  - {name: c}
`, `
c.yaml:2:5: descriptors: file and protos exclude each other; exactly one is needed
c.yaml:3:5: descriptors: exactly one of file, protos or reflection is needed
`},
		{"names that are taken", `
descriptors:
  - {file: a, name: a}
  - {file: b, name: a}
`, `
c.yaml:3:21: descriptors: the name "a" is taken, at c.yaml:2:21
`},
		{"reflection on an upstream that is not there", `
upstreams: [{name: shop, endpoints: ["a:1"]}]
descriptors: [{reflection: {upstream: shops}}]
`, `
c.yaml:2:39: there is no upstream named "shops"; did you mean "shop"?
`},
		{"globs that are none, or lead out of the root", `
descriptors:
  - {protos: {root: a, files: ["[", ../*.proto, /a.proto, a/../b.proto, a..b.proto]}}
`, `
c.yaml:2:32: files: "[" is not a glob; expected one as **/*.proto
c.yaml:2:37: files: "../*.proto" leads out of the root
c.yaml:2:49: files: "/a.proto" leads out of the root
c.yaml:2:59: files: "a/../b.proto" leads out of the root
`},
		{"rules without one verb, or without a method", `
http:
  rules:
    - {selector: a.B.C}
    - {selector: a.B.D, get: /a, post: /a}
    - {get: /a}
    - {selector: a/B.C, get: /a}
    - {selector: "a.*, *, a.B.C", get: /a}
    - {selector: "a.B*, a.*.C", get: /a}
    - {selector: a.B.C, get: /b}
`, `
c.yaml:3:7: rules: exactly one of get, put, post, delete, patch or custom is needed
c.yaml:4:7: rules: get and post exclude each other; exactly one is needed
c.yaml:5:7: selector is missing
c.yaml:6:18: selector: "a/B.C" is not a method; expected package.Service.Method, package.Service.*, package.* or *
c.yaml:8:18: selector: "a.B*" is not a method; expected package.Service.Method, package.Service.*, package.* or *
`},
		{"additional bindings with a method or bindings of their own", `
http:
  rules:
    - selector: a.B.C
      get: /a
      additional_bindings:
        - {selector: a.B.C, get: /a}
        - {get: /b, additional_bindings: [{get: /c}]}
        - {body: "*"}
`, `
c.yaml:6:22: selector: an additional binding is of its rule's method and has none of its own
c.yaml:7:42: additional_bindings: an additional binding has none of its own
c.yaml:8:11: rules: exactly one of get, put, post, delete, patch or custom is needed
`},
		{"templates, bodies and verbs that are none", `
http:
  rules:
    - {selector: a.B.C, get: a, body: "*.a", response_body: "*"}
    - {selector: a.B.D, custom: {kind: report, path: a}}
    - {selector: a.B.E, custom: {kind: "*", path: /a}, body: "", response_body: ""}
`, `
c.yaml:3:30: get: the path template "a" does not begin with /
c.yaml:3:39: body: "*.a" is neither a field nor *
c.yaml:3:61: response_body: "*" is not a field
c.yaml:4:40: kind: methods are in upper case; write "REPORT"
c.yaml:4:54: path: the path template "a" does not begin with /
`},
	})
}

func TestBadUpstreamsAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"names that are taken or malformed", `
upstreams:
  - {name: shop, endpoints: ["a:1"]}
  - {name: shop, endpoints: ["a:1"]}
  - {name: a/b, endpoints: ["a:1"]}
  - {name: ` + strings.Repeat("x", 129) + `, endpoints: ["a:1"]}
`, `
c.yaml:3:12: upstreams: the name "shop" is taken, at c.yaml:2:12
c.yaml:4:12: upstreams: the name "a/b" may only have letters, digits and the characters . - _
c.yaml:5:12: upstreams: the name "` + strings.Repeat("x", 80) + `"… is longer than 128 characters
`},
		{"endpoints that are none, or come twice", `
upstreams:
  - {name: a, endpoints: [a, "a:0", ":1", "https://a:1", "a:1", "a:1", "[::1]:1", "a_b:1", "a b:1", "-a:1", "a..b:1"]}
`, `
c.yaml:2:27: endpoints: "a" is not an address; expected host:port
c.yaml:2:30: endpoints: "a:0" has no port from 1 to 65535
c.yaml:2:37: endpoints: "" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:2:43: endpoints: "https://a:1" is not an address; expected host:port
c.yaml:2:65: endpoints: "a:1" is in the list twice
c.yaml:2:92: endpoints: "a b" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:2:101: endpoints: "-a" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:2:109: endpoints: "a..b" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
`},
		{"a client certificate without its key, and the other way round", `
upstreams:
  - {name: a, endpoints: ["a:1"], tls: {certificate: c}}
  - {name: b, endpoints: ["a:1"], tls: {key: k, server_name: "a:1"}}
`, `
c.yaml:2:40: tls: certificate is given without its key
c.yaml:3:40: tls: key is given without its certificate
c.yaml:3:62: server_name: "a:1" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
`},
	})
}

func TestBadAuthIsRefused(t *testing.T) {
	t.Parallel()
	const secret32 = "0123456789abcdef0123456789abcdef"
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	testBadInput(t, []badInput{
		{"a provider of two kinds, or none", `
auth:
  - {name: a}
  - {name: b, jwt: {key_file: k}, api_keys: {keys: [{id: a, sha256: ` + sum + `}]}}
`, `
c.yaml:2:5: auth: exactly one of jwt, introspection, api_keys, basic, client_certificate or login is needed
c.yaml:3:5: auth: jwt and api_keys exclude each other; exactly one is needed
`},
		{"no key, or two", `
auth:
  - {name: a, jwt: {issuer: x}}
  - {name: b, jwt: {key_file: k, jwks_url: "https://a/"}}
`, `
c.yaml:2:20: jwt: exactly one of secret, key_file, jwks_file, jwks_url or discovery is needed
c.yaml:3:20: jwt: key_file and jwks_url exclude each other; exactly one is needed
`},
		{"algorithms that are none, or do not fit the key", `
auth:
  - {name: a, jwt: {key_file: k, algorithms: [none, NONE, HS256, RS265, RS256, RS256]}}
  - {name: b, jwt: {secret: ` + secret32 + `, algorithms: [RS256, HS256]}}
`, `
c.yaml:2:47: algorithms: none would accept tokens without a signature; it is never allowed
c.yaml:2:53: algorithms: none would accept tokens without a signature; it is never allowed
c.yaml:2:59: algorithms: HS256 works with a shared secret, but the keys here are public
c.yaml:2:66: algorithms: "RS265" is not an algorithm known here; did you mean "RS256"?
c.yaml:2:80: algorithms: "RS256" is in the list twice
c.yaml:3:76: algorithms: RS256 works with a public key, but the key here is a shared secret
`},
		{"secrets shorter than the hash", `
auth:
  - {name: a, jwt: {secret: 0123456789abcdef0123456789abcde}}
  - {name: b, jwt: {secret: ` + secret32 + `, algorithms: [HS256, HS384]}}
  - {name: c, jwt: {secret: ` + secret32 + `, algorithms: [HS512]}}
  - {name: d, jwt: {secret: ` + secret32 + `}}
`, `
c.yaml:2:29: secret: it has 31 bytes; HS256 needs at least 32 (RFC 7518 section 3.2)
c.yaml:3:29: secret: it has 32 bytes; HS384 needs at least 48 (RFC 7518 section 3.2)
c.yaml:4:29: secret: it has 32 bytes; HS512 needs at least 64 (RFC 7518 section 3.2)
`},
		{"key set URLs that are none", `
auth:
  - {name: a, jwt: {jwks_url: file:///etc/passwd}}
  - {name: b, jwt: {jwks_url: "https://u:p@a/"}}
  - {name: c, jwt: {jwks_url: "https://a/#b"}}
  - {name: d, jwt: {jwks_url: jwks.json}}
`, `
c.yaml:2:31: jwks_url: the URL cannot be read; expected https://host[:port]/path
c.yaml:3:31: jwks_url: the URL has a user or a password in it; it may not
c.yaml:4:31: jwks_url: the URL has a fragment in it; it may not
c.yaml:5:31: jwks_url: the URL cannot be read; expected https://host[:port]/path
`},
		{"what is asked of tokens, twice, or of nobody", `
auth:
  - {name: a, jwt: {discovery: true}}
  - {name: b, jwt: {discovery: true, issuer: "https://id.example/?t=1", types: [JWT, JWT, "a b"]}}
  - {name: c, jwt: {key_file: k, required_claims: [{claim: t, values: [x, x]}, {claim: t}], role_map: [{value: v, roles: [r]}, {value: v, roles: [r]}]}}
routes:
  - {name: r, match: {path: /}, respond: {}, auth: {require: [b, c]}}
  - {name: s, match: {path: /s}, respond: {}, auth: {require: [c]}}
`, `
c.yaml:2:20: issuer: discovery asks the issuer; it is missing
c.yaml:3:46: issuer: an issuer with a query cannot be asked for its configuration
c.yaml:3:86: types: "JWT" is in the list twice
c.yaml:3:91: types: "a b" is not the name of a typ; " " may not be in one
c.yaml:4:75: values: "x" is in the list twice
c.yaml:4:88: required_claims: "t" is in the list twice
c.yaml:4:136: role_map: "v" is in the list twice
c.yaml:6:52: require: a token's provider is chosen by its issuer, and "c" has none
`},
		{"introspection without a client, or with two", `
auth:
  - {name: a, introspection: {url: "https://id.example/i"}}
  - {name: b, introspection: {url: "ftp://id.example/i", client_id: c, token: t}}
  - {name: c, introspection: {url: "https://id.example/i", token: t, client_secret: s}}
`, `
c.yaml:2:30: introspection: exactly one of client_id or token is needed
c.yaml:3:30: introspection: client_id and token exclude each other; exactly one is needed
c.yaml:3:30: introspection: client_id and client_secret go together
c.yaml:3:36: url: the URL cannot be read; expected https://host[:port]/path
c.yaml:4:30: introspection: client_id and client_secret go together
`},
		{"rules and identities that say nothing, or too much", `
routes:
  - {name: a, match: {path: /}, respond: {}, authorize: {rules: [{name: r, allow: a, deny: b}, {name: r, allow: a, dry_run: true}]}}
  - {name: b, match: {path: /b}, respond: {}, forward_identity: {headers: {X-User: usr, Host: user, X_User: user}, token_header: X-T}}
`, `
c.yaml:2:66: rules: allow and deny exclude each other; exactly one is needed
c.yaml:2:103: name: "r" is taken
c.yaml:2:125: dry_run: only a deny can report; an allow that is not there changes nothing for the next rules
c.yaml:3:65: forward_identity: only a grpc or an http route has a backend to tell
c.yaml:3:65: forward_identity: a token needs an audience, so that no other backend takes it
c.yaml:3:76: headers: "usr" is nothing to tell; expected user, provider, key_id, roles, scopes or claim:NAME; did you mean "user"?
c.yaml:3:89: headers: "Host" has a meaning of its own
c.yaml:3:101: headers: a name that begins with grpc- or sec-, ends with -bin or has an underscore cannot carry it
c.yaml:3:130: token_header: there is no key to sign with; identity_tokens is missing
`},
		{"API keys without one key, with a bad sum, or the same", `
auth:
  - name: a
    api_keys:
      keys:
        - {id: a}
        - {id: b, key: x, sha256: ` + sum + `}
        - {id: c, sha256: 0123}
        - {id: d, sha256: ` + strings.Repeat("x", 64) + `}
        - {id: e, sha256: ` + sum + sum + `}
        - {id: f, key: the-key}
        - {id: f, key: the-other-key}
        - {id: f, key: the-third-key, expires: tomorrow}
        - {id: g, key: the-key}
  - {name: b, api_keys: {}}
`, `
c.yaml:5:11: keys: exactly one of key or sha256 is needed
c.yaml:6:11: keys: key and sha256 exclude each other; exactly one is needed
c.yaml:7:27: sha256: expected 64 hexadecimal digits
c.yaml:8:27: sha256: expected 64 hexadecimal digits
c.yaml:9:27: sha256: expected 64 hexadecimal digits
c.yaml:12:16: keys: "f" has more than 2 keys
c.yaml:12:48: expires: "tomorrow" is no time; expected one as 2027-01-31T00:00:00Z
c.yaml:13:11: keys: "g" has the same key as "f", at c.yaml:10:11
c.yaml:14:25: api_keys: at least one of keys, file or redis is needed
`},
		{"credentials from nowhere, or from two places", `
auth:
  - name: a
    jwt: {key_file: k}
    from:
      - {}
      - {header: X-A, cookie: a}
      - {header: "X A"}
      - {cookie: "a;b"}
      - {subprotocol: "a,b"}
      - {query: token, scheme: Bearer}
      - {header: X-A, scheme: "a b"}
`, `
c.yaml:5:9: from: exactly one of header, cookie, query or subprotocol is needed
c.yaml:6:9: from: header and cookie exclude each other; exactly one is needed
c.yaml:7:18: header: "X A" is not the name of a header; " " may not be in one
c.yaml:8:18: cookie: "a;b" is not the name of a cookie; ";" may not be in one
c.yaml:9:23: subprotocol: "a,b" is not the name of a subprotocol; "," may not be in one
c.yaml:10:32: scheme: only a header has one
c.yaml:11:31: scheme: "a b" is not the name of a scheme; " " may not be in one
`},
	})
}

func TestBadRoutesAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"a route of two kinds, or none", `
routes:
  - {name: a, match: {path: /a}}
  - {name: b, match: {path: /b}, respond: {}, websocket: {service: b}}
  - {name: b, match: {path: /c}, respond: {}}
`, `
c.yaml:2:5: routes: exactly one of grpc, http, websocket, redirect, respond, docs, client or login is needed
c.yaml:3:5: routes: websocket and respond exclude each other; exactly one is needed
c.yaml:4:12: routes: the name "b" is taken, at c.yaml:3:12
`},
		{"paths that are missing, or are two", `
routes:
  - {name: a, respond: {}}
  - {name: b, match: {hosts: [a]}, websocket: {service: b}}
  - {name: c, match: {path: /a, path_prefix: /a/}, respond: {}}
  - {name: d, client: {}}
`, `
c.yaml:2:5: match: path, path_prefix or template is needed; only a grpc route can do without
c.yaml:3:22: match: path, path_prefix or template is needed; only a grpc route can do without
c.yaml:4:22: match: path and path_prefix exclude each other
c.yaml:5:5: match: path, path_prefix or template is needed; only a grpc route can do without
`},
		{"logins that cannot work", `
auth:
  - name: a
    login: {issuer: "https://id", client_id: x, redirect_url: "http://app.example.com/cb", keys: [short], cookie: "a b", scopes: ["a b"], after_logout: "//evil", lifetime: 1h, idle_time: 2h}
    from: [{cookie: x}]
  - {name: b, login: {issuer: id, client_id: x, redirect_url: "https://app/?a=b", keys: ["0123456789abcdef0123456789abcdef"]}}
  - {name: c, login: {client_id: x, redirect_url: "https://app/cb/", keys: []}}
  - {name: d, login: {issuer: "https://id", client_id: x, redirect_url: "http://localhost:8080/cb", keys: ["0123456789abcdef0123456789abcdef"]}}
  - {name: k, api_keys: {redis: true}}
routes:
  - {name: a, login: {provider: d}}
  - {name: b, match: {path: /x}, auth: {require: [d]}, login: {provider: k}}
  - {name: c, login: {provider: nobody}}
`, `
c.yaml:3:63: redirect_url: https is needed but on the machine itself
c.yaml:3:98: keys: key 1 has 5 bytes; at least 32 are needed
c.yaml:3:115: cookie: "a b" is not the name of a cookie; " " may not be in one
c.yaml:3:131: scopes: "a b" is no scope
c.yaml:3:153: after_logout: the URL cannot be read; expected https://host[:port]/path
c.yaml:3:188: idle_time: it is longer than lifetime
c.yaml:4:11: from: a session comes in the login's own cookie
c.yaml:5:31: issuer: the URL cannot be read; expected https://host[:port]/path
c.yaml:5:63: redirect_url: it has a query or a fragment
c.yaml:6:22: login: issuer is missing
c.yaml:6:76: keys: the list is empty; give it an element or leave the key out
c.yaml:11:22: match: a login route has paths and methods of its own, and no path
c.yaml:11:40: auth: whoever comes to a login route has not logged in yet
c.yaml:11:74: provider: "k" is no auth provider with login
c.yaml:12:33: provider: "nobody" is no auth provider with login
`},
		{"documentation with a path in match, of routes that have none, by servers that are none", `
routes:
  - {name: a, match: {path: /a}, respond: {}}
  - {name: b, match: {path_prefix: /b/, methods: [GET]}, docs: {routes: [a, c], servers: [api.example.com, "https://a/?b", ftp://a, "https://a/v1", /v2]}}
  - {name: d, docs: {openapi: docs, page: /docs/}}
  - {name: e, docs: {openapi: /e, page: /e}}
  - {name: f, docs: {page: "off"}}
`, `
c.yaml:3:22: match: a docs route has paths and methods of its own, and no path_prefix
c.yaml:3:22: match: a docs route has paths and methods of its own, and no methods
c.yaml:3:74: routes: "a" is no grpc route, and has nothing to describe
c.yaml:3:77: there is no route named "c"
c.yaml:3:91: servers: "api.example.com" is no base URL; expected one as https://api.example.com/v1, or a path
c.yaml:3:108: servers: a base URL is a scheme, a host and a path, and no more than that
c.yaml:3:124: servers: "ftp://a" is no base URL; expected one as https://api.example.com/v1, or a path
c.yaml:4:31: openapi: "docs" does not begin with /
c.yaml:4:43: page: "/docs/" ends with /; the page's files are below its path
c.yaml:5:41: page: "/e" is the path of the document
`},
		{"paths that are malformed", `
routes:
  - {name: a, match: {path: a}, respond: {}}
  - {name: b, match: {path_prefix: /a}, respond: {}}
  - {name: c, match: {path: "/a b"}, respond: {}}
  - {name: d, match: {path: "/a?b"}, respond: {}}
  - {name: e, match: {path: "/a%2"}, respond: {}}
  - {name: f, match: {path: /a/../b}, respond: {}}
  - {name: g, match: {path_prefix: "/{id}/"}, respond: {}}
  - {name: h, match: {path: /a/*}, respond: {}}
  - {name: i, match: {path: /ä}, respond: {}}
  - {name: j, match: {path: "/a%2Fb/@:~$"}, respond: {}}
`, `
c.yaml:2:29: path: "a" does not begin with /
c.yaml:3:36: path_prefix: "/a" does not end with /; write "/a/", and path for "/a" itself
c.yaml:4:29: path: "/a b" has " ", which must be percent-encoded in a path
c.yaml:5:29: path: "/a?b" has "?", which must be percent-encoded in a path
c.yaml:6:29: path: "/a%2" has a % without two hexadecimal digits after it
c.yaml:7:29: path: "/a/../b" has the segment ..; write the path without it
c.yaml:8:36: path_prefix: "/{id}/" has "{", which must be percent-encoded in a path
c.yaml:9:29: path: "/a/*" has a wildcard; use path_prefix for all paths below one
c.yaml:10:29: path: "/ä" has "ä", which must be percent-encoded in a path
`},
		{"hosts, methods and headers that are none", `
routes:
  - name: a
    match:
      path: /a
      hosts: [API.example.com, "a:80", "*", "a.*.b", "*.b.c", 192.0.2.1, "::1", "a/b", a.]
      methods: [get, GET, GET, "*", "A B"]
      headers: {"X A": a, X-B: "a\nb", x-c: a, X-C: a, Host: a}
    respond: {}
`, `
c.yaml:5:15: hosts: hosts are in lower case; write "api.example.com"
c.yaml:5:32: hosts: "a:80" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:5:40: hosts: "*" has a * elsewhere than in front, as *.example.com; leave hosts out for any
c.yaml:5:45: hosts: "a.*.b" has a * elsewhere than in front, as *.example.com; leave hosts out for any
c.yaml:5:81: hosts: "a/b" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:5:88: hosts: "a." is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:6:17: methods: methods are in upper case; write "GET"
c.yaml:6:27: methods: "GET" is in the list twice
c.yaml:6:32: methods: methods have no wildcard; leave the key out for all
c.yaml:6:37: methods: "A B" is not the name of a method; " " may not be in one
c.yaml:7:17: headers: "X A" is not the name of a header; " " may not be in one
c.yaml:7:27: headers: the value of "X-B" has a control character
c.yaml:7:40: headers: "X-C" and "x-c" are the same header
c.yaml:7:56: headers: for the host use hosts
`},
		{"references to what is not there", `
upstreams: [{name: shop, endpoints: ["a:1"]}]
auth: [{name: main, jwt: {key_file: k}}]
routes:
  - name: a
    grpc: {upstream: shops}
    auth: {require: [mian, main, main]}
`, `
c.yaml:5:22: there is no upstream named "shops"; did you mean "shop"?
c.yaml:6:22: there is no auth provider named "mian"; did you mean "main"?
c.yaml:6:34: require: "main" is in the list twice
`},
		{"auth that requires nobody", `
routes:
  - name: a
    match: {path: /a}
    respond: {}
    auth: {roles: [admin]}
`, `
c.yaml:5:11: auth: require is missing
`},
		{"services and headers of gRPC that are none", `
upstreams: [{name: shop, endpoints: ["a:1"]}]
routes:
  - name: a
    grpc:
      upstream: shop
      services: ["*", a.B, a.*, "a.*.b", "a*", "1a"]
      forward_headers: [X-A, X-*, "*", "X *"]
      ignored_query: [alt, utm_*, "*", a*b]
      return_headers: [X-A, "X A"]
`, `
c.yaml:6:33: services: "a.*.b" is not a service; expected package.Service, package.* or *
c.yaml:6:42: services: "a*" is not a service; expected package.Service, package.* or *
c.yaml:6:48: services: "1a" is not a service; expected package.Service, package.* or *
c.yaml:7:35: forward_headers: header has no name
c.yaml:7:40: forward_headers: "X " is not the name of a header; " " may not be in one
c.yaml:8:35: ignored_query: "*" is not the name of a query parameter; expected one as alt, or the start of some as utm_*
c.yaml:8:40: ignored_query: "a*b" is not the name of a query parameter; expected one as alt, or the start of some as utm_*
c.yaml:9:29: return_headers: "X A" is not the name of a header; " " may not be in one
`},
		{"streams, WebSockets and compression of gRPC that cannot be", `
upstreams: [{name: shop, endpoints: ["a:1"]}]
routes:
  - name: a
    grpc:
      upstream: shop
      streams: {framing: sse, event_id: "a..b"}
      websocket: {origins: [app.example.com], message_rate_limits: [{per: nobody, rate: 1/s}]}
    compression: {encodings: [gzip, none, zip, gzip]}
`, `
c.yaml:6:41: event_id: "a..b" is not a field; expected name or name.name
c.yaml:7:29: origins: "app.example.com" is not an origin; expected scheme://host[:port], as https://app.example.com, or *
c.yaml:7:75: per: "nobody" is nobody to count for; expected ip, user, key, route, method, connection, header:NAME, claim:NAME or path:NAME
c.yaml:8:37: encodings: none stands alone
c.yaml:8:43: encodings: "zip" is no encoding; expected zstd, br, gzip or none; did you mean "gzip"?
c.yaml:8:48: encodings: "gzip" is in the list twice
`},
		{"answers that cannot be given", `
routes:
  - {name: a, match: {path: /a}, respond: {body: a, file: a}}
  - {name: b, match: {path: /b}, respond: {status: 204, body: a}}
  - {name: c, match: {path: /c}, respond: {content_type: text}}
  - {name: d, match: {path: /d}, respond: {status: 100}}
`, `
c.yaml:2:43: respond: body and file exclude each other
c.yaml:3:52: status: an answer with status 204 has no body (RFC 9110 section 6.4.1)
c.yaml:4:58: content_type: "text" is not a media type; expected one as application/json
c.yaml:5:52: status: 100 is too small; the least is 200
`},
		{"security headers that browsers would not take", `
security_headers: {frame_options: none, referrer_policy: never, cross_origin_opener_policy: a}
routes:
  - name: a
    match: {path: /a}
    respond: {}
    security_headers: {hsts: {max_age: 30d, preload: true, include_subdomains: true}, content_security_policy: "a\nb", permissions_policy: "a\nb"}
  - name: b
    match: {path: /b}
    respond: {}
    security_headers: {hsts: {max_age: 365d, preload: true}}
  - name: c
    match: {path: /c}
    respond: {}
    security_headers: {hsts: {}}
  - name: d
    match: {path: /d}
    respond: {}
    security_headers: {}
`, `
c.yaml:1:35: frame_options: "none" is not one of deny or same_origin
c.yaml:1:58: referrer_policy: "never" is not one of no-referrer, no-referrer-when-downgrade, origin, origin-when-cross-origin, same-origin, strict-origin, strict-origin-when-cross-origin or unsafe-url
c.yaml:1:93: cross_origin_opener_policy: "a" is not one of unsafe-none, same-origin-allow-popups, same-origin or noopener-allow-popups
c.yaml:6:54: preload: the list takes only hosts with include_subdomains and a max_age of 365d or more
c.yaml:6:112: content_security_policy: the value of "Content-Security-Policy" has a control character
c.yaml:6:140: permissions_policy: the value of "Permissions-Policy" has a control character
c.yaml:10:55: preload: the list takes only hosts with include_subdomains and a max_age of 365d or more
c.yaml:14:30: hsts: max_age is missing
`},
		{"CORS with a star and credentials", `
routes:
  - name: a
    match: {path: /a}
    respond: {}
    cors: {origins: ["*"], credentials: true, headers: ["*"], methods: ["*"], expose: ["*"]}
  - name: b
    match: {path: /b}
    respond: {}
    cors: {origins: ["*"], headers: ["*"], methods: ["*"], expose: ["*"]}
`, `
c.yaml:5:22: origins: * is no wildcard where credentials are sent; name each
c.yaml:5:57: headers: * is no wildcard where credentials are sent; name each
c.yaml:5:73: methods: * is no wildcard where credentials are sent; name each
c.yaml:5:88: expose: * is no wildcard where credentials are sent; name each
`},
		{"origins that are none", `
routes:
  - name: a
    match: {path: /a}
    respond: {}
    cors:
      origins:
        - app.example.com
        - https://app.example.com/
        - HTTPS://App.example.com
        - https://app.example.com:443
        - http://app.example.com:80
        - https://app.example.com:x
        - https://*.com
        - https://a.*.example.com
        - "null"
        - https://user@app.example.com
        - "https://[::1"
        - "https://[::1]:8080"
        - http://localhost:5173
        - https://*.example.com
        - http://*.localhost:5173
`, `
c.yaml:7:11: origins: "app.example.com" is not an origin; expected scheme://host[:port], as https://app.example.com, or *
c.yaml:8:11: origins: "https://app.example.com/" is not an origin: it has more than scheme, host and port
c.yaml:9:11: origins: origins are in lower case; write "https://app.example.com"
c.yaml:10:11: origins: browsers leave the port of https out; write "https://app.example.com"
c.yaml:11:11: origins: browsers leave the port of http out; write "http://app.example.com"
c.yaml:12:11: origins: "https://app.example.com:x" has no port from 1 to 65535 after the colon
c.yaml:13:11: origins: "https://*.com" has too many names below it; expected one as https://*.example.com
c.yaml:14:11: origins: "a.*.example.com" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:15:11: origins: "null" is not an origin; expected scheme://host[:port], as https://app.example.com, or *
c.yaml:16:11: origins: "https://user@app.example.com" is not an origin: it has more than scheme, host and port
c.yaml:17:11: origins: "https://[::1" has no IPv6 address in the brackets
`},
		{"limits with a burst of nothing, or a cost that is not there", `
routes:
  - name: a
    match: {path: /a}
    respond: {}
    rate_limits:
      - {per: user, rate: 1/s, burst: 0, costs: [{methods: [GET]}]}
`, `
c.yaml:6:39: burst: 0 is too small; the least is 1
c.yaml:6:50: costs: cost is missing
`},
		{"limits of which it is not clear what they count", `
limits:
  - {rate: 1/s}
  - {name: all, rate: 1/s, per: [route, connection]}
  - {name: all, limit: all, quota: 5}
routes:
  - name: a
    match: {path: /a}
    respond: {}
    rate_limits:
      - {rate: 1/s, quota: 5}
      - {quota: 5, burst: 7, time_zone: Europe/Atlantis, store: leased}
      - {concurrency: 5, cost: 7, period: day, on_failure: deny}
      - {limit: all, per: user, cost: 3}
      - {limit: al}
      - {rate: 1/s, per: [user, user, "path:", "claim:"], costs: [{methods: [get, a..b], cost: 0}]}
      - {rate: 1/s, name: x}
      - {rate: 1/s, name: x}
      - {per: user}
      - {limit: all}
  - name: b
    match: {path: /b}
    websocket: {service: s, message_rate_limits: [{concurrency: 1}, {limit: all, per: [ip], dry_run: false}]}
`, `
c.yaml:2:5: limits: name is missing
c.yaml:4:12: limits: the name "all" is taken, at c.yaml:3:12
c.yaml:4:24: limit: a limit of the section limits names no other
c.yaml:10:9: rate_limits: rate and quota exclude each other; exactly one is needed
c.yaml:11:27: burst: it is for a rate
c.yaml:11:41: time_zone: "Europe/Atlantis" is no time zone; expected a name of the IANA database, as Europe/Berlin
c.yaml:11:65: store: leased is for a rate
c.yaml:12:32: cost: it is for a rate or a quota
c.yaml:12:43: period: it is for a quota
c.yaml:12:60: on_failure: it is for a store that may be gone
c.yaml:13:27: per: the limit "all" says that, in the section limits
c.yaml:14:17: there is no limit named "al"; did you mean "all"?
c.yaml:15:33: per: "user" is in the list twice
c.yaml:15:39: per: "" is not a field; expected name or name.name
c.yaml:15:48: per: claim has no name
c.yaml:15:78: methods: methods are in upper case; write "GET"
c.yaml:15:83: methods: selector: "a..b" is not a method; expected package.Service.Method, package.Service.*, package.* or *
c.yaml:17:27: name: another limit of the list is called "x"
c.yaml:18:9: rate_limits: exactly one of rate, quota, concurrency or limit is needed
c.yaml:19:17: limit: "all" is charged by the list already
c.yaml:22:65: concurrency: messages do not last; it is for rate_limits
`},
		{"limits for nobody", `
routes:
  - name: a
    match: {path: /a}
    respond: {}
    rate_limits:
      - {per: usr, rate: 1/s}
      - {per: connection, rate: 1/s}
      - {per: "header:", rate: 1/s}
      - {per: "header:X A", rate: 1/s}
      - {per: header:X-A, rate: 1/s}
`, `
c.yaml:6:15: per: "usr" is nobody to count for; expected ip, user, key, route, method, connection, header:NAME, claim:NAME or path:NAME; did you mean "user"?
c.yaml:7:15: per: connection counts messages; it is for message_rate_limits only
c.yaml:8:15: per: header has no name
c.yaml:9:15: per: "X A" is not the name of a header; " " may not be in one
`},
		{"copies for an upstream that cannot take them, or of what is not copied", `
upstreams: [{name: app, protocol: http, endpoints: ["h:1"]}, {name: rpc, endpoints: ["h:2"]}]
routes:
  - {name: a, match: {path: /a}, http: {upstream: app}, mirror: {upstream: app}}
  - {name: b, match: {path: /b}, http: {upstream: app}, mirror: {upstream: rpc}}
  - {name: c, match: {path: /c}, http: {upstream: app}, mirror: {upstream: none}}
  - {name: d, match: {path: /d}, respond: {}, mirror: {upstream: app}}
`, `
c.yaml:3:76: mirror: "app" is the route's own upstream, which would get requests twice
c.yaml:4:76: upstream: "rpc" is of protocol grpc; one of http is needed here
c.yaml:5:76: there is no upstream named "none"
c.yaml:6:55: mirror: only a grpc or an http route has requests that can be copied
`},
	})
}

func TestBadWebSocketRoutesAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"services, origins and limits that are none", `
routes:
  - name: a
    match: {path: /a}
    websocket:
      service: "a:b"
      origins: [a]
      message_rate_limits: [{per: connection, rate: 1/s}, {per: nobody, rate: 1/s}]
`, `
c.yaml:5:16: service: the name "a:b" may only have letters, digits and the characters . - _
c.yaml:6:17: origins: "a" is not an origin; expected scheme://host[:port], as https://app.example.com, or *
c.yaml:7:65: per: "nobody" is nobody to count for; expected ip, user, key, route, method, connection, header:NAME, claim:NAME or path:NAME
`},
		{"channels that are malformed or never reached", `
routes:
  - name: a
    match: {path: /a}
    websocket:
      service: a
      channels:
        - {pattern: "room:*"}
        - {pattern: "room:1"}
        - {pattern: "a*b"}
        - {pattern: "a b"}
        - {pattern: "news", subscribe: anyone, roles: [reader]}
        - {pattern: "*"}
        - {pattern: "last"}
`, `
c.yaml:8:21: pattern: "room:1" is never reached: "room:*" before it, at c.yaml:7:11, fits all of it
c.yaml:9:21: pattern: "a*b" has a * elsewhere than at its end
c.yaml:10:21: pattern: "a b" has a character in it that no channel has; expected printable ASCII without spaces
c.yaml:11:55: roles: only subscribers that are authenticated have roles, but subscribe is anyone
c.yaml:13:21: pattern: "last" is never reached: "*" before it, at c.yaml:12:11, fits all of it
`},
		{"channels that connections cannot be subscribed to", `
routes:
  - name: a
    match: {path: /a}
    websocket:
      service: a
      subscribe: ["user:{sub}", "room:*", "{x}", news, news]
`, `
c.yaml:6:33: subscribe: "room:*" has a *; expected the name of one channel
c.yaml:6:43: subscribe: "{x}" has the variable {x}; expected {sub} or {claims.name}
c.yaml:6:56: subscribe: "news" is in the list twice
`},
		{"channels with variables that say nothing clear", `
routes:
  - name: a
    match: {path: /a}
    websocket:
      service: a
      channels:
        - {pattern: "user:{sub}"}
        - {pattern: "user:{sub}"}
        - {pattern: "user:{user}"}
        - {pattern: "org:{claims.}:*"}
        - {pattern: "org:{claims.org}*"}
        - {pattern: "{sub}{claims.org}"}
        - {pattern: "a:{sub"}
        - {pattern: "a:}"}
        - {pattern: "a:{claims.{x}}"}
        - {pattern: "gone:{sub}", subscribe: nobody, roles: [reader]}
        - {pattern: "user:*"}
        - {pattern: "user:{claims.x}:y"}
`, `
c.yaml:8:21: pattern: "user:{sub}" is never reached: "user:{sub}" before it, at c.yaml:7:11, fits all of it
c.yaml:9:21: pattern: "user:{user}" has the variable {user}; expected {sub} or {claims.name}
c.yaml:10:21: pattern: "org:{claims.}:*" has the variable {claims.}; expected {sub} or {claims.name}
c.yaml:11:21: pattern: "org:{claims.org}*" has a variable right before the *; put a character between them
c.yaml:12:21: pattern: "{sub}{claims.org}" has two variables side by side; put a character between them
c.yaml:13:21: pattern: "a:{sub" has a brace that is not one of a pair
c.yaml:14:21: pattern: "a:}" has a brace that is not one of a pair
c.yaml:15:21: pattern: "a:{claims.{x}}" has the variable {claims.{x}; expected {sub} or {claims.name}
c.yaml:16:61: roles: only subscribers that are authenticated have roles, but subscribe is nobody
c.yaml:18:21: pattern: "user:{claims.x}:y" is never reached: "user:*" before it, at c.yaml:17:11, fits all of it
`},
	})
}

func TestGoodConfigurationsAreAccepted(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, input string }{
		{"listeners on all addresses, of both families, and by name", `
listeners: [{address: ":80"}, {address: "0.0.0.0:81"}, {address: "[::]:82"}, {address: "localhost:83"}, {address: "[fe80::1%eth0]:84"}]`},
		{"an admin listener that is off needs no token", `
admin: {address: "off"}`},
		{"an admin listener on loopback needs no token", `
admin: {address: "[::1]:9901"}`},
		{"an admin listener that others can reach, with a token", `
admin: {address: ":9901", token: abc}`},
		{"redis with TLS, a user and options", `
redis: {url: "rediss://user:p%40ss@redis.example.com:6380/3?dial_timeout=3s"}`},
		{"a gRPC route without match", `
upstreams: [{name: a, endpoints: ["a:1"]}]
routes: [{name: a, grpc: {upstream: a}}]`},
		{"a route for everything else", `
routes: [{name: a, match: {path_prefix: /}, respond: {status: 404}}]`},
		{"a section given as an alias", `
http: &h {}
log: {}`},
		{"secrets as long as their hash", `
auth: [{name: a, jwt: {secret: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef, algorithms: [HS256, HS384, HS512]}}]`},
		{"every algorithm of public keys", `
auth: [{name: a, jwt: {jwks_url: "http://127.0.0.1:1/k", algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]}}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mustParse(t, tt.input)
		})
	}
}
