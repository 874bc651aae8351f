package integration

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/integration/rig"
)

// What a policy lets happen.
const (
	allow = "allow"
	deny  = "deny"
	down  = "dependency down" // what it depends on is gone
)

// policy is one thing that routes may be told, with what comes of it.
type policy struct {
	name     string
	keys     string // of its routes
	calls    string // and of those with an upstream alone
	sockets  string // keys of how its routes take WebSockets
	sessions string // and of sessions alone
	upstream string // the kind of upstream, if it is an own one
	rows     []policyRow
	// none has the cells that make no sense, with the reason: by situation, or by protocol and situation.
	none map[string]string
}

// policyRow is one request, in every protocol.
type policyRow struct {
	situation, name string
	request         func(t *testing.T, w *policyWorld) policyRequest // nil: a bare one
	want            verdict
	first           int                // so many requests have been let pass before
	held            bool               // another one is under way
	reaches         bool               // the backend gets it although it ends otherwise
	opens           string             // a protocol whose call may have been opened by then, without its message
	in              map[string]verdict // what other protocols want
	check           func(t *testing.T, protocol string, v verdict)
}

var (
	admitted            = verdict{200, codes.OK, "", nil}
	unauthenticated     = verdict{401, codes.Unauthenticated, "UNAUTHENTICATED", nil}
	notAllowed          = verdict{403, codes.PermissionDenied, "PERMISSION_DENIED", nil}
	identityUnavailable = verdict{503, codes.Unavailable, "IDENTITY_UNAVAILABLE", nil}
	overLimit           = verdict{429, codes.ResourceExhausted, "RATE_LIMIT_EXCEEDED", nil}
	limitsUnavailable   = verdict{503, codes.Unavailable, "LIMITS_UNAVAILABLE", nil}
	tooLarge            = verdict{413, codes.ResourceExhausted, "MESSAGE_TOO_LARGE", nil}
	tooLate             = verdict{504, codes.DeadlineExceeded, unsaid, nil} // the backend has the deadline, too, and may be first
	upstreamOverloaded  = verdict{503, codes.Unavailable, "UPSTREAM_OVERLOADED", nil}
	unreachable         = verdict{503, codes.Unavailable, "UPSTREAM_UNREACHABLE", nil}
	shed                = verdict{503, codes.Unavailable, "OVERLOADED", nil}
)

func withHeaders(pairs ...string) func(*testing.T, *policyWorld) policyRequest {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return func(*testing.T, *policyWorld) policyRequest { return policyRequest{header: h.Clone()} }
}

func bearing(claims map[string]any) func(*testing.T, *policyWorld) policyRequest {
	return func(t *testing.T, w *policyWorld) policyRequest { return policyRequest{header: w.bearer(t, claims)} }
}

func slow(*testing.T, *policyWorld) policyRequest { return policyRequest{slow: true} }

func ofSize(n int) func(*testing.T, *policyWorld) policyRequest {
	return func(*testing.T, *policyWorld) policyRequest { return policyRequest{size: n} }
}

func basicOf(password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+password))
}

const (
	noUpstream   = "a session is between client and gateway"
	noDependency = "it needs nothing but the request and the configuration"
)

