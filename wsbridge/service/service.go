package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// workers is how many messages are handled at a time unless told otherwise.
	workers = 64
	// claimAfter is how long a message may be with a consumer before another takes it over.
	claimAfter = time.Minute
	// readBlock is how long one read of the queue waits.
	readBlock = 2 * time.Second
)

// Message is what a client sent, or that it came or went.
type Message = bus.Inbound

// Handler handles one message. What it returns is the reply to the client, nil for none; a *bus.ReplyError is an error
// that the client gets, and any other error is told as one without its text. Its context does not end with Run's: Run
// waits for it.
type Handler func(ctx context.Context, m *Message) (any, error)

// Service handles the messages of one service. Set the handlers before Run. Its Send methods are safe for concurrent use.
type Service struct {
	servers  *bus.Servers
	name     string
	consumer string // of the queue's group
	keys     bus.Keys
	logger   *slog.Logger
	queue    bool
	limit    int
	claim    time.Duration
	kept     []keptChannels

	handlers     map[string]Handler
	onConnect    func(ctx context.Context, m *Message)
	onDisconnect func(ctx context.Context, m *Message)
	authorize    func(ctx context.Context, m *Message) error
	welcome      func(ctx context.Context, m *Message) (*bus.Welcome, error)
}

// keptChannels are channels with history.
type keptChannels struct {
	prefix string
	exact  bool
	bus.History
}

// Option changes how a service works.
type Option func(*Service)

// WithPrefix sets the prefix of the bus's keys, "cg:" unless set.
func WithPrefix(prefix string) Option { return func(s *Service) { s.keys.Prefix = prefix } }

// WithLogger sets where errors are logged, slog.Default() unless set.
func WithLogger(l *slog.Logger) Option { return func(s *Service) { s.logger = l } }

// WithQueue reads the stream of a route with delivery: at_least_once, in place of the channel: each message goes to one
// of the service's replicas, and to another one when that dies before it has handled it. A message is acknowledged once
// its handler has returned, whatever it returned; one that is handled for longer than WithClaimAfter says may come again.
func WithQueue() Option { return func(s *Service) { s.queue = true } }

// WithWorkers sets how many messages are handled at a time, 64 unless set. With 1 they are handled in their order.
func WithWorkers(n int) Option { return func(s *Service) { s.limit = n } }

// WithClaimAfter sets how long a replica may have a message of the queue before another one takes it over, a minute unless
// set. It must be longer than any handler takes, or a message is handled twice.
func WithClaimAfter(d time.Duration) Option { return func(s *Service) { s.claim = d } }

// WithHistory says that what is sent to the channels of a pattern is kept, as the route's channels say with history: at
// most size messages, none for longer than ttl. A "*" at the end of the pattern stands for any rest. The first pattern
// that fits counts.
func WithHistory(pattern string, size int, ttl time.Duration) Option {
	return func(s *Service) {
		prefix, open := strings.CutSuffix(pattern, "*")
		s.kept = append(s.kept, keptChannels{prefix, !open, bus.History{Size: size, TTL: ttl}})
	}
}

// New returns a service on the Redis that the gateways use: a *redis.Client, also of Sentinels, or a *redis.ClusterClient.
func New(client redis.UniversalClient, name string, options ...Option) *Service {
	return Join(bus.One(client), name, options...)
}

// Join returns a service on the servers that the gateways use, which bus.Open finds by the same URLs.
func Join(servers *bus.Servers, name string, options ...Option) *Service {
	s := &Service{
		servers: servers, name: name, consumer: uuid.NewString(), keys: bus.Keys{Prefix: "cg:"}, logger: slog.Default(),
		limit: workers, claim: claimAfter, handlers: map[string]Handler{},
	}
	for _, o := range options {
		o(s)
	}
	return s
}

// Handle sets the handler of a route. The route "*" gets what no other handler does, and the messages of raw clients.
func (s *Service) Handle(route string, h Handler) { s.handlers[route] = h }

