package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// errorRoutes is a gateway that fails in every way that one request can bring about.
func errorRoutes(t *testing.T) *rig.Gateway {
	t.Helper()
	backend := testserver.Start(t)
	key := sha256.Sum256([]byte("key-of-bob"))
	return rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: test, endpoints: ["%s"]}
  - {name: narrow, endpoints: ["%[1]s"], max_message_size: 1KiB}
  - {name: gone, endpoints: ["%s"]}
  - {name: stuck, endpoints: ["%s"]}
descriptors: [{reflection: {upstream: test}}]
auth: [{name: keys, api_keys: {keys: [{id: bob, user: bob, sha256: "%s"}]}, from: [{header: X-Api-Key}]}]
routes:
  - name: open
    max_body_size: 4KiB
    grpc: {upstream: test, services: ["crossgate.test.v1.*"]}
  - name: gone
    match: {headers: {X-Case: gone}}
    grpc: {upstream: gone, services: ["crossgate.test.v1.*"]}
  - name: narrow
    match: {headers: {X-Case: narrow}}
    grpc: {upstream: narrow, services: ["crossgate.test.v1.*"]}
  - name: stuck
    match: {headers: {X-Case: stuck}}
    grpc: {upstream: stuck, services: ["crossgate.test.v1.*"]}
  - name: hasty
    match: {headers: {X-Case: hasty}}
    timeout: 50ms
    grpc: {upstream: stuck, services: ["crossgate.test.v1.*"]}
  - name: known
    match: {headers: {X-Case: known}}
    auth: {require: [keys]}
    grpc: {upstream: test, services: ["crossgate.test.v1.*"]}
  - name: admins
    match: {headers: {X-Case: admins}}
    auth: {require: [keys], roles: [admin]}
    grpc: {upstream: test, services: ["crossgate.test.v1.*"]}
  - name: limited
    match: {headers: {X-Case: limited}}
    rate_limits: [{per: route, rate: 1/h}]
    grpc: {upstream: test, services: ["crossgate.test.v1.*"]}
  - name: unknown
    grpc: {upstream: test, services: ["no.such.Service"]}
  - name: socket
    match: {path: /ws}
    websocket: {service: chat}
`, backend.Address, rig.FreeAddress(t), stubborn(t).Address, hex.EncodeToString(key[:])))
}

// manyHeaders returns n header fields.
func manyHeaders(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("X-Many-%d", i), "x")
	}
	return list
}

// errorInfo returns reason and domain of the first detail, which must be an ErrorInfo.
func errorInfo(t *testing.T, details []map[string]any) (reason, domain any) {
	t.Helper()
	if len(details) == 0 || details[0]["@type"] != "type.googleapis.com/google.rpc.ErrorInfo" {
		t.Fatalf("details %v, want an ErrorInfo first", details)
	}
	return details[0]["reason"], details[0]["domain"]
}

func TestErrorsOfTheGatewayOverHTTPHaveItsDomainAndAReason(t *testing.T) {
	g := errorRoutes(t)
	at := func(route string) []string { return []string{"X-Case", route} }
	large := `{"note":"` + strings.Repeat("x", 5000) + `"}`
	ask(t, "GET", g.URL+"/bind/v1/one/x", "", at("limited")...) // takes the one that is left
	for _, c := range []struct {
		reason             string
		httpStatus         int
		code               codes.Code
		method, path, body string
		header             []string
	}{
		{"NO_ROUTE", 404, codes.NotFound, "GET", "/nothing", "", nil},
		{"METHOD_NOT_ALLOWED", 405, codes.Unimplemented, "PATCH", "/bind/v1/all", "{}", nil},
		{"MALFORMED_PATH", 400, codes.InvalidArgument, "GET", "/bind/v1/one/%2e%2e", "", nil},
		{"UPGRADE_REQUIRED", 426, codes.FailedPrecondition, "GET", "/ws", "", nil},
		{"UNAUTHENTICATED", 401, codes.Unauthenticated, "GET", "/bind/v1/one/x", "", at("known")},
		{"PERMISSION_DENIED", 403, codes.PermissionDenied, "GET", "/bind/v1/one/x", "", append(at("admins"), "X-Api-Key", "key-of-bob")},
		{"RATE_LIMIT_EXCEEDED", 429, codes.ResourceExhausted, "GET", "/bind/v1/one/x", "", at("limited")},
		{"INVALID_REQUEST", 400, codes.InvalidArgument, "POST", "/bind/v1/all", `{"no":1}`, nil},
		{"UNSUPPORTED_MEDIA_TYPE", 415, codes.InvalidArgument, "POST", "/bind/v1/all", "{}", []string{"Content-Type", "text/plain"}},
		{"MESSAGE_TOO_LARGE", 413, codes.ResourceExhausted, "POST", "/bind/v1/all", large, nil},
		{"HEADER_TOO_LARGE", 431, codes.ResourceExhausted, "GET", "/bind/v1/one/x", "", manyHeaders(200)},
		{"DEADLINE_EXCEEDED", 504, codes.DeadlineExceeded, "GET", "/bind/v1/one/x", "", append(at("stuck"), "Grpc-Timeout", "50m")},
		{"DESCRIPTORS_MISSING", 503, codes.Unavailable, "POST", "/no.such.Service/Get", "{}", nil},
		{"UPSTREAM_UNREACHABLE", 503, codes.Unavailable, "GET", "/bind/v1/one/x", "", at("gone")},
		{"UPSTREAM_ANSWER_TOO_LARGE", 500, codes.Internal, "POST", "/bind/v1/all", large[:2000] + `"}`, at("narrow")},
	} {
		t.Run(c.reason, func(t *testing.T) {
			answer, body := ask(t, c.method, g.URL+c.path, c.body, c.header...)
			s := wantStatus(t, answer, body, c.httpStatus, c.code)
			if reason, domain := errorInfo(t, s.Details); reason != c.reason || domain != "crossgate" {
				t.Errorf("reason %v and domain %v, want %s and crossgate", reason, domain, c.reason)
			}
			if c.reason == "RATE_LIMIT_EXCEEDED" && (!strings.Contains(body, "google.rpc.RetryInfo") || answer.Header.Get("Retry-After") == "") {
				t.Errorf("Retry-After %q and %s, want both to say when", answer.Header.Get("Retry-After"), body)
			}
		})
	}
}

