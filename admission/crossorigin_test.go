package admission

import (
	"testing"

	"github.com/crossgate/crossgate/config"
)

func TestRequestsThatAnotherPageMayHaveMade(t *testing.T) {
	tokens := func(crossOrigin string) *config.RouteAuth {
		return &config.RouteAuth{Require: []string{"tokens"}, CrossOrigin: crossOrigin}
	}
	plain := config.Route{Auth: tokens("refuse")}
	open := config.Route{Auth: tokens("allow")}
	shared := config.Route{Auth: tokens("refuse"), CORS: &config.CORS{Origins: []string{"https://friend.test"}, Credentials: true}}
	read := config.Route{Auth: tokens("refuse"), CORS: &config.CORS{Origins: []string{"https://friend.test"}}}
	bridge := config.Route{Auth: tokens("refuse"), WebSocket: &config.WebSocketRoute{Origins: []string{"https://friend.test"}}}
	any := config.Route{Auth: tokens("refuse"), WebSocket: &config.WebSocketRoute{Origins: []string{"*"}}}
	calls := config.Route{Auth: tokens("refuse"), GRPC: &config.GRPCRoute{WebSocket: &config.GRPCWebSocket{Origins: []string{"https://friend.test"}}}}
	cookie := []string{"Cookie", "session=" + token(t, "ada")}
	for _, c := range []struct {
		name    string
		route   config.Route
		method  string
		upgrade bool
		headers []string
		want    Kind
	}{
		{"a page of the same origin may", plain, "POST", false, []string{"Sec-Fetch-Site", "same-origin"}, 0},
		{"the user may, by the address bar", plain, "POST", false, []string{"Sec-Fetch-Site", "none"}, 0},
		{"another site's page may not", plain, "POST", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"}, CrossOrigin},
		{"a neighbour of the same site may not", plain, "POST", false, []string{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.shop.test"}, CrossOrigin},
		{"Origin is enough where it is the host", plain, "POST", false, []string{"Origin", "https://shop.test:8443"}, 0},
		{"a host has no case", plain, "POST", false, []string{"Origin", "https://SHOP.test:8443"}, 0},
		{"another port is another origin", plain, "POST", false, []string{"Origin", "https://shop.test"}, CrossOrigin},
		{"an origin that is nobody's may not", plain, "POST", false, []string{"Origin", "null"}, CrossOrigin},
		{"two origins may not", plain, "POST", false, []string{"Origin", "https://shop.test:8443", "Origin", "https://shop.test:8443"}, CrossOrigin},
		{"two Sec-Fetch-Site may not", plain, "POST", false, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, CrossOrigin},
		{"who says nothing may not", plain, "POST", false, nil, CrossOrigin},
		{"reading is left to CORS", plain, "GET", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"}, 0},
		{"an upgrade is no reading", plain, "GET", true, []string{"Origin", "https://evil.test"}, CrossOrigin},
		{"an upgrade of the same origin may", plain, "GET", true, []string{"Origin", "https://shop.test:8443"}, 0},
		{"a route may have a protection of its own", open, "POST", false, []string{"Origin", "https://evil.test"}, 0},
		{"an origin that CORS lets in with credentials may", shared, "POST", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://friend.test"}, 0},
		{"one that CORS lets in without may not", read, "POST", false, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://friend.test"}, CrossOrigin},
		{"an origin of the bridge may connect", bridge, "GET", true, []string{"Origin", "https://friend.test"}, 0},
		{"and post in place of that", bridge, "POST", false, []string{"Origin", "https://friend.test"}, 0},
		{"any origin is none by name", any, "GET", true, []string{"Origin", "https://evil.test"}, CrossOrigin},
		{"an origin of a method's WebSockets may connect", calls, "GET", true, []string{"Origin", "https://friend.test"}, 0},
		{"and not post", calls, "POST", false, []string{"Origin", "https://friend.test"}, CrossOrigin},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := admitter(t, c.route, Stores{})
			r := request("192.0.2.1", append(cookie, c.headers...)...)
			r.Method, r.Upgrade, r.Authority = c.method, c.upgrade, "shop.test:8443"
			if got := s.kind(t, r); got != c.want {
				t.Errorf("kind %d, want %d", got, c.want)
			}
		})
	}
	t.Run("a credential that is no cookie comes from whom it may", func(t *testing.T) {
		r := request("192.0.2.1", append(as(t, "ada"), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test")...)
		r.Method = "POST"
		if got := admitter(t, plain, Stores{}).kind(t, r); got != 0 {
			t.Errorf("kind %d, want an admission", got)
		}
	})
}