// OnConnect is told of each new connection.
func (s *Service) OnConnect(f func(ctx context.Context, m *Message)) { s.onConnect = f }

// Welcome sets who decides about connections, where the route says connect: {ask: true}. It gets the connection, its user and
// claims, and says whether the client may stay, and which channels it is subscribed to. A *bus.ReplyError refuses it with its
// message; after any other error the client is told to try again.
func (s *Service) Welcome(f func(ctx context.Context, m *Message) (*bus.Welcome, error)) {
	s.welcome = f
}

// OnDisconnect is told of each connection that has gone.
func (s *Service) OnDisconnect(f func(ctx context.Context, m *Message)) { s.onDisconnect = f }

// Authorize sets who decides about subscriptions, where a channel of the route says subscribe: service. It gets the
// connection, its user and claims, and the channel; nil lets it subscribe. A *bus.ReplyError is told to the client. A
// gateway remembers a yes and a permission_denied for the channel's decision_ttl, for the user and its claims.
func (s *Service) Authorize(f func(ctx context.Context, m *Message) error) { s.authorize = f }

// Run handles messages until ctx ends, and returns when those that were begun are handled. While Redis is gone it tries
// again.
func (s *Service) Run(ctx context.Context) error {
	work := make(chan func(), s.limit)
	var running sync.WaitGroup
	for range s.limit {
		running.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	if s.queue {
		s.readQueues(ctx, work)
	} else {
		s.readChannel(ctx, work)
	}
	close(work)
	running.Wait()
	if s.queue {
		s.resign(context.WithoutCancel(ctx))
	}
	return ctx.Err()
}

// readQueues reads the service's stream until ctx ends.
func (s *Service) readQueues(ctx context.Context, work chan<- func()) {
	for ctx.Err() == nil {
		err := s.readQueue(ctx, work)
		if ctx.Err() == nil {
			s.logger.Warn("the bus broke; trying again", "service", s.name, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

// resign takes the replica's name out of the consumer group, unless a message is still with it: that would be lost.
func (s *Service) resign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readBlock)
	defer cancel()
	stream := s.keys.Queue(s.name)
	client := s.servers.Client(stream)
	left, err := client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: stream, Group: s.name, Start: "-", End: "+", Count: 1, Consumer: s.consumer}).Result()
	if err == nil && len(left) == 0 {
		_ = client.XGroupDelConsumer(ctx, stream, s.name, s.consumer).Err()
	}
}

func (s *Service) readQueue(ctx context.Context, work chan<- func()) error {
	stream, consumer := s.keys.Queue(s.name), s.consumer
	client := s.servers.Client(stream)
	err := client.XGroupCreateMkStream(ctx, stream, s.name, "0").Err()
	if err != nil && !strings.Contains(err.Error(), "BUSYGROUP") {
		return err
	}
	handle := func(entries []redis.XMessage) {
		for _, e := range entries {
			work <- func() {
				if ctx.Err() != nil {
					return // not begun: it stays in the queue, for another replica
				}
				ctx := context.WithoutCancel(ctx)
				if raw, ok := e.Values[bus.QueueField].(string); ok {
					s.handle(ctx, []byte(raw))
				}
				if err := client.XAck(ctx, stream, s.name, e.ID).Err(); err != nil {
					s.logger.Warn("a message was handled but not acknowledged; it will come again", "service", s.name, "error", err)
				}
			}
		}
	}
	claimed := time.Time{}
	for {
		if time.Since(claimed) > s.claim/2 {
			claimed = time.Now()
			dead, _, err := client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
				Stream: stream, Group: s.name, Consumer: consumer, MinIdle: s.claim, Start: "0", Count: 100}).Result()
			if err != nil {
				return err
			}
			handle(dead)
		}
		streams, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: s.name, Consumer: consumer, Streams: []string{stream, ">"}, Count: 100, Block: readBlock}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, st := range streams {
			handle(st.Messages)
		}
	}
}