var identityPolicies = []policy{
	{name: "JWT", keys: "auth: {require: [jwks]}", rows: []policyRow{
		{situation: allow, request: bearing(nil), want: admitted},
		{situation: deny, name: "no token", want: unauthenticated},
		{situation: deny, name: "an expired token", request: bearing(map[string]any{"exp": 1}), want: unauthenticated},
		{situation: down, name: "the keys that are known go on", request: bearing(map[string]any{"sub": "bob"}), want: admitted},
		{situation: down, name: "and refuse", request: bearing(map[string]any{"exp": 2}), want: unauthenticated},
	}},
	{name: "JWT whose keys were never there", keys: "auth: {require: [cold]}", rows: []policyRow{
		{situation: deny, name: "no token", want: unauthenticated},
		{situation: down, request: bearing(nil), want: identityUnavailable},
	}, none: map[string]string{allow: "without keys nobody can be let in"}},
	{name: "introspection", keys: "auth: {require: [opaque]}", rows: []policyRow{
		{situation: allow, request: withHeaders("Authorization", "Bearer good-token-one"), want: admitted},
		{situation: deny, request: withHeaders("Authorization", "Bearer revoked-token-one"), want: unauthenticated},
		{situation: down, name: "a token that is remembered", request: withHeaders("Authorization", "Bearer good-token-one"), want: admitted},
		{situation: down, name: "a token that is refused already", request: withHeaders("Authorization", "Bearer revoked-token-one"), want: unauthenticated},
		{situation: down, name: "a new token", request: withHeaders("Authorization", "Bearer good-token-two"), want: identityUnavailable},
	}},
	{name: "API key of a file", keys: "auth: {require: [file]}", rows: []policyRow{
		{situation: allow, request: withHeaders("X-API-Key", fileKey), want: admitted},
		{situation: deny, request: withHeaders("X-API-Key", "nobody's"), want: unauthenticated},
		{situation: down, name: "what the file had stays in force", request: withHeaders("X-API-Key", fileKey), want: admitted},
		{situation: down, name: "and nothing else", request: withHeaders("X-API-Key", "nobody's either"), want: unauthenticated},
	}},
	{name: "API key of Redis", keys: "auth: {require: [redis]}", rows: []policyRow{
		{situation: allow, request: withHeaders("X-API-Key", redisKey), want: admitted},
		{situation: deny, request: withHeaders("X-API-Key", "nobody's"), want: unauthenticated},
		{situation: down, name: "a key that is remembered", request: withHeaders("X-API-Key", redisKey), want: admitted},
		{situation: down, name: "a new key", request: withHeaders("X-API-Key", "nobody's either"), want: identityUnavailable},
	}},
	{name: "htpasswd", keys: "auth: {require: [basic]}", rows: []policyRow{
		{situation: allow, request: withHeaders("Authorization", basicOf(password)), want: admitted},
		{situation: deny, request: withHeaders("Authorization", basicOf("wrong")), want: unauthenticated},
		{situation: down, name: "what the file had stays in force", request: withHeaders("Authorization", basicOf(password)), want: admitted},
		{situation: down, name: "and nothing else", request: withHeaders("Authorization", basicOf("wrong, too")), want: unauthenticated},
	}},
	{name: "client certificate", keys: "auth: {require: [mesh]}", rows: []policyRow{
		{situation: allow, request: func(t *testing.T, w *policyWorld) policyRequest {
			return policyRequest{tls: w.client(t, w.authority)}
		}, want: admitted},
		{situation: deny, name: "no certificate", request: func(t *testing.T, w *policyWorld) policyRequest {
			return policyRequest{tls: w.client(t, nil)}
		}, want: unauthenticated},
		{situation: deny, name: "no TLS", want: unauthenticated},
	}, none: map[string]string{down: "the authorities are read at load"}},
	{name: "authorisation service", keys: "external_auth: {upstream: authz, timeout: 10s, headers: [x-case]}", rows: []policyRow{
		{situation: allow, want: admitted},
		{situation: deny, request: withHeaders("X-Case", "bare"), want: verdict{http: 403, code: codes.PermissionDenied, reason: "PERMISSION_DENIED"}},
		{situation: down, want: identityUnavailable},
	}},
	{name: "authorisation service, fail-open", keys: "external_auth: {upstream: authz, timeout: 10s, headers: [x-case], on_failure: allow}", rows: []policyRow{
		{situation: allow, want: admitted},
		{situation: deny, request: withHeaders("X-Case", "bare"), want: notAllowed},
		{situation: down, request: withHeaders("X-Case", "bare"), want: admitted},
	}},
	{name: "rules in CEL", keys: `authorize: {rules: [{name: tenant, allow: 'request.headers["x-tenant"] == "acme"'}]}`, rows: []policyRow{
		{situation: allow, request: withHeaders("X-Tenant", "acme"), want: admitted},
		{situation: deny, name: "false", request: withHeaders("X-Tenant", "globex"), want: notAllowed},
		{situation: deny, name: "not to be evaluated", want: notAllowed},
	}, none: map[string]string{down: noDependency}},
	{name: "roles", keys: "auth: {require: [jwks], roles: [clerk, admin]}", rows: []policyRow{
		{situation: allow, request: bearing(map[string]any{"roles": []string{"clerk"}}), want: admitted},
		{situation: deny, request: bearing(map[string]any{"roles": []string{"guest"}}), want: notAllowed},
		{situation: down, name: "keys are known", request: bearing(map[string]any{"roles": []string{"guest", "x"}}), want: notAllowed},
	}},
	{name: "scopes", keys: "auth: {require: [jwks], scopes: [read, write]}", rows: []policyRow{
		{situation: allow, request: bearing(map[string]any{"scope": "write read"}), want: admitted},
		{situation: deny, request: bearing(map[string]any{"scope": "read"}), want: notAllowed},
		{situation: down, name: "keys are known", request: bearing(map[string]any{"scope": "read x"}), want: notAllowed},
	}},
	{name: "dry run of rules", keys: `authorize: {dry_run: true, rules: [{name: trial, deny: '"x-bad" in request.headers'}], otherwise: allow}`, rows: []policyRow{
		{situation: allow, want: admitted},
		{situation: deny, name: "is only reported", request: withHeaders("X-Bad", "1"), want: admitted},
	}, none: map[string]string{down: noDependency}},
	{name: "CORS", keys: `cors: {origins: ["https://app.example.com"]}`, sockets: `origins: ["https://app.example.com"]`, rows: []policyRow{
		{situation: allow, request: withHeaders("Origin", "https://app.example.com"), want: admitted, check: crossOrigin("https://app.example.com")},
		// A browser keeps the answer from the page; only a WebSocket, which browsers do not guard so, is refused.
		{situation: deny, request: withHeaders("Origin", "https://evil.example.com"), want: admitted, check: crossOrigin(""),
			in: map[string]verdict{"WebSocket": notAllowed, "gRPC over WebSocket": notAllowed}},
	}, none: map[string]string{down: noDependency, "gRPC/" + allow: "pages do not speak native gRPC", "gRPC/" + deny: "pages do not speak native gRPC"}},
}

