package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/rig"
	bridgev1 "github.com/crossgate/crossgate/proto/crossgate/bridge/v1"
)

// bridgeCall calls the admin listener's REST API, with the admin token.
func bridgeCall(t *testing.T, g *rig.Gateway, method, path, body string, want int) map[string]any {
	t.Helper()
	answer, text := ask(t, method, g.Admin+path, body, "Content-Type", "application/json", "Authorization", "Bearer admin-token")
	if answer.StatusCode != want {
		t.Fatalf("%s %s: %s %s, want %d", method, path, answer.Status, text, want)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got
}

func (c *client) wantClosed(code websocket.StatusCode) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, rig.Patience)
	defer cancel()
	for {
		if _, _, err := c.conn.Read(ctx); err != nil {
			if got := websocket.CloseStatus(err); got != code {
				c.t.Fatalf("closed with %v (%v), want %v", got, err, code)
			}
			return
		}
	}
}

func TestTheBridgeAPIReachesConnectionsOfEveryNode(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	server := rig.StartRedis(t)
	text := strings.Replace(chatNode, `admin: {address: "127.0.0.1:0"}`, `admin: {address: "127.0.0.1:0", token: admin-token}`, 1)
	text = strings.Replace(text, `{pattern: "room:*"}`, `{pattern: "room:*", history: {size: 10, ttl: 1m}, presence: {claims: [team]}}`, 1)
	one, two := rig.StartGateway(t, fmt.Sprintf(text, server.URL())), rig.StartGateway(t, fmt.Sprintf(text, server.URL()))
	ann, bob, bob2 := connect(t, one, "ann"), connect(t, two, "bob"), connect(t, two, "bob")
	for _, c := range []*client{ann, bob} {
		c.send(`{"id":1,"type":"subscribe","channel":"room:1"}`)
		c.want(`{"id":1,"type":"ok"}`)
	}
	bob2.send(`{"id":1,"type":"ping"}`)
	bob2.want(`{"id":1,"type":"pong"}`)

	// Asked at one node, those of both are found.
	listed := bridgeCall(t, one, "GET", "/v1/connections?pageSize=2", "", 200)
	if n := len(listed["connections"].([]any)); n != 2 || listed["nextPageToken"] == nil {
		t.Fatalf("the first page is %v", listed)
	}
	rest := bridgeCall(t, one, "GET", "/v1/connections?pageSize=2&pageToken="+fmt.Sprint(listed["nextPageToken"]), "", 200)
	if n := len(rest["connections"].([]any)); n != 1 || rest["nextPageToken"] != nil {
		t.Fatalf("the second page is %v", rest)
	}
	inRoom := bridgeCall(t, one, "GET", "/v1/connections?user=bob&channel=room:1", "", 200)["connections"].([]any)
	if len(inRoom) != 1 {
		t.Fatalf("bob's connections in the room are %v", inRoom)
	}
	name := inRoom[0].(map[string]any)["name"].(string)
	got := bridgeCall(t, one, "GET", "/v1/"+name, "", 200)
	if got["user"] != "bob" || got["route"] != "chat" || fmt.Sprint(got["channels"]) != "[room:1]" || got["transport"] != "websocket" {
		t.Errorf("the connection is %v", got)
	}
	bridgeCall(t, one, "GET", "/v1/connections/none", "", 404)

	bridgeCall(t, one, "POST", "/v1/connections:publish", fmt.Sprintf(`{"connection":%q,"data":{"n":1}}`, name), 200)
	bob.want(`{"type":"message","data":{"n":1}}`)
	bridgeCall(t, one, "POST", "/v1/connections:publish", `{"user":"bob","json":"{\"n\": 2}"}`, 200)
	bob.want(`{"type":"message","data":{"n":2}}`)
	bob2.want(`{"type":"message","data":{"n":2}}`)
	at := bridgeCall(t, one, "POST", "/v1/connections:publish", `{"channel":"room:1","data":3,"requestId":"r"}`, 200)
	again := bridgeCall(t, two, "POST", "/v1/connections:publish", `{"channel":"room:1","data":3,"requestId":"r"}`, 200)
	if at["offset"] != "1" || again["offset"] != "1" {
		t.Errorf("published at %v, again at %v", at, again)
	}
	ann.want(`{"type":"message","channel":"room:1","offset":1,"data":3}`)
	bob.want(`{"type":"message","channel":"room:1","offset":1,"data":3}`)
	bridgeCall(t, two, "POST", "/v1/connections:publish", `{"everyone":true,"bytes":"/wA="}`, 200)
	for _, c := range []*client{ann, bob, bob2} {
		c.want(`{"type":"message","data_base64":"/wA="}`)
	}

	// Who is in the room, on both nodes.
	rig.Eventually(t, rig.Patience, func() error { // who has subscribed is told to Redis soon after
		if count := bridgeCall(t, one, "GET", "/v1/channels/room:1/presence:count", "", 200); count["connections"] != "2" {
			return fmt.Errorf("counted %v", count)
		}
		return nil
	})
	who := bridgeCall(t, one, "GET", "/v1/channels/room:1/presence?pageSize=1", "", 200)
	more := bridgeCall(t, one, "GET", "/v1/channels/room:1/presence?pageSize=1&pageToken="+fmt.Sprint(who["nextPageToken"]), "", 200)
	if who["connections"] != "2" || who["users"] != "2" || more["nextPageToken"] != nil {
		t.Errorf("the pages of who is present are %v and %v", who, more)
	}
	members := append(who["members"].([]any), more["members"].([]any)...)
	if len(members) != 2 || !slices.ContainsFunc(members, func(m any) bool {
		return m.(map[string]any)["connection"] == name && m.(map[string]any)["user"] == "bob"
	}) {
		t.Errorf("present are %v", members)
	}
	count := bridgeCall(t, two, "GET", "/v1/channels/room%3A1/presence:count", "", 200)
	if count["connections"] != "2" || count["users"] != "2" {
		t.Errorf("counted %v", count)
	}
	bridgeCall(t, one, "GET", "/v1/channels/a%2Fb/presence:count", "", 200)
	bridgeCall(t, one, "GET", "/v1/channels/a%20b/presence", "", 400)
	bridgeCall(t, one, "GET", "/v1/channels/a/presence?pageSize=-1", "", 400)
	bridgeCall(t, one, "GET", "/v1/channels/a/presence?pageToken=%25", "", 400)

	for _, bad := range []string{`{}`, `{"user":"bob"}`, `{"data":1}`, `{"user":"bob","json":"{"}`, `{"channel":"a b","data":1}`, `{"connection":"x","data":1}`} {
		bridgeCall(t, one, "POST", "/v1/connections:publish", bad, 400)
	}
	bridgeCall(t, one, "POST", "/v1/connections:disconnect", `{"user":"bob","code":1006}`, 400)
	bridgeCall(t, one, "POST", "/v1/connections:disconnect", `{}`, 400)

	// As gRPC, and only with the token.
	conn, err := grpc.NewClient(strings.TrimPrefix(one.Admin, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	bridge := bridgev1.NewBridgeClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	order := &bridgev1.DisconnectRequest{Target: &bridgev1.DisconnectRequest_Connection{Connection: name}, Code: 4400, Reason: "enough"}
	if _, err := bridge.Disconnect(ctx, order); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer admin-token")
	wantBridgeInGRPC(ctx, t, bridge, name, bob)
	if answer, err := bridge.Disconnect(ctx, order); err != nil || answer.GetDisconnected() != 1 {
		t.Fatalf("disconnected %v, %v", answer, err)
	}
	bob.wantClosed(4400)
	if answer, err := bridge.Disconnect(ctx, &bridgev1.DisconnectRequest{Target: &bridgev1.DisconnectRequest_User{User: "bob"}}); err != nil || answer.GetDisconnected() != 1 {
		t.Fatalf("disconnected %v, %v", answer, err)
	}
	bob2.wantClosed(4005)

	if _, err := bridge.RevokeCredentials(ctx, &bridgev1.RevokeCredentialsRequest{Revocation: &bridgev1.Revocation{User: "ann"}}); err != nil {
		t.Fatal(err)
	}
	ann.wantClosed(4003)
	if revoked := bridgeCall(t, two, "GET", "/v1/revocations", "", 200)["revocations"].([]any); len(revoked) != 1 || revoked[0].(map[string]any)["user"] != "ann" {
		t.Errorf("revoked are %v", revoked)
	}
	for _, g := range []*rig.Gateway{one, two} {
		rig.Eventually(t, rig.Patience, func() error {
			conn, answer, err := websocket.Dial(ctx, g.URL+"/ws", &websocket.DialOptions{
				HTTPHeader: map[string][]string{"Authorization": {"Bearer " + token(t, jwt.MapClaims{"sub": "ann"})}}})
			if err == nil {
				conn.CloseNow()
				return errors.New("a revoked user connects")
			}
			if answer == nil || answer.StatusCode != http.StatusUnauthorized {
				return err
			}
			return nil
		})
	}
}

// wantBridgeInGRPC asks as gRPC what was asked as REST before.
func wantBridgeInGRPC(ctx context.Context, t *testing.T, bridge bridgev1.BridgeClient, name string, bob *client) {
	t.Helper()
	if got, err := bridge.GetConnection(ctx, &bridgev1.GetConnectionRequest{Name: name}); err != nil || got.GetUser() != "bob" {
		t.Errorf("the connection is %v, %v", got, err)
	}
	if list, err := bridge.ListConnections(ctx, &bridgev1.ListConnectionsRequest{Channel: "room:1"}); err != nil || len(list.GetConnections()) != 2 {
		t.Errorf("connections are %v, %v", list, err)
	}
	if who, err := bridge.Presence(ctx, &bridgev1.PresenceRequest{Channel: "room:1"}); err != nil || len(who.GetMembers()) != 2 || who.GetUsers() != 2 {
		t.Errorf("present are %v, %v", who, err)
	}
	if count, err := bridge.CountPresence(ctx, &bridgev1.CountPresenceRequest{Channel: "room:1"}); err != nil || count.GetConnections() != 2 {
		t.Errorf("counted %v, %v", count, err)
	}
	for i, r := range []*bridgev1.PublishRequest{
		{Target: &bridgev1.PublishRequest_Connection{Connection: name}},
		{Target: &bridgev1.PublishRequest_User{User: "bob"}},
		{Target: &bridgev1.PublishRequest_Everyone{Everyone: true}},
	} {
		r.Payload = &bridgev1.PublishRequest_Json{Json: fmt.Sprint(i)}
		if _, err := bridge.Publish(ctx, r); err != nil {
			t.Fatal(err)
		}
		bob.want(fmt.Sprintf(`{"type":"message","data":%d}`, i))
	}
	if _, err := bridge.Publish(ctx, &bridgev1.PublishRequest{Target: &bridgev1.PublishRequest_Channel{Channel: "room:1"}, Payload: &bridgev1.PublishRequest_Json{Json: "4"}}); err != nil {
		t.Fatal(err)
	}
	bob.want(`{"type":"message","channel":"room:1","offset":2,"data":4}`)
}