func (s *Service) handle(ctx context.Context, raw []byte) {
	m, err := bus.ParseInbound(raw)
	if err != nil {
		s.logger.Warn("an envelope was dropped", "service", s.name, "error", err)
		return
	}
	switch m.Type {
	case bus.Connect:
		if s.onConnect != nil {
			s.onConnect(ctx, m)
		}
		if s.welcome != nil {
			s.answer(ctx, m, func(ctx context.Context, m *Message) (any, error) { return s.welcome(ctx, m) })
		}
	case bus.Disconnect:
		if s.onDisconnect != nil {
			s.onDisconnect(ctx, m)
		}
	case bus.Message:
		h := s.handlers[m.Route]
		if h == nil {
			h = s.handlers["*"]
		}
		s.answer(ctx, m, h)
	case bus.Subscribe:
		s.answer(ctx, m, s.decide)
	}
}

// decide answers a gateway that asks about a subscription.
func (s *Service) decide(ctx context.Context, m *Message) (any, error) {
	if s.authorize == nil {
		return map[string]bool{"allow": false}, nil
	}
	if err := s.authorize(ctx, m); err != nil {
		return nil, err
	}
	return map[string]bool{"allow": true}, nil
}

func (s *Service) answer(ctx context.Context, m *Message, h Handler) {
	out := bus.Outbound{Connection: m.Connection, InReplyTo: m.ID}
	if h == nil {
		out.Error = &bus.ReplyError{Code: "not_found", Message: "the service has no such route"}
	} else {
		reply, err := call(ctx, h, m)
		var told *bus.ReplyError
		switch {
		case errors.As(err, &told):
			out.Error = told
		case err != nil:
			s.logger.Error("a handler failed", "service", s.name, "route", m.Route, "error", err)
			out.Error = &bus.ReplyError{Code: "internal", Message: "the service failed"}
		case reply == nil:
			return
		default:
			if out.Data, err = json.Marshal(reply); err != nil {
				s.logger.Error("a reply has no JSON form", "service", s.name, "route", m.Route, "error", err)
				out.Error = &bus.ReplyError{Code: "internal", Message: "the service failed"}
			}
		}
	}
	if err := s.publish(ctx, m.ReplyTo, out); err != nil {
		s.logger.Warn("a reply was lost", "service", s.name, "error", err)
	}
}

// call turns a handler's panic into its error: one bad message must not end the replica.
func call(ctx context.Context, h Handler, m *Message) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(ctx, m)
}

// Send sends to the connection that a message came from, outside of a reply.
func (s *Service) Send(ctx context.Context, to *Message, payload any) error {
	data, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("service: %w", err)
	}
	return s.publish(ctx, to.ReplyTo, bus.Outbound{Connection: to.Connection, Data: data})
}

// SendUser sends to every session of a user.
func (s *Service) SendUser(ctx context.Context, user string, payload any) error {
	return s.publish(ctx, s.keys.User(user), payload)
}

// SendChannel sends to every subscriber of a channel.
func (s *Service) SendChannel(ctx context.Context, channel string, payload any) error {
	return s.SendChannelOnce(ctx, "", channel, payload)
}

// SendChannelOnce is SendChannel for a caller who may have to try again: to a channel with history, what has the same id is
// sent once, for as long as a message is kept.
func (s *Service) SendChannelOnce(ctx context.Context, id, channel string, payload any) error {
	for _, kept := range s.kept {
		if channel != kept.prefix && (kept.exact || !strings.HasPrefix(channel, kept.prefix)) {
			continue
		}
		raw, err := json.Marshal(payload)
		if err != nil {
			return fmt.Errorf("service: %w", err)
		}
		_, err = s.servers.PublishKept(ctx, s.keys, channel, raw, kept.History, id)
		return err
	}
	return s.publish(ctx, s.keys.Channel(channel), payload)
}

// SendAll sends to everyone.
func (s *Service) SendAll(ctx context.Context, payload any) error {
	return s.publish(ctx, s.keys.All(), payload)
}

func (s *Service) publish(ctx context.Context, channel string, payload any) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("service: %w", err)
	}
	_, err = s.servers.Publish(ctx, channel, raw)
	return err
}
