package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBadBalancingAndDiscoveryAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"endpoints and discovery, or neither", `
upstreams:
  - {name: a}
  - {name: b, endpoints: ["a:1"], discovery: {file: {path: p}}}
  - {name: c, discovery: {file: {path: p}, redis: {service: s}}}
`, `
c.yaml:2:5: upstreams: exactly one of endpoints or discovery is needed
c.yaml:3:5: upstreams: endpoints and discovery exclude each other; exactly one is needed
c.yaml:4:26: discovery: file and redis exclude each other; exactly one is needed
`},
		{"discovery that cannot be", `
upstreams:
  - {name: a, discovery: {static: [{address: "a:1"}, {address: "a:1", weight: 0}, {address: "b"}]}}
  - {name: b, discovery: {dns: {name: "a b", port: 1}}}
  - {name: c, discovery: {dns: {name: a}}}
  - {name: d, discovery: {dns: {name: a, port: 1, type: srv, server: a}}}
  - {name: e, discovery: {redis: {service: a/b}}}
  - {name: f, discovery: {static: [{address: "a:1"}, {address: "a:1"}, {address: "b"}]}}
`, `
c.yaml:2:79: weight: 0 is too small; the least is 1
c.yaml:3:39: name: "a b" is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path
c.yaml:4:32: dns: port is missing; records of type address have none
c.yaml:5:48: port: srv records have ports of their own; leave it out
c.yaml:5:70: server: "a" is not an address; expected host:port
c.yaml:6:44: service: the name "a/b" may only have letters, digits and the characters . - _
c.yaml:7:64: address: "a:1" is in the list twice; give it more weight instead
c.yaml:7:82: address: "b" is not an address; expected host:port
`},
		{"checks that cannot be, and times that contradict each other", `
upstreams:
  - {name: a, endpoints: ["a:1"], health_check: {type: grpc, port: 1}}
  - {name: b, endpoints: ["a:1"], health_check: {type: tcp, service: s, path: /x}}
  - {name: c, endpoints: ["a:1"], health_check: {type: http, path: x}}
  - {name: d, endpoints: ["a:1"], outlier_detection: {max_ejection: 1s}}
`, `
c.yaml:2:49: health_check: type grpc asks over the connections that requests go over; it needs protocol: grpc, and has no port of its own
c.yaml:3:49: health_check: host and path are for type http
c.yaml:3:70: service: it is for type grpc
c.yaml:4:68: path: "x" does not begin with /
c.yaml:5:69: max_ejection: it is shorter than base_ejection, 30s
`},
		{"resilience that cannot be", `
upstreams:
  - {name: a, endpoints: ["a:1"], concurrency: {adaptive: true, max_requests: 5}}
routes:
  - {name: a, match: {path: /a}, respond: {}, try_timeout: 1s}
  - {name: b, grpc: {upstream: a}, retry: {on: [timeout, timeout], backoff: 1s}}
  - {name: c, grpc: {upstream: a}, retry: {on: [never]}, hedge: {}}
`, `
c.yaml:2:48: min_requests: it is more than max_requests, 5
c.yaml:4:5: routes: retry, hedge, try_timeout and stream_idle_timeout are for grpc and http routes
c.yaml:5:43: max_backoff: it is shorter than backoff, 1s
c.yaml:5:43: on: timeout needs the route's try_timeout
c.yaml:5:58: on: "timeout" is in the list twice
c.yaml:6:49: on: "never" is not one of reset, timeout, gateway, 5xx, cancelled, deadline_exceeded, resource_exhausted, aborted, internal, unknown or data_loss
c.yaml:6:65: hedge: after is missing
`},
		{"balancing that contradicts itself", `
upstreams:
  - {name: a, endpoints: ["a:1"], balancing: {policy: hash}}
  - {name: b, endpoints: ["a:1"], balancing: {hash_on: user}}
  - {name: c, endpoints: ["a:1"], balancing: {policy: hash, hash_on: users, slow_start: 1s}}
  - {name: d, endpoints: ["a:1"], balancing: {policy: hash, hash_on: "header:"}}
  - {name: e, endpoints: ["a:1"], balancing: {sticky: {cookie: "a b", same_site: none}}}
`, `
c.yaml:2:55: policy: hash needs hash_on, which says what is hashed
c.yaml:3:56: hash_on: the policy least_request hashes nothing; set policy: hash
c.yaml:4:70: hash_on: "users" is nothing to hash; expected header:NAME, cookie:NAME, user or ip; did you mean "user"?
c.yaml:4:89: slow_start: the policy hash has none: it would move clients from one endpoint to another
c.yaml:5:70: hash_on: after the colon the name is missing
c.yaml:6:64: cookie: "a b" is not the name of a cookie; " " may not be in one
c.yaml:6:82: same_site: browsers take none only with secure: true
`},
	})
}

func TestAFileOfEndpointsIsReadAsStrictlyAsAConfiguration(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "endpoints.yaml")
	for _, c := range []struct{ text, want string }{
		{"- address: a:1\n- {address: b:1, weight: 3, zone: z}\n", ""},
		{`[{"address": "a:1"}]`, ""},
		{"", "1:1: the file has no endpoints"},
		{"[]", "1:1: endpoints: the list is empty; give it an element or leave the key out"},
		{"a: 1", "1:1: endpoints: expected a list, found a mapping"},
		{"- {address: a}", `1:13: address: "a" is not an address; expected host:port`},
		{"- {address: a:1, wieght: 3}", `1:18: endpoints: unknown key "wieght"; did you mean "weight"?`},
		{"- {address: a:1}\n- {address: a:1}", `2:13: address: "a:1" is in the list twice; give it more weight instead`},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := LoadEndpoints(path)
		if c.want == "" && (err != nil || len(list) == 0) || c.want != "" && (err == nil || err.Error() != path+":"+c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}
