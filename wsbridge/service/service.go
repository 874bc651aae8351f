package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
// that the client gets, and any other error is told as one without its text.
type Handler func(ctx context.Context, m *Message) (any, error)

// Service handles the messages of one service. Set the handlers before Run. Its Send methods are safe for concurrent use.
type Service struct {
	client redis.UniversalClient
	name   string
	keys   bus.Keys
	logger *slog.Logger
	queue  bool
	limit  int

	handlers     map[string]Handler
	onConnect    func(ctx context.Context, m *Message)
	onDisconnect func(ctx context.Context, m *Message)
}

// Option changes how a service works.
type Option func(*Service)

// WithPrefix sets the prefix of the bus's keys, "cg:" unless set.
func WithPrefix(prefix string) Option { return func(s *Service) { s.keys.Prefix = prefix } }

// WithLogger sets where errors are logged, slog.Default() unless set.
func WithLogger(l *slog.Logger) Option { return func(s *Service) { s.logger = l } }

// WithQueue reads the stream of a route with delivery: at_least_once, in place of the channel: each message goes to one
// of the service's replicas, and to another one when that dies before it has handled it.
func WithQueue() Option { return func(s *Service) { s.queue = true } }

// WithWorkers sets how many messages are handled at a time, 64 unless set.
func WithWorkers(n int) Option { return func(s *Service) { s.limit = n } }

// New returns a service on the Redis that the gateways use.
func New(client redis.UniversalClient, name string, options ...Option) *Service {
	s := &Service{client: client, name: name, keys: bus.Keys{Prefix: "cg:"}, logger: slog.Default(), limit: workers, handlers: map[string]Handler{}}
	for _, o := range options {
		o(s)
	}
	return s
}

// Handle sets the handler of a route. The route "*" gets what no other handler does, and the messages of raw clients.
func (s *Service) Handle(route string, h Handler) { s.handlers[route] = h }

// OnConnect is told of each new connection.
func (s *Service) OnConnect(f func(ctx context.Context, m *Message)) { s.onConnect = f }

// OnDisconnect is told of each connection that has gone.
func (s *Service) OnDisconnect(f func(ctx context.Context, m *Message)) { s.onDisconnect = f }

// Run handles messages until ctx ends, and returns when the last one is handled. While Redis is gone it tries again.
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
	for ctx.Err() == nil {
		var err error
		if s.queue {
			err = s.readQueue(ctx, work)
		} else {
			err = s.readChannel(ctx, work)
		}
		if ctx.Err() == nil {
			s.logger.Warn("the bus broke; trying again", "service", s.name, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	close(work)
	running.Wait()
	return ctx.Err()
}

func (s *Service) readChannel(ctx context.Context, work chan<- func()) error {
	pubsub := s.client.Subscribe(ctx, s.keys.In(s.name))
	defer pubsub.Close()
	// Receive does not watch ctx, but a closed subscription ends it.
	stop := context.AfterFunc(ctx, func() { pubsub.Close() })
	defer stop()
	for {
		got, err := pubsub.Receive(ctx)
		if err != nil {
			return err
		}
		if m, ok := got.(*redis.Message); ok {
			work <- func() { s.handle(ctx, []byte(m.Payload)) }
		}
	}
}

func (s *Service) readQueue(ctx context.Context, work chan<- func()) error {
	stream, consumer := s.keys.Queue(s.name), uuid.NewString()
	err := s.client.XGroupCreateMkStream(ctx, stream, s.name, "0").Err()
	if err != nil && !strings.Contains(err.Error(), "BUSYGROUP") {
		return err
	}
	handle := func(entries []redis.XMessage) {
		for _, e := range entries {
			work <- func() {
				if raw, ok := e.Values[bus.QueueField].(string); ok {
					s.handle(ctx, []byte(raw))
				}
				if err := s.client.XAck(context.WithoutCancel(ctx), stream, s.name, e.ID).Err(); err != nil {
					s.logger.Warn("a message was handled but not acknowledged; it will come again", "service", s.name, "error", err)
				}
			}
		}
	}
	claimed := time.Time{}
	for {
		if time.Since(claimed) > claimAfter/2 {
			claimed = time.Now()
			dead, _, err := s.client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
				Stream: stream, Group: s.name, Consumer: consumer, MinIdle: claimAfter, Start: "0", Count: 100}).Result()
			if err != nil {
				return err
			}
			handle(dead)
		}
		streams, err := s.client.XReadGroup(ctx, &redis.XReadGroupArgs{
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
	case bus.Disconnect:
		if s.onDisconnect != nil {
			s.onDisconnect(ctx, m)
		}
	case bus.Message:
		s.answer(ctx, m)
	}
}

func (s *Service) answer(ctx context.Context, m *Message) {
	h := s.handlers[m.Route]
	if h == nil {
		h = s.handlers["*"]
	}
	out := bus.Outbound{Connection: m.Connection, InReplyTo: m.ID}
	if h == nil {
		out.Error = &bus.ReplyError{Code: "not_found", Message: "the service has no such route"}
	} else {
		reply, err := h(ctx, m)
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
	return s.client.Publish(ctx, channel, raw).Err()
}
