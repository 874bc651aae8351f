package config

import (
	"reflect"
	"strings"
	"testing"
)

const shop = `
upstreams:
  - {name: shop, endpoints: ["a:1"], tls: {ca: ca.pem}}
routes:
  - name: a
    match: {path_prefix: /a/, headers: {X-A: "1"}}
    grpc: {upstream: shop, services: [a.B]}
    rate_limits: [{rate: 1/s}]
listeners: [{address: ":1", trusted_proxies: [10.0.0.0/8]}]
`

func TestSameLooksAtWhatIsSaidAndNotWhere(t *testing.T) {
	t.Parallel()
	a := mustParse(t, shop)
	b := mustParse(t, "# moved\n\n"+strings.ReplaceAll(shop, "name: shop, endpoints: [\"a:1\"]", "endpoints:   [ 'a:1' ],  name: shop"))
	if reflect.DeepEqual(a, b) {
		t.Fatal("the positions are equal: the test would show nothing")
	}
	if !Same(a, b) || !Same(*a, *b) || !Same(a.Upstreams, b.Upstreams) || !Same(a.Routes[0], b.Routes[0]) {
		t.Error("what says the same in other places is not the same")
	}
	if !Same((*Redis)(nil), (*Redis)(nil)) || !Same(nil, nil) || !Same([]string(nil), []string{}) {
		t.Error("nothing is not the same as nothing")
	}
}

func TestSameSeesEveryChange(t *testing.T) {
	t.Parallel()
	a := mustParse(t, shop)
	for _, change := range [][2]string{
		{`["a:1"]`, `["a:2"]`},
		{`["a:1"]`, `["a:1", "a:2"]`},
		{`, tls: {ca: ca.pem}`, ``},
		{`ca: ca.pem`, `ca: other.pem`},
		{`X-A: "1"`, `X-A: "2"`},
		{`X-A: "1"`, `X-B: "1"`},
		{`X-A: "1"`, `X-A: "1", X-B: "1"`},
		{`rate: 1/s`, `rate: 2/s`},
		{`rate: 1/s`, `rate: 1/m`},
		{`10.0.0.0/8`, `10.0.0.0/9`},
		{`a.B`, `a.C`},
		{`upstream: shop, `, `upstream: shop, json: {names: proto}, `},
		{`":1"`, `":2"`},
	} {
		b := mustParse(t, strings.Replace(shop, change[0], change[1], 1))
		if Same(a, b) || Same(b, a) {
			t.Errorf("%s and %s are the same", change[0], change[1])
		}
	}
	if Same(a, nil) || Same(nil, a) || Same(a, *a) || Same(&Redis{}, (*Redis)(nil)) || Same(Size(1), Duration(1)) {
		t.Error("values of different types, or one that is nil, are the same")
	}
}
