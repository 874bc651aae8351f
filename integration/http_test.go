package integration

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/rig"
)

// dump answers with what came: the request line, Host and headers, body and trailers, a line each.
func dump(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\nHost: %s\n", r.Method, r.RequestURI, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "Length: %d %v\n\n%s\n", r.ContentLength, r.TransferEncoding, body)
	for _, name := range slices.Sorted(maps.Keys(r.Trailer)) {
		fmt.Fprintf(&b, "Trailer-%s: %s\n", name, strings.Join(r.Trailer[name], ","))
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, b.String())
}

// httpBackend starts an HTTP/1.1 server and returns its address.
func httpBackend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// httpGateway starts a gateway with routes, a YAML list, over the HTTP upstream app; more keys of that may be given.
func httpGateway(t testing.TB, address, upstream, routes string) *rig.Gateway {
	t.Helper()
	return rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - address: 127.0.0.1:0
  - {address: "127.0.0.1:0", trusted_proxies: [127.0.0.0/8]}
admin: {address: "off"}
upstreams:
  - {name: app, protocol: http, endpoints: [%q]%s}
routes:%s`, address, upstream, routes))
}

// rawHTTP sends text, in which newlines are those of HTTP, over a connection of its own and returns the answer. A body is cut
// off by "\n\n" as ever and sent as it is.
func rawHTTP(t testing.TB, address, text string) (*http.Response, string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(rig.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

const httpRoutes = `
  - {name: plain, match: {path_prefix: /}, http: {upstream: app}}
  - {name: strip, match: {path_prefix: /strip/it/}, http: {upstream: app, strip_prefix: true, add_prefix: /base}}
  - {name: rewrite, match: {path_prefix: /old/}, http: {upstream: app, rewrite: {pattern: "^/old/([a-z.]*)-([a-z.]*)$", replacement: "/n$w/\\2\\1"}}}
  - {name: host, match: {path: /host}, http: {upstream: app, host: backend.example:81}}
  - {name: own, match: {path: /own}, http: {upstream: app, host: upstream}}
  - {name: rfc, match: {path: /rfc7239}, http: {upstream: app, forwarded: both, via: edge}}
  - {name: none, match: {path: /none}, http: {upstream: app, forwarded: none}}
  - {name: odd, match: {path_prefix: /odd/}, http: {upstream: app, allow_in_path: [encoded_slash, empty_segment, parameters]}}
  - name: edits
    match: {template: "/shops/{shop}/{rest=**}"}
    http:
      upstream: app
      request_headers:
        remove: [X-Gone]
        set: {X-Shop: "{path.shop}", X-Empty: "{user}", X-What: "{method} {path} {{{host}}", X-Forwarded-Port: "1"}
        add: {X-More: b}
      response_headers: {remove: [Content-Type], set: {X-Answer: "{path.rest}"}, add: {Vary: X}}
  - {name: scheme, match: {path: /scheme}, redirect: {to: "{scheme}://new.example{path}"}}
  - {name: small, match: {path: /small}, max_body_size: 5B, http: {upstream: app}}
`

func TestWhatAnHTTPBackendGetsOfARequest(t *testing.T) {
	address := httpBackend(t, dump)
	g := httpGateway(t, address, "", httpRoutes)
	direct, proxied := g.Addresses()[0].String(), g.Addresses()[1].String()
	tests := []struct {
		name, request string
		trusted       bool // the peer is a trusted proxy
		has, hasNot   []string
	}{
		{"path, query and Host go on byte for byte", "GET /a%41/~x,y?q=%zz&a=b+c;d=%2F&&= HTTP/1.1\nHost: Api.example:80\n\n", false,
			[]string{"GET /a%41/~x,y?q=%zz&a=b+c;d=%2F&&=\nHost: Api.example:80\n"}, []string{"User-Agent", "Accept-Encoding", "Connection", "Via"}},
		{"an empty query stays", "GET /a? HTTP/1.1\nHost: x\n\n", false, []string{"GET /a?\n"}, nil},
		{"an absolute target becomes a path", "GET http://one.example/a?b HTTP/1.1\nHost: one.example\n\n", false,
			[]string{"GET /a?b\nHost: one.example\n", "X-Forwarded-Host: one.example\n"}, []string{"http://"}},
		{"headers of the connection stay behind", "GET / HTTP/1.1\nHost: x\nConnection: X-One, close ,x-two\nX-One: 1\nX-Two: 2\nX-Three: 3\n" +
			"Keep-Alive: timeout=5\nProxy-Connection: keep-alive\nProxy-Authorization: Basic eDp5\nTE: trailers, gzip\nUpgrade: h2c\nHTTP2-Settings: AAA\n\n", false,
			[]string{"X-Three: 3\n", "Te: trailers\n"}, []string{"X-One", "X-Two", "Keep-Alive", "Proxy", "Upgrade", "Http2", "Connection", "gzip"}},
		{"Connection cannot take out what the gateway says", "GET / HTTP/1.1\nHost: x\nConnection: X-Forwarded-For, X-Request-Id, X-Forwarded-Proto\n\n", false,
			[]string{"X-Forwarded-For: 127.0.0.1\n", "X-Request-Id: ", "X-Forwarded-Proto: http\n"}, nil},
		{"a stranger cannot say where it comes from", "GET / HTTP/1.1\nHost: x\nX-Forwarded-For: 10.0.0.1\nX-Forwarded-Host: bank\nX-Forwarded-Proto: https\n" +
			"X-Forwarded-Port: 443\nForwarded: for=10.0.0.1\nX-Real-IP: 10.0.0.1\n\n", false,
			[]string{"X-Forwarded-For: 127.0.0.1\n", "X-Forwarded-Host: x\n", "X-Forwarded-Proto: http\n"}, []string{"10.0.0.1", "bank", ": 443", "\nForwarded"}},
		{"nor by names that a backend takes for those", "GET /shops/s/a/b HTTP/1.1\nHost: x\nX_Forwarded_For: 10.0.0.1\nX-Forwarded_Proto: https\nX_real_ip: 10.0.0.1\nX_Shop: forged\n" +
			"X_EMPTY: forged\nContent_Length: forged\nTransfer_Encoding: forged\nX_Own: mine\n\n", true, []string{"X-Shop: s\n", "X_own: mine\n"}, []string{"10.0.0.1", "https", "forged"}},
		{"a trusted proxy can, as far as it is trusted", "GET / HTTP/1.1\nHost: x\nX-Forwarded-For: 6.6.6.6, 10.0.0.1\nX-Forwarded-For: 127.0.0.9\n" +
			"X-Forwarded-Host: shop\nX-Forwarded-Proto: https\nX-Forwarded-Port: 443\n\n", true,
			[]string{"X-Forwarded-For: 10.0.0.1, 127.0.0.9, 127.0.0.1\n", "X-Forwarded-Host: shop\n", "X-Forwarded-Proto: https\n", "X-Forwarded-Port: 443\n"}, []string{"6.6.6.6"}},
		{"Forwarded and Via are made where the route says so", "GET /rfc7239 HTTP/1.1\nHost: x:1\nVia: 1.0 fred\nX-Forwarded-For: 2001:db8::1\nX-Forwarded-Proto: https\n\n", true,
			[]string{"Forwarded: for=\"[2001:db8::1]\";host=\"x:1\";proto=https, for=127.0.0.1;host=\"x:1\";proto=http\n", "Via: 1.0 fred\nVia: 1.1 edge\n"}, nil},
		{"of a stranger Forwarded has one element", "GET /rfc7239 HTTP/1.1\nHost: x\nForwarded: for=6.6.6.6\n\n", false,
			[]string{"Forwarded: for=127.0.0.1;host=x;proto=http\n"}, []string{"6.6.6.6"}},
		{"a trusted proxy may say it by Forwarded alone", "GET /rfc7239 HTTP/1.1\nHost: x\nForwarded: for=6.6.6.6, for=10.0.0.1;host=shop;proto=https\n\n", true,
			[]string{"Forwarded: for=10.0.0.1;host=shop;proto=https, for=127.0.0.1;host=x;proto=http\n", "X-Forwarded-For: 10.0.0.1, 127.0.0.1\n",
				"X-Forwarded-Host: shop\n", "X-Forwarded-Proto: https\n"}, []string{"6.6.6.6"}},
		{"a stranger cannot by underscores either", "GET / HTTP/1.1\nHost: x\nX_Forwarded_For: 6.6.6.6\nX-Real_IP: 6.6.6.6\nx_forwarded-Proto: https\nX_Other: 1\n\n", false,
			[]string{"X_other: 1\n"}, []string{"6.6.6.6", "https"}},
		{"nor set what the route sets or removes", "GET /shops/s/a HTTP/1.1\nHost: h\nX_Shop: forged\nX_Empty: forged\nX_Gone: forged\n\n", false,
			[]string{"X-Shop: s\n"}, []string{"forged"}},
		{"neither is, and a stranger's is dropped all the same", "GET /none HTTP/1.1\nHost: x\nX-Forwarded-For: 6.6.6.6\n\n", false, nil, []string{"Forwarded"}},
		{"a prefix is cut off in whatever spelling it came", "GET /st%72ip/it/x/%7Ey?z HTTP/1.1\nHost: x\n\n", false, []string{"GET /base/x/%7Ey?z\n"}, nil},
		{"and may be all there is", "GET /strip/it/ HTTP/1.1\nHost: x\n\n", false, []string{"GET /base/\n"}, nil},
		{"a path is rewritten", "GET /old/a-b?q HTTP/1.1\nHost: x\n\n", false, []string{"GET /n$w/ba?q\n"}, nil},
		{"or left alone", "GET /old/ab HTTP/1.1\nHost: x\n\n", false, []string{"GET /old/ab\n"}, nil},
		{"Host may be another", "GET /host HTTP/1.1\nHost: x\n\n", false, []string{"Host: backend.example:81\n", "X-Forwarded-Host: x\n"}, nil},
		{"or the endpoint's", "GET /own HTTP/1.1\nHost: x\n\n", false, []string{"Host: " + address + "\n"}, nil},
		{"headers are changed", "GET /shops/s%20%C3%A9/a/b HTTP/1.1\nHost: h\nX-Gone: 1\nX-Empty: forged\nX-Shop: forged\nX-More: a\nX-Forwarded-Port: 2\n\n", false,
			[]string{"X-Shop: s \u00e9\n", "X-What: GET /shops/s%20%C3%A9/a/b {h}\n", "X-More: a\nX-More: b\n", "X-Forwarded-Port: 1\n"}, []string{"X-Gone", "X-Empty", "forged"}},
		{"where a route allows it odd paths pass as they are", "GET /odd//a;b=c/x%2Fy%5c;/.x/...?q HTTP/1.1\nHost: x\n\n", false,
			[]string{"GET /odd//a;b=c/x%2Fy%5c;/.x/...?q\n"}, nil},
		{"a body of known length stays one", "POST / HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello", false, []string{"Length: 5 []\n\nhello\n"}, nil},
		{"a body in chunks stays one, with its trailers", "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nTrailer: X-Sum, X-Forwarded-For, X-Other\n\n" +
			"5\nhello\n0\nX-Sum: 5\nX-Forwarded-For: 6.6.6.6\nX-Other: \n\n", false, []string{"Length: -1 [chunked]\n\nhello\n", "Trailer-X-Sum: 5\n"}, []string{"6.6.6.6"}},
		{"a body may be as large as the route says", "POST /small HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", false, []string{"\nhello\n"}, nil},
		{"HTTP/1.0 is answered", "GET / HTTP/1.0\n\n", false, []string{"GET /\n"}, nil},
		{"a method that nobody knows passes", "BREW /pot HTTP/1.1\nHost: x\n\n", false, []string{"BREW /pot\n"}, nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			to := direct
			if c.trusted {
				to = proxied
			}
			answer, body := rawHTTP(t, to, c.request)
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("%s %s", answer.Status, body)
			}
			for _, want := range c.has {
				if !strings.Contains(body, want) {
					t.Errorf("the backend has not got %q:\n%s", want, body)
				}
			}
			for _, never := range c.hasNot {
				if strings.Contains(body, never) {
					t.Errorf("the backend has got %q:\n%s", never, body)
				}
			}
		})
	}
	t.Run("the scheme is the one that the client used", func(t *testing.T) {
		answer, body := rawHTTP(t, proxied, "GET /scheme HTTP/1.1\nHost: x\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https\n\n")
		if got := answer.Header.Get("Location"); got != "https://new.example/scheme" {
			t.Errorf("%s, Location %q %s", answer.Status, got, body)
		}
	})
	t.Run("the answer's headers are changed", func(t *testing.T) {
		answer, _ := rawHTTP(t, direct, "GET /shops/s/a%0Ab HTTP/1.1\nHost: h\n\n")
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("an escaped newline: %s", answer.Status)
		}
		answer, _ = rawHTTP(t, direct, "GET /shops/s/a/b HTTP/1.1\nHost: h\n\n")
		h := answer.Header
		if h.Get("X-Answer") != "a/b" || h["Content-Type"] != nil || h.Get("Vary") != "X" || len(h["X-Request-Id"]) != 1 {
			t.Errorf("%v", h)
		}
	})
}

// TestWhatABackendMightTakeForAnotherRequestNeverReachesIt is about smuggling (RFC 9112 section 11.2), and about paths that
// backends read in different ways.
func TestWhatABackendMightTakeForAnotherRequestNeverReachesIt(t *testing.T) {
	reached := make(chan string, 100)
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) { reached <- r.RequestURI })
	g := httpGateway(t, address, "", httpRoutes)
	for name, request := range map[string]string{
		"two lengths":                     "POST / HTTP/1.1\nHost: x\nContent-Length: 1\nContent-Length: 2\n\nab",
		"a list of lengths":               "POST / HTTP/1.1\nHost: x\nContent-Length: 1, 1\n\na",
		"a negative length":               "POST / HTTP/1.1\nHost: x\nContent-Length: -1\n\n",
		"a length with a sign":            "POST / HTTP/1.1\nHost: x\nContent-Length: +1\n\na",
		"two codings":                     "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n",
		"an unknown coding":               "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: xchunked\n\n0\n\n",
		"a coding after chunked":          "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked, identity\n\n0\n\n",
		"a space before the colon":        "POST / HTTP/1.1\nHost: x\nContent-Length : 1\n\na",
		"two hosts":                       "GET / HTTP/1.1\nHost: x\nHost: y\n\n",
		"no host":                         "GET / HTTP/1.1\n\n",
		"a host with a path":              "GET / HTTP/1.1\nHost: x/y\n\n",
		"a body larger than announced":    "POST /small HTTP/1.1\nHost: x\nContent-Length: 6\n\nhello!",
		"dots":                            "GET /a/../b HTTP/1.1\nHost: x\n\n",
		"escaped dots":                    "GET /a/%2e%2E/b HTTP/1.1\nHost: x\n\n",
		"dots at the end":                 "GET /a/.. HTTP/1.1\nHost: x\n\n",
		"dots with a parameter":           "GET /a/..;/b HTTP/1.1\nHost: x\n\n",
		"dots behind an escaped slash":    "GET /odd/a%2f../b HTTP/1.1\nHost: x\n\n",
		"dots behind a backslash":         "GET /odd/a%5c..%5cb HTTP/1.1\nHost: x\n\n",
		"dots with a parameter, allowed":  "GET /odd/..;x/b HTTP/1.1\nHost: x\n\n",
		"an escaped parameter of dots":    "GET /odd/..%3bx/b HTTP/1.1\nHost: x\n\n",
		"an empty segment":                "GET //admin HTTP/1.1\nHost: x\n\n",
		"an escaped slash":                "GET /a%2fb HTTP/1.1\nHost: x\n\n",
		"an escaped backslash":            "GET /a%5cb HTTP/1.1\nHost: x\n\n",
		"a backslash":                     "GET /a\\b HTTP/1.1\nHost: x\n\n",
		"a parameter":                     "GET /admin;x/ HTTP/1.1\nHost: x\n\n",
		"an escaped semicolon":            "GET /admin%3Bx/ HTTP/1.1\nHost: x\n\n",
		"an escaped null":                 "GET /a%00b HTTP/1.1\nHost: x\n\n",
		"an escaped newline":              "GET /odd/a%0d%0ab HTTP/1.1\nHost: x\n\n",
		"a broken escape":                 "GET /a%2 HTTP/1.1\nHost: x\n\n",
		"dots that come of rewriting":     "GET /old/.-. HTTP/1.1\nHost: x\n\n",
		"a tunnel":                        "CONNECT x:443 HTTP/1.1\nHost: x:443\n\n",
		"a trace, which shows headers":    "TRACE / HTTP/1.1\nHost: x\n\n",
		"a redirect to an empty segment":  "GET /away//evil.example HTTP/1.1\nHost: x\n\n",
		"a length beside a coding":        "POST / HTTP/1.1\nHost: x\nContent-Length: 6\nTransfer-Encoding: chunked\n\n0\n\nG",
		"a coding before HTTP/1.1":        "POST / HTTP/1.0\nHost: x\nTransfer-Encoding: chunked\n\n0\n\n",
		"a folded line":                   "GET / HTTP/1.1\nHost: x\nX-A: 1\n Transfer-Encoding: chunked\n\n",
		"a target and a Host that differ": "GET http://one.example/a HTTP/1.1\nHost: two.example\n\n",
		"a space in an absolute target":   "GET http://x/a b HTTP/1.1\nHost: x\n\n",
		"a dot in more bytes than it has": "GET /odd/%c0%ae%c0%ae/b HTTP/1.1\nHost: x\n\n",
		"a slash in three bytes":          "GET /a/..%e0%80%afb HTTP/1.1\nHost: x\n\n",
		"a target of another scheme":      "GET ftp://x/a HTTP/1.1\nHost: x\n\n",
		"a control character in a header": "GET / HTTP/1.1\nHost: x\nX-A: a\x01b\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := rawHTTP(t, g.Addresses()[0].String(), request)
			if answer.StatusCode < 400 || answer.StatusCode >= 502 {
				t.Errorf("%s %s", answer.Status, body)
			}
			select {
			case target := <-reached:
				t.Errorf("the backend got %s; the client %s", target, answer.Status)
			default:
			}
		})
	}
}
