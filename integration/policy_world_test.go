package integration

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// policyWorld is a gateway with all that its policies depend on, and the backends behind it.
type policyWorld struct {
	*rig.Gateway
	// down ends what policies ask, by name: Redis, the key set's and the introspection server, the authorisation service, and
	// the files.
	down map[string]func()
	// certificate and its key are files of the second listener, whose clients' authority has a file of its own.
	certificate, key string

	signer    ed25519.PrivateKey
	authority *rig.Authority
	mu        sync.Mutex
	calls     map[string]bool // the X-Call of requests that backends had
}

// reach notes that a request has come to where it was to.
func (w *policyWorld) reach(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[call] = true
}

// reached reports whether a request came to its backend.
func (w *policyWorld) reached(call string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[call]
}

// The credentials that the world's providers know.
const (
	fileKey  = "key-of-bob-in-the-file"
	redisKey = "key-of-carol-in-redis"
	password = "correct horse"
)

// startPolicyWorld starts a gateway with a route of each kind for every policy, chosen by the header X-Policy.
func startPolicyWorld(t *testing.T, top string, policies []policy) *policyWorld {
	t.Helper()
	w := &policyWorld{calls: map[string]bool{}, authority: rig.NewAuthority(t)}
	// The tap is asked before the test server waits where a call says so.
	backend := testserver.Start(t, grpc.InTapHandle(func(ctx context.Context, call *tap.Info) (context.Context, error) {
		w.reach(strings.Join(call.Header.Get("x-call"), ","))
		return ctx, nil
	}))
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w.reach(r.Header.Get("X-Call"))
		if r.Header.Get("X-Test-Delay") != "" {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(plain.Close)
	server := rig.StartRedis(t)
	seedKeys(t, server)
	keySet := httptest.NewServer(w.keySet(t))
	t.Cleanup(keySet.Close)
	introspection := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(answer, `{"active":%t,"sub":"ann"}`, strings.HasPrefix(r.PostFormValue("token"), "good"))
	}))
	t.Cleanup(introspection.Close)
	authorization, stopAuthorization := startAuthorizer(t)
	files := t.TempDir()
	writeCredentials(t, files)
	w.certificate, w.key = w.authority.Issue(t, t.TempDir(), "localhost", "127.0.0.1")

	var routes strings.Builder
	for i, p := range policies {
		match := fmt.Sprintf("headers: {X-Policy: p%d}", i)
		fmt.Fprintf(&routes, "  - name: calls-%d\n    match: {%s}\n    grpc: {upstream: %stest, services: [crossgate.test.v1.Bindings], websocket: {%s}}\n    %s\n    %s\n", i, match, p.upstream, p.sockets, p.keys, p.calls)
		fmt.Fprintf(&routes, "  - name: http-%d\n    match: {path_prefix: /http/, %s}\n    http: {upstream: %splain}\n    %s\n    %s\n", i, match, p.upstream, p.keys, p.calls)
		session := []string{"service: chat"}
		for _, keys := range []string{p.sockets, p.sessions} {
			if keys != "" {
				session = append(session, keys)
			}
		}
		fmt.Fprintf(&routes, "  - name: socket-%d\n    match: {path: /ws, %s}\n    websocket: {%s}\n    %s\n", i, match, strings.Join(session, ", "), p.keys)
	}
	w.Gateway = rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0"}
  - {address: "127.0.0.1:0", tls: {certificate: %[1]q, key: %[2]q, clients: {ca: %[3]q, mode: optional}}}
admin: {address: "127.0.0.1:0"}
redis: {url: %[4]s, limit_timeout: 10s}
%[12]s
upstreams:
  - {name: test, endpoints: [%[5]q]}
  - {name: plain, protocol: http, endpoints: [%[6]q]}
  - {name: narrow-test, endpoints: [%[5]q], concurrency: {max_requests: 1}}
  - {name: narrow-plain, protocol: http, endpoints: [%[6]q], concurrency: {max_requests: 1}}
  - {name: gone-test, endpoints: [%[7]q]}
  - {name: gone-plain, protocol: http, endpoints: [%[7]q]}
  - {name: authz, endpoints: [%[8]q]}
descriptors: [{reflection: {upstream: test}}]
auth:
  - {name: jwks, jwt: {jwks_url: %[9]q, jwks_cache_time: 1s}}
  - {name: cold, jwt: {jwks_url: "http://%[7]s/keys"}}
  - {name: opaque, introspection: {url: %[10]q, timeout: 1m, token: edge-secret-edge-secret, cache_time: 1h, negative_cache_time: 1h}}
  - {name: file, api_keys: {file: %[11]s/keys.yaml}}
  - {name: redis, api_keys: {redis: true, timeout: 1m, cache_time: 1h, negative_cache_time: 1h}}
  - {name: basic, basic: {htpasswd: %[11]s/users, cache_time: 1h, negative_cache_time: 1h}}
  - {name: mesh, client_certificate: {user: dns}}
routes:
`, w.certificate, w.key, w.authority.File, server.URL(), backend.Address, plain.Listener.Addr(), rig.FreeAddress(t), authorization,
		keySet.URL, introspection.URL, files, top)+routes.String())
	w.down = map[string]func(){
		"Redis": server.Kill, "key set": keySet.Close, "introspection": introspection.Close, "authorisation service": stopAuthorization,
		"files": func() {
			if err := os.RemoveAll(files); err != nil {
				t.Error(err)
			}
		},
	}
	return w
}

// keySet serves the public key of a new signer.
func (w *policyWorld) keySet(t *testing.T) http.HandlerFunc {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.signer = private
	set := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"%s"}]}`, base64.RawURLEncoding.EncodeToString(public))
	return func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprint(answer, set) }
}

// bearer is a token of the world's issuer.
func (w *policyWorld) bearer(t *testing.T, claims jwt.MapClaims) http.Header {
	t.Helper()
	all := jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range claims {
		all[k] = v
	}
	signed := jwt.NewWithClaims(jwt.SigningMethodEdDSA, all)
	signed.Header["kid"] = "one"
	text, err := signed.SignedString(w.signer)
	if err != nil {
		t.Fatal(err)
	}
	return http.Header{"Authorization": {"Bearer " + text}}
}

// client is what a client with a certificate of an authority connects with; of none it shows none.
func (w *policyWorld) client(t *testing.T, authority *rig.Authority) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: rig.Pool(t, w.authority.File), ServerName: "localhost"}
	if authority != nil {
		c.Certificates = []tls.Certificate{authority.Client(t, "orders")}
	}
	return c
}

func seedKeys(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	if err := client.HSet(t.Context(), "cg:apikey:"+sumOf(redisKey), "id", "carol").Err(); err != nil {
		t.Fatal(err)
	}
}

func sumOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// writeCredentials writes a file of API keys and one of passwords.
func writeCredentials(t *testing.T, dir string) {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"keys.yaml": "keys: [{id: bob, sha256: " + sumOf(fileKey) + "}]\n", "users": "ann:" + string(hash) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// startAuthorizer starts an authorisation service and returns its address.
func startAuthorizer(t *testing.T) (address string, stop func()) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, new(authorizer))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String(), server.Stop
}