func crossOrigin(origin string) func(*testing.T, string, verdict) {
	return func(t *testing.T, protocol string, v verdict) {
		if got := v.header.Get("Access-Control-Allow-Origin"); !strings.Contains(protocol, "WebSocket") && got != origin {
			t.Errorf("Access-Control-Allow-Origin %q, want %q", got, origin)
		}
	}
}

// limitsOf are the kinds of limits, each kept in each of the stores, and what comes of them without Redis.
func limitsOf() []policy {
	var list []policy
	for _, kind := range []struct{ name, keys string }{{"rate", "rate: 2/h"}, {"quota", "quota: 2"}, {"concurrency", "concurrency: 1"}} {
		for _, store := range []string{"memory", "redis", "leased"} {
			for _, failure := range []string{"local", "allow", "deny"} {
				if store == "leased" && kind.name != "rate" || store == "memory" && failure != "local" {
					continue
				}
				p := policy{name: fmt.Sprintf("%s in %s, else %s", kind.name, store, failure),
					keys: fmt.Sprintf(`rate_limits: [{name: %s, per: "header:X-Who", %s, store: %s, on_failure: %s}]`, kind.name, kind.keys, store, failure)}
				over := policyRow{situation: deny, want: overLimit, first: 2, check: limitHeaders(kind.name)}
				if kind.name == "concurrency" {
					over.first, over.held = 0, true
				}
				p.rows = append(p.rows, policyRow{situation: allow, want: admitted}, over)
				if store == "memory" {
					p.none = map[string]string{down: noDependency}
				} else {
					gone := over
					gone.situation = down
					switch failure {
					case "allow":
						gone.want, gone.check = admitted, nil
					case "deny":
						gone = policyRow{situation: down, want: limitsUnavailable, check: retryAfter}
					}
					p.rows = append(p.rows, gone)
				}
				list = append(list, p)
			}
		}
	}
	return append(list, policy{name: "dry run of a limit", keys: `rate_limits: [{name: trial, per: "header:X-Who", rate: 1/h, dry_run: true}]`, rows: []policyRow{
		{situation: allow, want: admitted}, {situation: deny, name: "is only reported", want: admitted, first: 1},
	}, none: map[string]string{down: noDependency}})
}

