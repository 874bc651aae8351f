package config

import "testing"

func TestBadHTTPRoutesAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"upstreams of the other protocol", `
upstreams: [{name: g, endpoints: ["a:1"]}, {name: h, protocol: http, endpoints: ["a:1"]}]
routes:
  - {name: a, match: {path: /a}, http: {upstream: g}}
  - {name: b, grpc: {upstream: h}}
  - {name: c, match: {path: /c}, http: {upstream: hh}}
`, `
c.yaml:3:51: upstream: "g" is of protocol grpc; one of http is needed here
c.yaml:4:32: upstream: "h" is of protocol http; one of grpc is needed here
c.yaml:5:51: there is no upstream named "hh"
`},
		{"paths that lead nowhere", `
upstreams: [{name: h, protocol: http, endpoints: ["a:1"]}]
routes:
  - {name: a, match: {path: /a}, http: {upstream: h, strip_prefix: true}}
  - {name: b, match: {path: /b}, http: {upstream: h, add_prefix: /x/}}
  - {name: c, match: {path: /c, template: "/{c}"}, http: {upstream: h, host: "a/b"}}
  - {name: d, match: {path: /d}, http: {upstream: h, rewrite: {pattern: "(", replacement: a}}}
  - {name: e, match: {path: /e}, http: {upstream: h, rewrite: {pattern: "(a)", replacement: "\\2"}}}
`, `
c.yaml:3:68: strip_prefix: match.path_prefix is needed, to be cut off
c.yaml:4:66: add_prefix: "/x/" ends with /, which the path begins with
c.yaml:5:22: match: template excludes path and path_prefix
c.yaml:5:78: host: "a/b" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:6:73: pattern: error parsing regexp: missing closing ): ` + "`(`" + `
c.yaml:7:93: replacement: "\\2" has \2, and the pattern has no such group
`},
		{"headers that are nobody's to change", `
upstreams: [{name: h, protocol: http, endpoints: ["a:1"]}]
routes:
  - {name: a, match: {path: /a}, http: {upstream: h, request_headers: {set: {connection: x}, remove: [Host]}}}
`, `
c.yaml:3:78: request_headers: "connection" is the connection's, and nobody else's to change
c.yaml:3:103: request_headers: "Host" is the connection's, and nobody else's to change
`},
		{"redirects that clients could lead elsewhere", `
routes:
  - {name: a, match: {path: /a}, redirect: {to: "//{host}/"}}
  - {name: b, match: {path: /b}, redirect: {to: "https://{path}"}}
  - {name: c, match: {path: /c}, redirect: {to: "ftp://a/"}}
  - {name: d, match: {path_prefix: /d/}, redirect: {to: "https://{rest}.example/"}}
  - {name: e, match: {path: /e}, redirect: {to: /e, status: 200}}
`, `
c.yaml:2:49: to: "//{host}/" leads to another host; write its scheme too
c.yaml:3:49: to: "" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:4:49: to: "ftp://a/" is neither a path nor a URL of http or https
c.yaml:5:57: to: "{rest}.example" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:6:61: status: "200" is not one of 301, 302, 303, 307 or 308; did you mean "301"?
`},
	})
}
