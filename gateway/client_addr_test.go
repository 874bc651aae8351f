package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"
)

func TestClientAddrBelievesTrustedProxiesOnly(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no header", "10.0.0.1:5", nil, "10.0.0.1"},
		{"an untrusted peer's header is not believed", "192.0.2.1:5", []string{"198.51.100.1"}, "192.0.2.1"},
		{"a trusted proxy's is", "10.0.0.1:5", []string{"198.51.100.1"}, "198.51.100.1"},
		{"the right-most untrusted hop counts", "10.0.0.1:5", []string{"1.1.1.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"over several lines", "10.0.0.1:5", []string{"1.1.1.1", "198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		{"garbage ends the chain", "10.0.0.1:5", []string{"198.51.100.1, garbage"}, "10.0.0.1"},
		{"all trusted", "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"IPv6", "[::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"with a port, as some proxies write it", "10.0.0.1:5", []string{"198.51.100.1:4711, 10.0.0.2:80"}, "198.51.100.1"},
		{"IPv6 with a port", "10.0.0.1:5", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"a zone says nothing here", "10.0.0.1:5", []string{"fe80::1%eth0"}, "fe80::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.forwarded}}
			if got := clientAddr(r, trusted); got.String() != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
		})
	}
}

func TestForwardedIsBelievedOfTrustedProxiesOnly(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name, peer           string
		forwarded            []string
		client, host, scheme string
	}{
		{"a stranger's is not", "192.0.2.1:5", []string{"for=198.51.100.1;host=x;proto=https"}, "192.0.2.1", "", ""},
		{"of a trusted proxy", "10.0.0.1:5", []string{"for=198.51.100.1;host=shop.example;proto=https"}, "198.51.100.1", "shop.example", "https"},
		{"names have no case, values may be quoted", "10.0.0.1:5", []string{`Proto="HTTPS"; FOR="198.51.100.1:80" ;by=_x`}, "198.51.100.1", "", "https"},
		{"IPv6", "10.0.0.1:5", []string{`for="[2001:db8::1]:4711"`}, "2001:db8::1", "", ""},
		{"the client's element says how it came", "10.0.0.1:5", []string{"for=1.1.1.1;proto=http, for=198.51.100.1;host=a;proto=https", "for=10.0.0.2;host=b;proto=http"}, "198.51.100.1", "a", "https"},
		{"what is hidden ends the chain", "10.0.0.1:5", []string{"for=198.51.100.1, for=_hidden, for=10.0.0.2"}, "10.0.0.2", "", ""},
		{"a quote that the client has left open hides nothing", "10.0.0.1:5", []string{`for="9.9.9.9, for=198.51.100.1`}, "198.51.100.1", "", ""},
		{"a comma in quotes separates nothing", "10.0.0.1:5", []string{`for="x, for=9.9.9.9"`}, "10.0.0.1", "", ""},
		{"a scheme that is none is not told", "10.0.0.1:5", []string{`for=198.51.100.1;proto="javascript:";host="a\"b"`}, "198.51.100.1", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"Forwarded": c.forwarded}}
			if got := clientAddr(r, trusted); got.String() != c.client {
				t.Errorf("the client is %v, want %s", got, c.client)
			}
			if c.peer == "192.0.2.1:5" {
				return
			}
			n := len(slices.Collect(hops(r, trusted)))
			if host, scheme := seenBy(r.Header, n); host != c.host || scheme != c.scheme {
				t.Errorf("it used host %q and scheme %q, want %q and %q", host, scheme, c.host, c.scheme)
			}
			r.Header["X-Forwarded-For"] = []string{"203.0.113.9"}
			if got := clientAddr(r, trusted); got.String() != "203.0.113.9" {
				t.Errorf("beside X-Forwarded-For the client is %v", got)
			}
		})
	}
}

func TestHostname(t *testing.T) {
	for host, want := range map[string]string{
		"example.com": "example.com", "example.com:80": "example.com", "[::1]:80": "::1", "[::1]": "::1", "": "", "a:b:c": "a:b:c",
	} {
		if got := hostname(host); got != want {
			t.Errorf("hostname(%q) = %q, want %q", host, got, want)
		}
	}
}