func retryAfter(t *testing.T, _ string, v verdict) {
	if v.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", v.header)
	}
}

// limitHeaders checks what a refusal by a limit of that name says.
func limitHeaders(name string) func(*testing.T, string, verdict) {
	return func(t *testing.T, protocol string, v verdict) {
		retryAfter(t, protocol, v)
		if !strings.HasPrefix(v.header.Get("RateLimit"), `"`+name+`";r=0`) || !strings.HasPrefix(v.header.Get("RateLimit-Policy"), `"`+name+`";q=`) {
			t.Errorf("headers %v", v.header)
		}
	}
}

var trafficPolicies = []policy{
	{name: "circuit breaker", upstream: "narrow-", rows: []policyRow{
		{situation: allow, want: admitted},
		{situation: deny, want: upstreamOverloaded, held: true},
	}, none: map[string]string{down: "see without a backend", "WebSocket/" + allow: noUpstream, "WebSocket/" + deny: noUpstream}},
	{name: "without a backend", upstream: "gone-", rows: []policyRow{
		{situation: down, want: unreachable},
	}, none: map[string]string{allow: "see the others", deny: "see the others", "WebSocket/" + down: noUpstream}},
	{name: "body limit", keys: "max_body_size: 1KiB", sessions: "max_message_size: 1KiB", rows: []policyRow{
		{situation: allow, request: ofSize(500), want: admitted},
		{situation: deny, request: ofSize(2000), want: tooLarge, opens: "gRPC"},
	}, none: map[string]string{down: noDependency}},
	{name: "timeout", keys: "timeout: 300ms", rows: []policyRow{
		{situation: deny, request: slow, want: tooLate, reaches: true},
	}, none: map[string]string{allow: "a request in time is every other row's", down: "a backend that does not answer is its row",
		"WebSocket/" + deny: "a session lasts as long as its client wants"}},
	{name: "timeout of a try", calls: "try_timeout: 300ms", rows: []policyRow{
		{situation: deny, request: slow, want: tooLate, reaches: true},
	}, none: map[string]string{allow: "a request in time is every other row's", down: "a backend that does not answer is its row",
		"WebSocket/" + deny: noUpstream, "gRPC over WebSocket/" + deny: "such a call is a stream, which is tried once"}},
}

// TestEveryPolicyHoldsInEveryProtocol is the table of policies: each by each protocol, where it lets pass, where it does not,
// and where what it depends on is gone.
func TestEveryPolicyHoldsInEveryProtocol(t *testing.T) {
	policies := append(append(identityPolicies[:len(identityPolicies):len(identityPolicies)], limitsOf()...), trafficPolicies...)
	w := startPolicyWorld(t, "", policies)
	for i, p := range policies {
		w.run(t, i, p, allow)
		w.run(t, i, p, deny)
	}
	_, metrics := ask(t, "GET", w.Admin+"/metrics", "")
	for _, want := range []string{`decision="would_deny"`, `limit="trial",result="dry_run"`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("a dry run reports nothing: no %s", want)
		}
	}
	for _, stop := range w.down {
		stop()
	}
	for i, p := range policies {
		w.run(t, i, p, down)
	}
}

