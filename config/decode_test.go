package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBadFormIsRefusedWithItsPlace(t *testing.T) {
	testBadInput(t, []badInput{
		{"an unknown key, with what was meant", `
lisenters: []
`, `
c.yaml:1:1: configuration: unknown key "lisenters"; did you mean "listeners"?
`},
		{"an unknown key in the spelling of another language", `
routes:
  - name: a
    match: {pathPrefix: /a/}
    respond: {}
`, `
c.yaml:3:13: match: unknown key "pathPrefix"; did you mean "path_prefix"?
`},
		{"an unknown key like no other", `
admin: {zzzzzz: 1}
`, `
c.yaml:1:9: admin: unknown key "zzzzzz"; expected address, token or descriptor_versions
`},
		{"a key given twice", `
admin:
  address: 127.0.0.1:1
  token: x
  address: 127.0.0.1:2
`, `
c.yaml:4:3: admin: "address" was given before, in line 2
`},
		{"a section given twice", `
log: {level: info}
routes: []
log: {level: warn}
`, `
c.yaml:3:1: configuration: "log" was given before, in line 1
`},
		{"a header given twice", `
routes:
  - name: a
    match: {path: /a, headers: {X-A: "1", X-A: "2"}}
    respond: {}
`, `
c.yaml:3:43: headers: "X-A" was given before, in line 3
`},
		{"a key that is no word", `
admin: {[a]: 1}
`, `
c.yaml:1:9: admin: a key must be a plain word
`},
		{"a merge key", `
log: &l {level: info}
admin:
  <<: *l
`, `
c.yaml:3:3: admin: merge keys are not supported; repeat the keys, or use an alias for the whole value
`},
		{"a tag", `
log: !custom {level: info}
drain: {timeout: !!str 5s}
`, `
c.yaml:1:6: log: the tag !custom is not supported
c.yaml:2:18: timeout: the tag !!str is not supported
`},
		{"a list where there should be a mapping", `
admin: [a]
`, `
c.yaml:1:8: admin: expected a mapping, found a list
`},
		{"a mapping where there should be a list", `
routes: {name: a}
`, `
c.yaml:1:9: routes: expected a list, found a mapping
`},
		{"one value where there should be a list", `
descriptors:
  - protos:
      root: p
      files: "*.proto"
`, `
c.yaml:4:14: files: expected a list, found a single value
`},
		{"a list where there should be one value", `
admin: {address: [a]}
`, `
c.yaml:1:18: address: expected a single value, found a list
`},
		{"a root that is no mapping", `
- a
`, `
c.yaml:1:1: configuration: expected a mapping, found a list
`},
		{"keys left without a value", `
admin:
listeners: ~
log: {level: }
`, `
c.yaml:1:7: admin: there is no value; give one or leave the key out
c.yaml:2:12: listeners: there is no value; give one or leave the key out
c.yaml:3:14: level: there is no value; give one or leave the key out
`},
		{"an empty list", `
listeners:
  - address: :80
    trusted_proxies: []
`, `
c.yaml:3:22: trusted_proxies: the list is empty; give it an element or leave the key out
`},
		{"an empty string", `
auth:
  - name: a
    jwt: {jwks_url: "https://a/", issuer: ""}
`, `
c.yaml:3:43: issuer: the value is empty; give one or leave the key out
`},
		{"required keys that are missing", `
listeners: [{}]
upstreams:
  - protocol: grpc
`, `
c.yaml:1:13: listeners: address is missing
c.yaml:3:5: upstreams: name is missing
`},
		{"a value that is none of those allowed", `
log: {level: wran, format: xml}
`, `
c.yaml:1:14: level: "wran" is not one of debug, info, warn or error; did you mean "warn"?
c.yaml:1:28: format: "xml" is not one of json or text
`},
		{"whole numbers that are none, or are out of range", `
upstreams:
  - {name: a, endpoints: ["a:1"], connections: many}
  - {name: b, endpoints: ["a:1"], connections: 1.5}
  - {name: c, endpoints: ["a:1"], connections: 0}
  - {name: d, endpoints: ["a:1"], connections: 65}
  - {name: e, endpoints: ["a:1"], connections: "2"}
  - {name: f, endpoints: ["a:1"], connections: 0x10}
  - {name: g, endpoints: ["a:1"], connections: 99999999999999999999}
`, `
c.yaml:2:48: connections: expected a whole number, found "many"
c.yaml:3:48: connections: expected a whole number, found "1.5"
c.yaml:4:48: connections: 0 is too small; the least is 1
c.yaml:5:48: connections: 65 is too large; the most is 64
c.yaml:6:48: connections: expected a whole number, found a string; write it without quotes
c.yaml:7:48: connections: expected a whole number, found "0x10"
c.yaml:8:48: connections: expected a whole number, found "99999999999999999999"
`},
		{"truth values that are none", `
routes:
  - name: a
    match: {path: /a}
    respond: {}
    cors: {origins: ["*"], credentials: yes}
  - name: b
    match: {path: /b}
    respond: {}
    cors: {origins: ["*"], credentials: "true"}
`, `
c.yaml:5:41: credentials: expected true or false, found "yes"
c.yaml:9:41: credentials: expected true or false, found a string; write it without quotes
`},
		{"durations, sizes and rates", `
drain: {timeout: 5, delay: -1s}
listeners:
  - {address: ":80", max_header_size: 64kb, read_header_timeout: 0}
  - {address: ":81", max_header_size: 1, trusted_proxies: [10.0.0.1/8, nowhere]}
routes:
  - name: a
    match: {path: /a}
    respond: {}
    rate_limits: [{rate: 100}, {rate: 0/s}, {rate: 1/0s}]
`, `
c.yaml:1:18: timeout: "5" is not a duration; expected a number with a unit, as 250ms, 5s, 10m, 2h or 7d
c.yaml:1:28: delay: "-1s" is not a duration; expected a number with a unit, as 250ms, 5s, 10m, 2h or 7d
c.yaml:3:39: max_header_size: "64kb" is not a size; expected bytes, as 512, 64KiB, 4MiB or 1GB
c.yaml:3:66: read_header_timeout: 0 is too small; the least is 1ms
c.yaml:4:39: max_header_size: 1 is too small; the least is 1KiB
c.yaml:4:60: trusted_proxies: "10.0.0.1/8" has bits set beyond its length; did you mean 10.0.0.0/8?
c.yaml:4:72: trusted_proxies: "nowhere" is not a range of addresses; expected CIDR notation, as 10.0.0.0/8 or 2001:db8::/32
c.yaml:9:26: rate: "100" is not a rate; expected events per time, as 100/s, 1000/h or 10/10s
c.yaml:9:39: rate: "0/s" lets nothing through; a rate has at least 1 event
c.yaml:9:52: rate: "1/0s" has no time; a rate is events per time, as 10/10s
`},
		{"a second document", `
log: {level: info}
---
log: {level: warn}
`, `
c.yaml:2:1: a second YAML document begins here; a file has one
`},
		{"broken YAML", `
log: {level: info
admin: {}
`, `
c.yaml:1: did not find expected ',' or '}'
`},
		{"an alias of nothing", `
log: {level: info}
admin: {address: *nowhere}
`, `
c.yaml:2:18: there is no anchor &nowhere before this alias
`},
		{"text that is not UTF-8", "log: {level: info}\n# \xff\n", `
c.yaml:2:3: the file is not UTF-8 text
`},
		{"a control character", "log: {level: \x01}\n", `
c.yaml:1:14: control character U+0001 is not allowed
`},
		{"an alias of what contains it", `
http:
  rules:
    - &r
      selector: a.B.C
      get: /a
      additional_bindings: [*r]
`, `
c.yaml:3:7: additional_bindings: nested more than 32 deep
`},
		{"an error in what an alias stands for, once", `
routes:
  - name: a
    match: {path: /a}
    respond: &r {status: 1}
  - name: b
    match: {path: /b}
    respond: *r
`, `
c.yaml:4:26: status: 1 is too small; the least is 200
`},
		{"errors of form and between keys, in the order of the file", `
routes:
  - name: a
    match: {path: a}
    respond: {}
  - name: b
    match: {path: /b}
    respond: {status: 99}
  - name: c
    match: {path: /c}
    grpc: {upstream: none}
admin: {token: ""}
`, `
c.yaml:3:19: path: "a" does not begin with /
c.yaml:7:23: status: 99 is too small; the least is 200
c.yaml:10:22: there is no upstream named "none"
c.yaml:11:16: token: the value is empty; give one or leave the key out
`},
		{"no reference to what a slip hides", `
upstream:
  - {name: shop, endpoints: ["a:1"]}
routes:
  - name: a
    grpc: {upstream: shop}
`, `
c.yaml:1:1: configuration: unknown key "upstream"; did you mean "upstreams"?
`},
	})
}

func TestAliasesAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("http:\n  rules:\n    - &a0 {get: /a}\n")
	for i := 1; i < 10; i++ {
		alias := fmt.Sprintf("*a%d, ", i-1)
		fmt.Fprintf(&b, "    - &a%d {get: /a, additional_bindings: [%s]}\n", i, strings.Repeat(alias, 10))
	}
	_, err := Parse("c.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "aliases stand for more than 10000 values") {
		t.Errorf("a file whose aliases stand for 10^9 values: %v", err)
	}
}

func TestAliasStandsForItsValue(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
routes:
  - name: a
    match: {path: /a}
    respond: &r {status: 404, body: gone}
  - name: b
    match: {path: /b}
    respond: *r
`)
	if !Same(c.Routes[0].Respond, c.Routes[1].Respond) || c.Routes[1].Respond.Body != "gone" {
		t.Errorf("respond of b is %+v", c.Routes[1].Respond)
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	t.Parallel()
	for _, input := range []string{
		"http: {rules: [" + strings.Repeat("{additional_bindings: [", 5000),
		strings.Repeat("[", 100_000),
		strings.Repeat("{a: ", 100_000),
		strings.Repeat("- ", 100_000),
	} {
		if _, err := Parse("c.yaml", []byte(input)); err == nil {
			t.Errorf("%.20s…: no error", input)
		}
	}
}

func TestTooLargeFileIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Parse("c.yaml", []byte(strings.Repeat("#", maxFileSize+1)))
	if want := "c.yaml:1:1: the file has 16777217 bytes; the most is 16777216"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEmptyFileHasEveryDefault(t *testing.T) {
	t.Parallel()
	for _, input := range []string{"", "\n", "# nothing yet\n", "---\n", "{}"} {
		c, err := Parse("c.yaml", []byte(input))
		if err != nil {
			t.Errorf("%q: %v", input, err)
			continue
		}
		if c.Admin.Address != "127.0.0.1:9901" || c.Log.Level != "info" || c.Log.Access != "all" ||
			c.Drain.Timeout.Std() != 30*time.Second || c.Redis != nil || c.Routes != nil {
			t.Errorf("%q: %+v", input, c)
		}
	}
}

func TestDefaultsReachStructsLeftOut(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
upstreams: [{name: shop, endpoints: ["localhost:1"]}]
redis: {url: "redis://localhost"}
descriptors: [{protos: {root: p}}]
routes:
  - name: a
    grpc: {upstream: shop}
    rate_limits: [{rate: 5/m}]
`)
	r := c.Routes[0]
	if got := r.GRPC.JSON; got.Names != "json" || got.Unpopulated != "emit" || got.Enums != "names" || got.Unknown != "refuse" {
		t.Errorf("json of a route without it: %+v", got)
	}
	if got := r.GRPC.Services; len(got) != 1 || got[0] != "*" {
		t.Errorf("services of a route without them: %q", got)
	}
	if got := r.RateLimits[0]; !slices.Equal(got.Per, []string{"ip"}) || got.Store != "memory" || got.Burst != 0 || got.Rate != (Rate{5, time.Minute}) {
		t.Errorf("rate limit: %+v", got)
	}
	if r.Timeout.Std() != 30*time.Second || r.MaxBodySize != 4<<20 {
		t.Errorf("timeout %s, max_body_size %s", r.Timeout, r.MaxBodySize)
	}
	if got := c.Descriptors[0].Protos.Files; len(got) != 1 || got[0] != "**/*.proto" {
		t.Errorf("files of a tree without them: %q", got)
	}
	if c.Redis.Prefix != "cg:" || c.Upstreams[0].Connections != 2 {
		t.Errorf("redis prefix %q, connections %d", c.Redis.Prefix, c.Upstreams[0].Connections)
	}
	if r.Match.Pos != r.Pos {
		t.Errorf("a match left out stands at %s, its route at %s", r.Match.Pos, r.Pos)
	}
}

func TestPositionsAreWhereElementsBegin(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
listeners:
  - address: 127.0.0.1:0
    tls: {certificate: c.pem, key: k.pem}
admin:
  address: "off"
`)
	for got, want := range map[Position]Position{
		c.Listeners[0].Pos:     {"c.yaml", 2, 5},
		c.Listeners[0].TLS.Pos: {"c.yaml", 3, 10},
		c.Admin.Pos:            {"c.yaml", 5, 3},
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestStringsAreTakenAsWritten(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
listeners: [{address: ":1", tls: {certificate: c, key: k, min_version: 1.3}}]
log: {access: off}
routes:
  - name: 007
    match: {path: /a, headers: {X-Debug: true, X-Number: 1.10}}
    respond: {body: ""}
`)
	r := c.Routes[0]
	if c.Listeners[0].TLS.MinVersion != "1.3" || c.Log.Access != "off" || r.Name != "007" ||
		r.Match.Headers["X-Debug"] != "true" || r.Match.Headers["X-Number"] != "1.10" {
		t.Errorf("got %+v", c)
	}
}
