package integration

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
)

// sessionJudge is an authorisation service that lets everybody pass, until it does not, and has no answer at all.
type sessionJudge struct {
	authv3.UnimplementedAuthorizationServer
	gone  atomic.Bool
	asked atomic.Int32
}

func (j *sessionJudge) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	j.asked.Add(1)
	if j.gone.Load() {
		return nil, status.Error(codes.Internal, "gone")
	}
	return &authv3.CheckResponse{}, nil
}

const sessionSecret = "a secret of the session's tokens, long enough"

func sessionToken(t *testing.T, roles ...string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://id.example", "sub": "ann", "roles": roles, "rooms": []string{"red"}, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(sessionSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRulesHoldForTheWholeOfASession(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service, server := new(sessionJudge), grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: authz, endpoints: [%q]}]
auth: [{name: main, jwt: {issuer: "https://id.example", secret: %q}}]
routes:
  - name: chat
    match: {path: /ws}
    auth: {require: [main]}
    authorize: {rules: [{name: chatters, allow: '"chat" in identity.roles && request.upgrade'}]}
    external_auth: {upstream: authz, timeout: 30s}
    websocket:
      service: chat
      channels: [{pattern: "*", subscribe: anyone, presence: {read: allowed}}]
      authorize_messages:
        rules:
          - {name: large, deny: 'message.size > 200'}
          - {name: rooms, allow: 'message.type != "message" && message.channel.startsWith("room:") && "chat" in identity.roles'}
          - {name: own, allow: 'message.route == "say" && message.data.room in identity.claims.rooms'}
          - {name: admin, allow: '"admin" in identity.roles && request.path == "/ws"'}
`, listener.Addr(), sessionSecret))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, answer, err := websocket.Dial(ctx, g.URL+"/ws", &websocket.DialOptions{
		Subprotocols: []string{"crossgate.v1.json"}, HTTPHeader: map[string][]string{"Authorization": {"Bearer " + sessionToken(t, "chat")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body != nil {
		answer.Body.Close()
	}
	defer c.CloseNow()
	for i, step := range []struct{ name, send, want string }{
		{"a channel that the rules name", `"type":"subscribe","channel":"room:1"`, `"type":"ok"`},
		{"another", `"type":"subscribe","channel":"yard"`, `"code":"permission_denied"`},
		{"somebody else's room", `"type":"message","route":"say","data":{"room":"blue"}`, `"code":"permission_denied"`},
		{"no room", `"type":"message","route":"say","data":7`, `"code":"permission_denied"`},
		{"another route", `"type":"message","route":"shout","data":{"room":"red"}`, `"code":"permission_denied"`},
		{"too much", `"type":"message","route":"say","data":{"room":"red","text":"` + strings.Repeat("x", 200) + `"}`, `"code":"permission_denied"`},
		{"an own room, whose service is not there", `"type":"message","route":"say","data":{"room":"red"}`, `"code":"unavailable"`},
		{"who is there", `"type":"presence","channel":"yard"`, `"code":"permission_denied"`},
		{"what no rule is asked about", `"type":"ping"`, `"type":"pong"`},
		{"a token whose bearer may not connect", `"type":"refresh","token":"` + sessionToken(t) + `"`, `"code":"permission_denied"`},
		{"the token from before is still in force", `"type":"subscribe","channel":"room:2"`, `"type":"ok"`},
		{"a token that may do more", `"type":"refresh","token":"` + sessionToken(t, "chat", "admin") + `"`, `"type":"ok"`},
		{"which it now may", `"type":"subscribe","channel":"yard"`, `"type":"ok"`},
	} {
		if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"id":%d,%s}`, i, step.send)); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf(`"id":%d,`, i)
		for {
			_, frame, err := c.Read(ctx)
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if !strings.Contains(string(frame), id) {
				continue // of a channel
			}
			if !strings.Contains(string(frame), step.want) {
				t.Errorf("%s: %s, want %s", step.name, frame, step.want)
			}
			break
		}
	}
	// The service is asked about the refresh that the rules let pass, after the upgrade.
	if n := service.asked.Load(); n != 2 {
		t.Errorf("the authorisation service was asked %d times, want 2", n)
	}
	service.gone.Store(true)
	if err := c.Write(ctx, websocket.MessageText, []byte(`{"id":"last","type":"refresh","token":"`+sessionToken(t, "chat", "x")+`"}`)); err != nil {
		t.Fatal(err)
	}
	if _, frame, err := c.Read(ctx); err != nil || !strings.Contains(string(frame), `"code":"unavailable"`) {
		t.Errorf("without the service: %s, %v", frame, err)
	}
}