func TestErrorsOfTheGatewayOverGRPCHaveItsDomainAndAReason(t *testing.T) {
	g := errorRoutes(t)
	conn := dialGRPC(t, g)
	one := func(route string, pairs ...string) error {
		ctx := metadata.AppendToOutgoingContext(soon(t), append(pairs, "x-case", route)...)
		_, err := testproto.NewBindingsClient(conn).GetOne(ctx, &testproto.Bound{})
		return err
	}
	if err := one("limited"); err != nil { // takes the one that is left
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		code   codes.Code
		call   func() error
	}{
		{"NO_ROUTE", codes.Unimplemented, func() error {
			return conn.Invoke(soon(t), "/no.such.thing/Get", &testproto.Bound{}, &testproto.Bound{})
		}},
		{"WRONG_PROTOCOL", codes.Unimplemented, func() error {
			return conn.Invoke(soon(t), "/bind/v1/all", &testproto.Bound{}, &testproto.Bound{})
		}},
		{"UNAUTHENTICATED", codes.Unauthenticated, func() error { return one("known") }},
		{"PERMISSION_DENIED", codes.PermissionDenied, func() error { return one("admins", "x-api-key", "key-of-bob") }},
		// The route's: at a deadline of its own grpc-go would end the call by itself.
		{"DEADLINE_EXCEEDED", codes.DeadlineExceeded, func() error { return one("hasty") }},
		{"RATE_LIMIT_EXCEEDED", codes.ResourceExhausted, func() error { return one("limited") }},
		{"MESSAGE_TOO_LARGE", codes.ResourceExhausted, func() error {
			_, err := testproto.NewBindingsClient(conn).GetOne(soon(t), &testproto.Bound{Note: strings.Repeat("x", 5000)})
			return err
		}},
		{"UPSTREAM_UNREACHABLE", codes.Unavailable, func() error { return one("gone") }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			err := c.call()
			wantCode(t, err, c.code)
			details := status.Convert(err).Details()
			if len(details) == 0 {
				t.Fatalf("%v has no details", err)
			}
			info, _ := details[0].(*errdetails.ErrorInfo)
			if info.GetReason() != c.reason || info.GetDomain() != "crossgate" {
				t.Errorf("details %v, want an ErrorInfo with %s of crossgate", details, c.reason)
			}
		})
	}
}

func TestErrorsOfABackendPassWithoutTheGatewaysDomain(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for _, body := range []string{
		`{"code":4,"message":"m"}`, `{"code":14,"message":"m"}`, `{"code":1,"message":"m"}`, `{"code":8,"message":"m"}`,
	} {
		answer, text := ask(t, "POST", g.URL+"/control/v1/fail", body)
		if strings.Contains(text, "crossgate") || !strings.Contains(text, `"details":[]`) {
			t.Errorf("%s became %d %s", body, answer.StatusCode, text)
		}
	}
	_, text := ask(t, "POST", g.URL+"/control/v1/fail",
		`{"code":9,"message":"m","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SOLD_OUT","domain":"shop.example.com"}]}`)
	var s rpcStatus
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if reason, domain := errorInfo(t, s.Details); reason != "SOLD_OUT" || domain != "shop.example.com" || len(s.Details) != 1 {
		t.Errorf("details %v", s.Details)
	}
}

func TestErrorsAreProblemsForClientsThatPreferThem(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	accept := []string{"Accept", "application/json, application/problem+json", "X-Request-Id", "request-7"}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		kind, title              string
	}{
		{"the gateway's", "GET", "/nothing", "", 404, "tag:crossgate,2026:NO_ROUTE", "Nothing is served at this address"},
		{"the transcoder's", "GET", "/bind/v1/one/x?no=1", "", 400, "tag:crossgate,2026:INVALID_REQUEST", "The request does not fit the method"},
		{"the backend's", "POST", "/control/v1/fail", `{"code":5,"message":"m"}`, 404, "about:blank", "Not Found"},
		{"before the first message of a stream", "GET", "/stream/v1/count/x", "", 400, "tag:crossgate,2026:INVALID_REQUEST", "The request does not fit the method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, body := ask(t, c.method, g.URL+c.path, c.body, accept...)
			var p struct {
				Type, Title, Detail, Instance string
				Status, Code                  int
				Details                       []map[string]any
			}
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if answer.StatusCode != c.status || p.Status != c.status || answer.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s, %s: %s", answer.Status, answer.Header.Get("Content-Type"), body)
			}
			if p.Type != c.kind || p.Title != c.title || p.Detail == "" || p.Code == 0 || p.Instance != "tag:crossgate,2026:request:request-7" {
				t.Errorf("%s", body)
			}
		})
	}
	answer, body := ask(t, "GET", g.URL+"/nothing", "", "Accept", "application/json, application/problem+json;q=0.5")
	wantStatus(t, answer, body, http.StatusNotFound, codes.NotFound)
}
