package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// gatewayEnd plays the gateway towards the chat service: it publishes what clients send and reads what they would get.
type gatewayEnd struct {
	t      *testing.T
	client *redis.Client
	pubsub *redis.PubSub
	next   int
}

func startChat(t *testing.T) *gatewayEnd {
	t.Helper()
	server := miniredis.RunT(t)
	chat, err := StartChat(t.Context(), "redis://"+server.Addr()+"/0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(chat.Close)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	keys := bus.Keys{Prefix: "cg:"}
	pubsub := client.Subscribe(t.Context(), keys.Node("n1"), keys.Channel("room:lobby"))
	t.Cleanup(func() { pubsub.Close() })
	for range 2 {
		if _, err := pubsub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for server.PubSubNumSub(keys.In("chat"))[keys.In("chat")] == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the chat service does not subscribe")
		}
		time.Sleep(time.Millisecond)
	}
	return &gatewayEnd{t: t, client: client, pubsub: pubsub}
}

// send publishes an envelope and returns its id.
func (g *gatewayEnd) send(m bus.Inbound) string {
	g.t.Helper()
	g.next++
	m.V, m.ID, m.ReplyTo = bus.Version, fmt.Sprint(g.next), "cg:out:node:n1"
	if m.Type == "" {
		m.Type = bus.Message
	}
	raw, err := json.Marshal(m)
	if err == nil {
		err = g.client.Publish(g.t.Context(), "cg:in:chat", raw).Err()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return m.ID
}

// receive returns the next message on a channel, that must be the next one at all.
func (g *gatewayEnd) receive(channel string, into any) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	select {
	case m := <-g.pubsub.Channel():
		if m.Channel != channel {
			g.t.Fatalf("next comes %s on %s, want something on %s", m.Payload, m.Channel, channel)
		}
		if err := json.Unmarshal([]byte(m.Payload), into); err != nil {
			g.t.Fatal(err)
		}
	case <-ctx.Done():
		g.t.Fatalf("nothing comes on %s", channel)
	}
}

func (g *gatewayEnd) event() (e chatEvent) {
	g.t.Helper()
	g.receive("cg:out:channel:room:lobby", &e)
	return e
}

// reply reads the answer to an envelope, which must be for the connection.
func (g *gatewayEnd) reply(id, connection string, into any) *bus.ReplyError {
	g.t.Helper()
	var out bus.Outbound
	g.receive("cg:out:node:n1", &out)
	if out.InReplyTo != id || out.Connection != connection {
		g.t.Fatalf("the answer is for %s to %s, want %s to %s", out.InReplyTo, out.Connection, id, connection)
	}
	if out.Error == nil {
		if err := json.Unmarshal(out.Data, into); err != nil {
			g.t.Fatal(err)
		}
	}
	return out.Error
}

type joined struct {
	Room     string
	Members  []string
	Messages []chatEvent
}

// join joins the lobby and reads both what the room and what the connection are told.
func (g *gatewayEnd) join(connection, name string) joined {
	g.t.Helper()
	id := g.send(bus.Inbound{Connection: connection, Route: "chat.join", Data: json.RawMessage(`{"room":"lobby","name":"` + name + `"}`)})
	if e := g.event(); e.Kind != "joined" || e.From != name || !slices.Contains(e.Members, name) {
		g.t.Fatalf("the room is told %+v, want that %s joined", e, name)
	}
	var answer joined
	if err := g.reply(id, connection, &answer); err != nil {
		g.t.Fatal(err)
	}
	return answer
}