// TestASaturatedGatewayShedsByPriorityInEveryProtocol has as many requests under way as the process serves.
func TestASaturatedGatewayShedsByPriorityInEveryProtocol(t *testing.T) {
	policies := []policy{
		{name: "critical", keys: "priority: critical", rows: []policyRow{{situation: allow, want: admitted}, {situation: deny, name: "never", want: admitted}}},
		{name: "low", keys: "priority: low", rows: []policyRow{{situation: allow, want: admitted}, {situation: deny, want: shed, check: retryAfter}}},
		{name: "normal", rows: []policyRow{{situation: allow, want: admitted}, {situation: deny, want: shed, check: retryAfter}}},
	}
	w := startPolicyWorld(t, "overload: {max_concurrency: 4}", policies)
	for i := range policies {
		policies[i].none = map[string]string{down: noDependency}
		w.run(t, i, policies[i], allow)
	}
	for n := range 4 {
		defer w.hold(t, policyProtocols[0], policyRequest{header: http.Header{"X-Policy": {"p0"}, "X-Call": {fmt.Sprint("held-", n)}}})()
	}
	for i, p := range policies {
		w.run(t, i, p, deny)
	}
}

// run makes the requests of a policy, which is the i-th of the world, for one situation in every protocol.
func (w *policyWorld) run(t *testing.T, i int, p policy, situation string) {
	for _, protocol := range policyProtocols {
		there := false
		why := p.none[situation] + p.none[protocol.name+"/"+situation]
		for _, row := range p.rows {
			if row.situation != situation || why != "" {
				continue
			}
			there = true
			t.Run(strings.TrimSuffix(fmt.Sprintf("%s/%s/%s/%s", p.name, protocol.name, situation, row.name), "/"), func(t *testing.T) {
				w.try(t, i, protocol, row)
			})
		}
		if !there && why == "" {
			t.Errorf("%s has neither a row nor a reason for %s by %s", p.name, situation, protocol.name)
		}
	}
}

// try makes the request of a row, and what it needs to have gone before.
func (w *policyWorld) try(t *testing.T, i int, protocol policyProtocol, row policyRow) {
	var r policyRequest
	if row.request != nil {
		r = row.request(t, w)
	}
	next := func() policyRequest {
		n := r
		n.header = r.header.Clone()
		if n.header == nil {
			n.header = http.Header{}
		}
		n.header.Set("X-Policy", fmt.Sprint("p", i))
		n.header.Set("X-Who", t.Name())
		w.mu.Lock()
		id := fmt.Sprint("call-", len(w.calls))
		w.calls[id] = false
		w.mu.Unlock()
		n.header.Set("X-Call", id)
		n.begun = func() { w.reach(id) }
		return n
	}
	for range row.first {
		if v := protocol.ask(soon(t), t, w.Gateway, next()); !v.is(admitted) {
			t.Fatalf("%v, want room for %d", v, row.first)
		}
	}
	var release func()
	if row.held {
		release = w.hold(t, protocol, next())
		defer release()
	}
	want, special := row.in[protocol.name]
	if !special {
		want = row.want
	}
	one := next()
	id := one.header.Get("X-Call")
	v := protocol.ask(soon(t), t, w.Gateway, one)
	if !v.is(want) {
		t.Errorf("%v, want %v", v, want)
	}
	// On a machine that pauses, a deadline may pass before the backend has been called.
	for end := time.Now().Add(rig.Patience); row.reaches && !w.reached(id) && time.Now().Before(end); {
		one = next()
		id = one.header.Get("X-Call")
		protocol.ask(soon(t), t, w.Gateway, one)
	}
	if reaches := row.reaches || want.is(admitted); w.reached(id) != reaches && row.opens != protocol.name {
		t.Errorf("the backend had the request: %v, want %v", w.reached(id), reaches)
	}
	if row.check != nil {
		row.check(t, protocol.name, v)
	}
	if release != nil && !want.is(admitted) {
		release()
		within(t, "the place is free again", func() bool { return protocol.ask(soon(t), t, w.Gateway, next()).is(admitted) })
	}
}

// hold has a request under way until it is released.
func (w *policyWorld) hold(t *testing.T, protocol policyProtocol, r policyRequest) (release func()) {
	t.Helper()
	r.slow = true
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		protocol.ask(ctx, t, w.Gateway, r)
	}()
	rig.Eventually(t, rig.Patience, func() error {
		if id := r.header.Get("X-Call"); !w.reached(id) {
			return fmt.Errorf("%s has not come", id)
		}
		return nil
	})
	return func() { cancel(); <-ended }
}
