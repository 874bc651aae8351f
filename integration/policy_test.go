package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// attempt tries one thing through one protocol with some headers, and says how it ended in HTTP's words: 200 for an
// admission, else the status of the refusal.
type attempt func(t *testing.T, g *rig.Gateway, header http.Header) (status int, answer http.Header)

// tried makes an attempt of a request.
func tried(ask func(context.Context, testing.TB, *rig.Gateway, policyRequest) verdict) attempt {
	return func(t *testing.T, g *rig.Gateway, header http.Header) (int, http.Header) {
		t.Helper()
		v := ask(soon(t), t, g, policyRequest{header: header})
		if v.http == 0 {
			return httpStatusOf(t, v.code), v.header
		}
		return v.http, v.header
	}
}

// httpStatusOf is what a code is called in HTTP.
func httpStatusOf(t *testing.T, code codes.Code) int {
	t.Helper()
	switch code {
	case codes.OK:
		return http.StatusOK
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	t.Fatalf("ended with %v", code)
	return 0
}

func tryGRPCWeb(t *testing.T, g *rig.Gateway, header http.Header) (int, http.Header) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, g.URL+testproto.Bindings_GetOne_FullMethodName, bytes.NewReader(frameAll(nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/grpc-web")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, trailer, err := readWeb(answer.Body, false)
	if err != nil {
		t.Fatal(err)
	}
	return httpStatusOf(t, codeIn(t, trailer)), answer.Header
}

func tryConnect(t *testing.T, g *rig.Gateway, header http.Header) (int, http.Header) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, g.URL+testproto.Bindings_GetOne_FullMethodName, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Connect-Protocol-Version", "1")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, failure, err := readConnectUnary(answer)
	if err != nil {
		t.Fatal(err)
	}
	if got := httpStatusOf(t, failure.code(t)); got != answer.StatusCode {
		t.Errorf("%s for %v", answer.Status, failure)
	}
	return answer.StatusCode, answer.Header
}

func tryConnectStream(t *testing.T, g *rig.Gateway, header http.Header) (int, http.Header) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, g.URL+testproto.Streams_Talk_FullMethodName, bytes.NewReader(frameAll(nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/connect+proto")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, failure, _, err := readConnect(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return httpStatusOf(t, failure.code(t)), answer.Header
}

var protocols = map[string]attempt{"REST": tried(askREST), "gRPC": tried(askGRPC), "gRPC-Web": tryGRPCWeb,
	"Connect": tryConnect, "stream of Connect": tryConnectStream, "WebSocket": tried(askSession)}

const secret = "0123456789abcdef0123456789abcdef"

// token signs claims with HS256, valid for an hour unless they say otherwise.
func token(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"iss": "https://id.example.com", "aud": "shop", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range claims {
		all[k] = v
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPolicies runs each policy through each protocol: they share one core, and so one answer.
func TestPolicies(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	backend := testserver.Start(t)
	redis := rig.StartRedis(t)
	key := sha256.Sum256([]byte("key-of-bob"))
	bearer := func(claims jwt.MapClaims) http.Header {
		return http.Header{"Authorization": {"Bearer " + token(t, claims)}}
	}
	apiKey := func(k string) http.Header { return http.Header{"X-Api-Key": {k}} }

	type step struct {
		name   string
		header http.Header
		want   int
	}
	policies := []struct {
		name  string
		yaml  string
		steps []step
	}{
		{"no policy", ``, []step{{"anyone", nil, 200}, {"a broken credential is not looked at", http.Header{"Authorization": {"Bearer x"}}, 200}}},
		{"a token is required", `auth: {require: [jwt]}`, []step{
			{"none", nil, 401},
			{"a valid one", bearer(nil), 200},
			{"the scheme in another case", http.Header{"Authorization": {"bearer " + token(t, nil)}}, 200},
			{"another scheme", http.Header{"Authorization": {"Basic " + token(t, nil)}}, 401},
			{"garbage", http.Header{"Authorization": {"Bearer garbage"}}, 401},
			{"an expired one", bearer(jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}), 401},
			{"expired within the clock skew", bearer(jwt.MapClaims{"exp": time.Now().Add(-10 * time.Second).Unix()}), 200},
			{"another issuer's", bearer(jwt.MapClaims{"iss": "https://evil.example.com"}), 401},
			{"for another audience", bearer(jwt.MapClaims{"aud": "bank"}), 401},
			{"two credentials at once", http.Header{"Authorization": {"Bearer " + token(t, nil), "Bearer x"}}, 401},
			{"in the cookie", http.Header{"Cookie": {"a=b; session=" + token(t, nil)}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		}},
		{"a role is required", `auth: {require: [jwt], roles: [admin, reader]}`, []step{
			{"without roles", bearer(nil), 403},
			{"with another role", bearer(jwt.MapClaims{"roles": []string{"writer"}}), 403},
			{"with one of them", bearer(jwt.MapClaims{"roles": []string{"writer", "reader"}}), 200},
		}},
		{"scopes are required", `auth: {require: [jwt], scopes: [read, write]}`, []step{
			{"with one of them", bearer(jwt.MapClaims{"scope": "read"}), 403},
			{"with both", bearer(jwt.MapClaims{"scope": "write other read"}), 200},
		}},
		{"an API key is required", `auth: {require: [keys], roles: [machine]}`, []step{
			{"none", nil, 401},
			{"an unknown one", apiKey("key-of-eve"), 401},
			{"a known one", apiKey("key-of-bob"), 200},
			{"a known one without the role", apiKey("a-key-of-carols-own"), 403},
		}},
		{"a token or a key", `auth: {require: [jwt, keys]}`, []step{
			{"none", nil, 401}, {"a token", bearer(nil), 200}, {"a key", apiKey("key-of-bob"), 200},
		}},
		{"optional", `auth: {require: [jwt], optional: true}`, []step{
			{"none", nil, 200}, {"a valid one", bearer(nil), 200}, {"a wrong one", http.Header{"Authorization": {"Bearer x"}}, 401},
		}},
		{"rules in CEL", "auth: {require: [jwt], optional: true}\n    authorize: {rules: [{name: banned, deny: 'identity.user == \"eve\"'}, {name: tenant, allow: 'request.headers[\"x-tenant\"] == identity.claims.tenant'}]}", []step{
			{"no rule lets nobody pass", nil, 403},
			{"a wrong credential", http.Header{"Authorization": {"Bearer x"}}, 401},
			{"without the header", bearer(jwt.MapClaims{"tenant": "a"}), 403},
			{"with another tenant", http.Header{"Authorization": {"Bearer " + token(t, jwt.MapClaims{"tenant": "a"})}, "X-Tenant": {"b"}}, 403},
			{"with its own", http.Header{"Authorization": {"Bearer " + token(t, jwt.MapClaims{"tenant": "a"})}, "X-Tenant": {"a"}}, 200},
			{"a deny before it", http.Header{"Authorization": {"Bearer " + token(t, jwt.MapClaims{"tenant": "a", "sub": "eve"})}, "X-Tenant": {"a"}}, 403},
		}},
		{"a limit by IP in memory", `rate_limits: [{per: ip, rate: 2/h}]`, []step{{"first", nil, 200}, {"second", nil, 200}, {"third", nil, 429}}},
		{"a limit by IP in Redis", `rate_limits: [{per: ip, rate: 2/h, store: redis}]`, []step{{"first", nil, 200}, {"second", nil, 200}, {"third", nil, 429}}},
		{"a limit by user", "auth: {require: [jwt]}\n    rate_limits: [{per: user, rate: 1/h}]", []step{
			{"ann", bearer(nil), 200}, {"ann again", bearer(nil), 429}, {"bob", bearer(jwt.MapClaims{"sub": "bob"}), 200},
			{"nobody", nil, 401},
		}},
		{"a limit by key", "auth: {require: [keys]}\n    rate_limits: [{per: key, rate: 1/h, store: redis}]", []step{
			{"bob", apiKey("key-of-bob"), 200}, {"bob again", apiKey("key-of-bob"), 429}, {"carol", apiKey("a-key-of-carols-own"), 200},
		}},
		{"a limit by header", `rate_limits: [{per: "header:X-Tenant", rate: 1/h}]`, []step{
			{"one", http.Header{"X-Tenant": {"one"}}, 200}, {"one again", http.Header{"X-Tenant": {"one"}}, 429},
			{"two", http.Header{"X-Tenant": {"two"}}, 200}, {"none is counted by IP", nil, 200}, {"none again", nil, 429},
		}},
		{"guessing is limited before credentials are looked at", "auth: {require: [keys]}\n    rate_limits: [{per: ip, rate: 1/h}]", []step{
			{"a wrong key", apiKey("x"), 401}, {"another", apiKey("y"), 429},
		}},
	}
	// Each policy has routes of its own for each protocol, so that none uses up what another is to have.
	own := func(policy int, protocol string) string {
		return fmt.Sprint(policy, "-", strings.ReplaceAll(protocol, " ", "-"))
	}
	var routes strings.Builder
	for i, policy := range policies {
		for protocol := range protocols {
			fmt.Fprintf(&routes, `
  - name: calls-%[1]s
    match: {headers: {X-Policy: "%[1]s"}}
    grpc: {upstream: test, services: ["crossgate.test.v1.Bindings", "crossgate.test.v1.Streams"]}
    %[2]s
  - name: socket-%[1]s
    match: {path: /ws, headers: {X-Policy: "%[1]s"}}
    websocket: {service: chat}
    %[2]s
`, own(i, protocol), policy.yaml)
		}
	}
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
redis: {url: %s, limit_timeout: 10s}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
auth:
  - name: jwt
    jwt: {issuer: https://id.example.com, audiences: [shop, other], secret: "${JWT_SECRET}"}
    from: [{header: Authorization}, {cookie: session}]
  - name: keys
    api_keys:
      keys:
        - {id: bob, sha256: %s, roles: [machine]}
        - {id: carol, key: a-key-of-carols-own}
routes:`, redis.URL(), backend.Address, hex.EncodeToString(key[:]))+routes.String())
	for i, policy := range policies {
		for protocol, try := range protocols {
			t.Run(policy.name+"/"+protocol, func(t *testing.T) {
				for _, s := range policy.steps {
					header := http.Header{"X-Policy": {own(i, protocol)}}
					maps.Copy(header, s.header)
					got, answer := try(t, g, header)
					if got != s.want {
						t.Errorf("%s: %d, want %d", s.name, got, s.want)
					}
					if protocol != "gRPC" && got == 401 && answer.Get("WWW-Authenticate") == "" {
						t.Errorf("%s: 401 without WWW-Authenticate", s.name)
					}
					if got == 429 && (answer.Get("Retry-After") == "" || answer.Get("RateLimit") == "") {
						t.Errorf("%s: 429 without Retry-After and RateLimit: %v", s.name, answer)
					}
				}
			})
		}
	}
}

// TestWebSocketCredentials covers the two places that only an upgrade may have a credential in.
func TestWebSocketCredentials(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	g := rig.StartGateway(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
auth:
  - name: jwt
    jwt: {secret: "${JWT_SECRET}"}
    from: [{query: access_token}, {subprotocol: "token."}]
routes:
  - {name: socket, match: {path: /ws}, websocket: {service: chat}, auth: {require: [jwt]}}
  - {name: page, match: {path: /page}, respond: {body: hello}, auth: {require: [jwt]}}
`)
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	dial := func(query string, protocols ...string) (*http.Response, string, error) {
		conn, answer, err := websocket.Dial(ctx, g.URL+"/ws"+query, &websocket.DialOptions{Subprotocols: protocols})
		if err != nil {
			return answer, "", err
		}
		defer conn.CloseNow()
		return answer, conn.Subprotocol(), nil
	}
	if _, _, err := dial("?access_token=" + token(t, nil)); err != nil {
		t.Errorf("in the query: %v", err)
	}
	if _, chosen, err := dial("", "crossgate.v1.json", "token."+token(t, nil)); err != nil || chosen != "crossgate.v1.json" {
		t.Errorf("in a subprotocol: %q, %v", chosen, err)
	}
	if answer, _, err := dial("?access_token=x"); err == nil || answer.StatusCode != 401 {
		t.Errorf("a wrong one: %v", err)
	}
	answer, err := http.Get(g.URL + "/page?access_token=" + token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 401 {
		t.Errorf("a query parameter is taken outside of an upgrade: %d", answer.StatusCode)
	}
	if log := g.Log(); strings.Contains(log, "access_token") || strings.Contains(log, token(t, nil)[:20]) {
		t.Errorf("the log has a credential:\n%s", log)
	}
}