func TestChat(t *testing.T) {
	t.Run("who joins is announced, and told who is there and what was said", func(t *testing.T) {
		g := startChat(t)
		g.join("c1", "ann")
		g.send(bus.Inbound{Connection: "c1", Route: "chat.send", Data: json.RawMessage(`{"room":"lobby","text":"<b>hi</b>"}`)})
		said := g.event()
		if said.Kind != "said" || said.From != "ann" || said.Text != "<b>hi</b>" || said.Room != "lobby" || said.ID == "" || said.Time.IsZero() {
			t.Errorf("the room is told %+v", said)
		}
		g.receive("cg:out:node:n1", &struct{}{})
		answer := g.join("c2", "bob")
		if !slices.Equal(answer.Members, []string{"ann", "bob"}) {
			t.Errorf("members %v, want ann and bob", answer.Members)
		}
		if len(answer.Messages) != 3 || answer.Messages[1].Text != "<b>hi</b>" {
			t.Errorf("messages %+v, want ann's joining, what she said, and bob's joining", answer.Messages)
		}
	})
	t.Run("joining again is not announced", func(t *testing.T) {
		g := startChat(t)
		g.join("c1", "ann")
		id := g.send(bus.Inbound{Connection: "c1", Route: "chat.join", Data: json.RawMessage(`{"room":"lobby","name":"ann"}`)})
		if err := g.reply(id, "c1", &joined{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("an authenticated user has that name and no other", func(t *testing.T) {
		g := startChat(t)
		g.send(bus.Inbound{Connection: "c1", User: "carol", Route: "chat.join", Data: json.RawMessage(`{"room":"lobby","name":"ann"}`)})
		if e := g.event(); e.From != "carol" {
			t.Errorf("%s joined, want carol", e.From)
		}
	})
	t.Run("who leaves or goes away is announced once", func(t *testing.T) {
		g := startChat(t)
		g.join("c1", "ann")
		g.join("c2", "bob")
		id := g.send(bus.Inbound{Connection: "c1", Route: "chat.leave", Data: json.RawMessage(`{"room":"lobby"}`)})
		if e := g.event(); e.Kind != "left" || e.From != "ann" || !slices.Equal(e.Members, []string{"bob"}) {
			t.Errorf("the room is told %+v, want that ann left bob", e)
		}
		g.reply(id, "c1", &joined{})
		g.send(bus.Inbound{Connection: "c1", Type: bus.Disconnect})
		g.send(bus.Inbound{Connection: "c2", Type: bus.Disconnect})
		if e := g.event(); e.Kind != "left" || e.From != "bob" {
			t.Errorf("the room is told %+v, want that bob left", e)
		}
	})
	t.Run("who has not joined speaks as anonymous", func(t *testing.T) {
		g := startChat(t)
		g.send(bus.Inbound{Connection: "c1", Route: "chat.send", Data: json.RawMessage(`{"room":"lobby","text":"x"}`)})
		if e := g.event(); e.From != "anonymous" {
			t.Errorf("%s speaks, want anonymous", e.From)
		}
	})
}

func TestChatRefusesWhatItCannotRead(t *testing.T) {
	tests := []struct{ name, route, data, want string }{
		{"data that is no object", "chat.join", `7`, "data"},
		{"no data", "chat.send", ``, "data"},
		{"no room", "chat.leave", `{}`, "room"},
		{"a room that would be another channel", "chat.send", `{"room":"lobby:x","text":"y"}`, "room"},
		{"a long room", "chat.join", `{"room":"` + strings.Repeat("x", 33) + `","name":"y"}`, "room"},
		{"a blank name", "chat.join", `{"room":"lobby","name":" "}`, "name"},
		{"a long name", "chat.join", `{"room":"lobby","name":"` + strings.Repeat("x", 65) + `"}`, "name"},
		{"nothing said", "chat.send", `{"room":"lobby"}`, "text"},
		{"too much said", "chat.send", `{"room":"lobby","text":"` + strings.Repeat("x", 2001) + `"}`, "text"},
	}
	g := startChat(t)
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			id := g.send(bus.Inbound{Connection: "c1", Route: c.route, Data: json.RawMessage(c.data)})
			err := g.reply(id, "c1", &struct{}{})
			if err == nil || err.Code != "invalid_argument" || !strings.HasPrefix(err.Message, c.want+": ") {
				t.Errorf("got %v, want invalid_argument that names %s", err, c.want)
			}
		})
	}
}

func TestARoomKeepsNoMoreThanItsBounds(t *testing.T) {
	c := &Chat{rooms: map[string]*chatRoom{}}
	room, err := c.room("lobby")
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxHistory + 5 {
		room.remember(chatEvent{ID: fmt.Sprint(i)})
	}
	if len(room.history) != maxHistory || room.history[0].ID != "5" {
		t.Errorf("the room keeps %d events from %s on, want the last %d", len(room.history), room.history[0].ID, maxHistory)
	}
	for i := range maxMembers {
		if _, err := room.enter(fmt.Sprint(i), fmt.Sprint("name", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := room.enter("one more", "x"); err == nil {
		t.Errorf("the room has %d members, more than %d", len(room.members), maxMembers)
	}
	if n := len(room.names()); n != maxShown {
		t.Errorf("%d names are told, want %d", n, maxShown)
	}
	for i := range maxRooms - 1 {
		if _, err := c.room(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.room("new"); err != nil {
		t.Errorf("empty rooms are not given up for a new one: %v", err)
	}
	if c.rooms["lobby"] == nil {
		t.Error("a room with members was given up")
	}
}

func TestAMemberThatIsSilentLapses(t *testing.T) {
	room := &chatRoom{members: map[string]chatMember{"c1": {name: "ann", until: time.Now().Add(-time.Second)}}}
	if _, err := room.enter("c2", "bob"); err != nil {
		t.Fatal(err)
	}
	if got := room.names(); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("members %v, want bob alone", got)
	}
}

func TestStartChatSaysWhatIsWrongWithoutThePassword(t *testing.T) {
	for _, url := range []string{"redis://user:hunter2@127.0.0.1:1/0", "redis://user:hunter2@127.0.0.1:x/0", "http://user:hunter2@127.0.0.1"} {
		chat, err := StartChat(t.Context(), url)
		if err == nil {
			chat.Close()
			t.Errorf("%s is accepted", url)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}
