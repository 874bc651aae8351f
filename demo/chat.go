package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// ChatService is the name of the demo chat service on the bus.
const ChatService = "chat"

const (
	maxText = 2000 // bytes of what is said
	maxName = 64   // bytes of a member's name
)

// Chat is the demo chat service. A client joins a room with chat.join, speaks in it with chat.send and leaves it with
// chat.leave or by going away; what happens in a room is told on its channel, room:{room}.
//
// It is one replica by design: rooms are in memory, and inbound messages go to every replica there is.
type Chat struct {
	bus    *service.Service
	client *redis.Client
	stop   context.CancelFunc
	done   chan struct{}

	// Only handlers touch these, and they run one at a time.
	rooms  map[string]*chatRoom
	boot   string // what event ids begin with, so that they differ from those before a restart
	events uint64
}

// StartChat joins the bus on the Redis at a redis:// URL, and serves until ctx ends or Close.
func StartChat(ctx context.Context, url string) (*Chat, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		// The parser's error may hold the URL, and with it a password.
		return nil, fmt.Errorf("demo chat: the Redis URL is not of the form redis://host:port/db")
	}
	client := redis.NewClient(options)
	asked, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Ping(asked).Err(); err != nil {
		client.Close()
		return nil, fmt.Errorf("demo chat: Redis at %s: %w", options.Addr, err)
	}

	ctx, stop := context.WithCancel(ctx)
	c := &Chat{client: client, stop: stop, done: make(chan struct{}), rooms: map[string]*chatRoom{}, boot: rand.Text()[:8]}
	// One worker: what is said in a room is told in the order in which it was said.
	c.bus = service.New(client, ChatService, service.WithWorkers(1), service.WithLogger(slog.New(slog.DiscardHandler)))
	c.bus.Handle("chat.join", c.join)
	c.bus.Handle("chat.leave", c.leave)
	c.bus.Handle("chat.send", c.send)
	c.bus.OnDisconnect(c.gone)
	// Serves until ctx ends.
	go func() {
		defer close(c.done)
		_ = c.bus.Run(ctx)
	}()
	return c, nil
}

// Close leaves the bus and returns when no handler runs. It is to be called once.
func (c *Chat) Close() {
	c.stop()
	<-c.done
	c.client.Close()
}

// chatEvent is what a room's channel tells, and what its history is made of.
type chatEvent struct {
	ID   string    `json:"id"`
	Kind string    `json:"kind"` // said, joined or left
	Room string    `json:"room"`
	From string    `json:"from"`
	Text string    `json:"text,omitempty"`
	Time time.Time `json:"time"`
	// Members are the names in the room after somebody joined or left.
	Members []string `json:"members,omitempty"`
}

// chatRequest is the data of every route; each needs room, and its own.
type chatRequest struct {
	Room string `json:"room"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// join lets a connection into a room, and answers with who is there and what was said. Joining again is how a client
// says that it is still there.
func (c *Chat) join(ctx context.Context, m *service.Message) (any, error) {
	request, err := readChatRequest(m)
	if err != nil {
		return nil, err
	}
	name := m.User // a user cannot take another's name
	if name == "" {
		name = strings.TrimSpace(request.Name)
	}
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return nil, refuse("name: expected 1 to %d bytes", maxName)
	}
	room, err := c.room(request.Room)
	if err != nil {
		return nil, err
	}
	before, err := room.enter(m.Connection, name)
	if err != nil {
		return nil, err
	}
	if before != name {
		if err := c.tell(ctx, room, chatEvent{Kind: "joined", From: name, Members: room.names()}); err != nil {
			return nil, err
		}
	}
	return map[string]any{"room": room.name, "members": room.names(), "messages": room.history}, nil
}

// leave takes a connection out of a room.
func (c *Chat) leave(ctx context.Context, m *service.Message) (any, error) {
	request, err := readChatRequest(m)
	if err != nil {
		return nil, err
	}
	return map[string]any{"room": request.Room}, c.out(ctx, c.rooms[request.Room], m.Connection)
}

// gone takes a connection that is no more out of every room.
func (c *Chat) gone(ctx context.Context, m *service.Message) {
	for _, room := range c.rooms {
		// A room whose channel could not be told shows it with the next event.
		_ = c.out(ctx, room, m.Connection)
	}
}

func (c *Chat) out(ctx context.Context, room *chatRoom, connection string) error {
	if room == nil {
		return nil
	}
	name := room.exit(connection)
	if name == "" {
		return nil
	}
	return c.tell(ctx, room, chatEvent{Kind: "left", From: name, Members: room.names()})
}

// send says something in a room. Who has not joined it may speak too, as anonymous.
func (c *Chat) send(ctx context.Context, m *service.Message) (any, error) {
	request, err := readChatRequest(m)
	if err != nil {
		return nil, err
	}
	if request.Text == "" || len(request.Text) > maxText {
		return nil, refuse("text: expected 1 to %d bytes", maxText)
	}
	room, err := c.room(request.Room)
	if err != nil {
		return nil, err
	}
	from := room.nameOf(m.Connection)
	if from == "" {
		from = m.User
	}
	if from == "" {
		from = "anonymous"
	}
	if err := c.tell(ctx, room, chatEvent{Kind: "said", From: from, Text: request.Text}); err != nil {
		return nil, err
	}
	return map[string]string{"id": room.history[len(room.history)-1].ID}, nil
}

// tell completes an event, keeps it in the room's history and publishes it to the room's channel.
func (c *Chat) tell(ctx context.Context, room *chatRoom, event chatEvent) error {
	c.events++
	event.ID = c.boot + "-" + strconv.FormatUint(c.events, 10)
	event.Room = room.name
	event.Time = time.Now().UTC()
	room.remember(event)
	return c.bus.SendChannel(ctx, "room:"+room.name, event)
}

func readChatRequest(m *service.Message) (*chatRequest, error) {
	var r chatRequest
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return nil, refuse(`data: expected an object such as {"room": "lobby"}`)
	}
	if !isID(r.Room) || len(r.Room) > 32 {
		return nil, refuse("room: expected 1 to 32 lower case letters, digits and dashes")
	}
	return &r, nil
}

func refuse(format string, args ...any) error {
	return &bus.ReplyError{Code: "invalid_argument", Message: fmt.Sprintf(format, args...)}
}
