package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// authorizer is an authorisation service that does what the header x-case says.
type authorizer struct {
	authv3.UnimplementedAuthorizationServer
	mu   sync.Mutex
	last *authv3.AttributeContext
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
}

func deniedWith(code typev3.StatusCode, body string, headers ...*corev3.HeaderValueOption) *authv3.CheckResponse {
	return &authv3.CheckResponse{Status: &spb.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: &authv3.CheckResponse_DeniedResponse{
		DeniedResponse: &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: code}, Body: body, Headers: headers},
	}}
}

func (a *authorizer) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	a.mu.Lock()
	a.last = r.GetAttributes()
	a.mu.Unlock()
	switch r.GetAttributes().GetRequest().GetHttp().GetHeaders()["x-case"] {
	case "allow":
		return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:              []*corev3.HeaderValueOption{setHeader("X-Test-Header-Who", "ann"), setHeader("Host", "evil.example"), setHeader("x-test-header-bad", "a\r\nb: c")},
			HeadersToRemove:      []string{"x-test-header-secret", "content-length"},
			ResponseHeadersToAdd: []*corev3.HeaderValueOption{setHeader("x-authorised-by", "policy-7"), setHeader("content-length", "1")},
		}}}, nil
	case "forbid":
		return deniedWith(typev3.StatusCode_Forbidden, "not on a Sunday", setHeader("x-denied-by", "policy-8")), nil
	case "login":
		return deniedWith(typev3.StatusCode_Unauthorized, "", setHeader("www-authenticate", `Bearer realm="theirs"`)), nil
	case "bare":
		return &authv3.CheckResponse{Status: &spb.Status{Code: int32(codes.PermissionDenied)}}, nil
	case "odd":
		return deniedWith(typev3.StatusCode_OK, "all is well"), nil
	case "fail":
		return nil, status.Error(codes.Internal, "the secret reason")
	case "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &authv3.CheckResponse{}, nil
}

// TestExternalAuthorization asks a real service about requests of every protocol.
func TestExternalAuthorization(t *testing.T) {
	backend := testserver.Start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service, server := new(authorizer), grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()

	route := func(name, condition, external string) string {
		return fmt.Sprintf(`
  - {name: %[1]s, match: {headers: {%[2]s}}, grpc: {upstream: test, services: ["crossgate.test.v1.*"]}, external_auth: {%[3]s}}
  - {name: %[1]s-socket, match: {path: /ws, headers: {%[2]s}}, websocket: {service: chat}, external_auth: {%[3]s}}`, name, condition, external)
	}
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: test, endpoints: ["%s"]}
  - {name: authz, endpoints: ["%s"]}
  - {name: gone, endpoints: ["%s"]}
descriptors: [{reflection: {upstream: test}}]
routes:`, backend.Address, listener.Addr(), gone.Addr())+
		route("asked", `X-Case: "*"`, `upstream: authz, timeout: 10s, headers: [x-case, X-Test-*], context: {team: shop}`)+
		route("hasty", `X-Case: slow`, `upstream: authz, timeout: 50ms`)+
		route("closed", `X-Case: gone`, `upstream: gone, timeout: 10s`)+
		route("open", `X-Case: open`, `upstream: gone, timeout: 10s, on_failure: allow`))

	for _, c := range []struct {
		name   string
		header http.Header
		want   int
		answer http.Header // headers that the answer has
	}{
		{"plain", nil, 200, nil},
		{"allow", http.Header{
			"X-Test-Header-Who": {"root"}, "Grpc-Metadata-X-Test-Header-Who": {"root"}, "X-Test-Header-Secret": {"s"},
			"Grpc-Metadata-X-Test-Header-Secret": {"s"}, "X-Test_header_who": {"root"},
		}, 200, http.Header{"X-Authorised-By": {"policy-7"}}},
		{"forbid", nil, 403, http.Header{"X-Denied-By": {"policy-8"}}},
		{"login", nil, 401, http.Header{"Www-Authenticate": {`Bearer realm="theirs"`}}},
		{"bare", nil, 403, nil},
		{"odd", nil, 403, nil},
		{"fail", nil, 503, nil},
		{"slow", nil, 503, nil},
		{"gone", nil, 503, nil},
		{"open", nil, 200, nil},
	} {
		for protocol, try := range protocols {
			t.Run(c.name+"/"+protocol, func(t *testing.T) {
				header := http.Header{"X-Case": {c.name}}
				for name, values := range c.header {
					header[name] = values
				}
				got, answer := try(t, g, header)
				if got != c.want {
					t.Errorf("status %d, want %d", got, c.want)
				}
				if protocol == "gRPC" && c.want != 200 {
					return // its attempt returns no headers of a refusal
				}
				for name, want := range c.answer {
					if !slices.Equal(answer[name], want) {
						t.Errorf("%s: %q, want %q", name, answer[name], want)
					}
				}
				if text := fmt.Sprint(answer); strings.Contains(text, "root") || strings.Contains(text, "secret") || strings.Contains(text, "Secret") {
					t.Errorf("the backend got what the caller forged, or what was to be removed: %v", answer)
				}
				if c.name == "allow" && protocol != "WebSocket" && protocol != "stream of Connect" {
					told := append(answer["Grpc-Metadata-X-Test-Header-Who"], answer["X-Test-Header-Who"]...)
					if !slices.Equal(told, []string{"ann"}) {
						t.Errorf("the backend was told %q: %v", told, answer)
					}
				}
			})
		}
	}
	t.Run("the service is told what it is to judge, and no more", func(t *testing.T) {
		if got, _ := protocols["REST"](t, g, http.Header{"X-Case": {"plain"}, "Cookie": {"a=b"}, "Authorization": {"Bearer secret-token"}}); got != 200 {
			t.Fatalf("status %d", got)
		}
		service.mu.Lock()
		defer service.mu.Unlock()
		h := service.last.GetRequest().GetHttp()
		if h.GetMethod() != "GET" || h.GetPath() != "/bind/v1/one/x" || h.GetHost() != "127.0.0.1" || h.GetProtocol() != "HTTP/1.1" || h.GetId() == "" {
			t.Errorf("asked about %v", h)
		}
		if len(h.GetHeaders()) != 1 || h.GetHeaders()["x-case"] != "plain" {
			t.Errorf("told the headers %v", h.GetHeaders())
		}
		if c := service.last.GetContextExtensions(); c["route"] != "asked" || c["team"] != "shop" {
			t.Errorf("told the context %v", c)
		}
		if a := service.last.GetSource().GetAddress().GetSocketAddress().GetAddress(); a != "127.0.0.1" {
			t.Errorf("told the address %q", a)
		}
	})
	for end := time.Now().Add(rig.Patience); strings.Count(g.Log(), `"msg":"request"`) < 61 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the access log is held back for a second
	}
	if log := g.Log(); !strings.Contains(log, `"decision":"failed_open","rule":"external_auth"`) || !strings.Contains(log, `"decision":"denied","rule":"external_auth"`) || strings.Contains(log, "the secret reason") {
		t.Errorf("the log does not say who decided, or says more:\n%s", log)
	}
	_, metrics := call(t, "GET", g.Admin+"/metrics", "", nil)
	for _, want := range []string{
		`crossgate_authorization_decisions_total{decision="failed_open",route="open",rule="external_auth"} 5`,
		`crossgate_authorization_decisions_total{decision="failed_closed",route="closed",rule="external_auth"} 5`,
		`crossgate_authorization_decisions_total{decision="failed_closed",route="hasty",rule="external_auth"} 5`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
}
