package service

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// workers is how many messages are handled at a time unless told otherwise.
const workers = 64

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
	queued   bool
	limit    int
	kept     []keptChannels

	// Of the queue.
	claim       time.Duration
	attempts    int
	backoff     time.Duration
	deadLetters int
	events      Events
	retrying    atomic.Int64 // messages that wait for another attempt

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
// its handler has returned a reply, nil or a *bus.ReplyError. After any other error, or a panic, it is tried again, later than
// messages after it; see WithRetries. A message may come twice, with the same ID.
func WithQueue() Option { return func(s *Service) { s.queued = true } }

// WithRetries sets how often a message of the queue is tried in all, by whichever replicas, and the first pause between; each
// pause is twice the one before, up to a minute. Unless set it is 5 times, and a second. What fails as often goes to the
// dead-letter stream.
func WithRetries(attempts int, backoff time.Duration) Option {
	return func(s *Service) { s.attempts, s.backoff = max(attempts, 1), max(backoff, 0) }
}

// WithDeadLetters sets how many messages the dead-letter stream keeps, about, 10,000 unless set. The oldest go.
func WithDeadLetters(n int) Option { return func(s *Service) { s.deadLetters = max(n, 1) } }

// WithEvents sets who is told of what goes wrong with messages of the queue.
func WithEvents(e Events) Option { return func(s *Service) { s.events = e } }

// WithWorkers sets how many messages are handled at a time, 64 unless set. With 1 they are handled in their order, and fewer are 1.
func WithWorkers(n int) Option { return func(s *Service) { s.limit = max(n, 1) } }

// WithClaimAfter sets for how long a replica must have said nothing before another one takes over its messages, a minute
// unless set. A handler may take longer: while the replica lives it keeps what it has.
func WithClaimAfter(d time.Duration) Option {
	return func(s *Service) { s.claim = max(d, 10*time.Millisecond) }
}

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
		limit: workers, claim: claimAfter, attempts: attempts, backoff: backoff, deadLetters: deadLetters,
		handlers: map[string]Handler{},
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
	if s.queued {
		s.readQueue(ctx, work)
	} else {
		s.readChannel(ctx, work)
	}
	close(work)
	running.Wait()
	if s.queued {
		s.resign(context.WithoutCancel(ctx))
	}
	return ctx.Err()
}

// handle handles what came by the channel.
func (s *Service) handle(ctx context.Context, raw []byte) {
	m, err := bus.ParseInbound(raw)
	if err != nil {
		s.logger.Warn("an envelope was dropped", "service", s.name, "error", err)
		return
	}
	if err := s.dispatch(ctx, m); err != nil {
		s.fail(ctx, m, err)
	}
}

// dispatch has a message handled and answered. With an error it is not answered: to try again may help.
func (s *Service) dispatch(ctx context.Context, m *Message) error {
	question := Handler(nil) // a gateway's, which waits for the answer to the first attempt
	switch m.Type {
	case bus.Connect:
		if err := s.tell(ctx, s.onConnect, m); err != nil {
			return err
		}
		if s.welcome != nil {
			question = func(ctx context.Context, m *Message) (any, error) { return s.welcome(ctx, m) }
		}
	case bus.Disconnect:
		return s.tell(ctx, s.onDisconnect, m)
	case bus.Message:
		h := s.handlers[m.Route]
		if h == nil {
			h = s.handlers["*"]
		}
		return s.answer(ctx, m, h)
	case bus.Subscribe:
		question = s.decide
	}
	if question != nil {
		if err := s.answer(ctx, m, question); err != nil {
			s.fail(ctx, m, err)
		}
	}
	return nil
}

// tell has a callback told of a message. Its error is a panic.
func (s *Service) tell(ctx context.Context, callback func(context.Context, *Message), m *Message) error {
	if callback == nil {
		return nil
	}
	_, err := call(ctx, func(ctx context.Context, m *Message) (any, error) {
		callback(ctx, m)
		return nil, nil
	}, m)
	return err
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

// answer has a handler handle a message, and answers it unless the handler has failed.
func (s *Service) answer(ctx context.Context, m *Message, h Handler) error {
	out := bus.Outbound{}
	if h == nil {
		out.Error = &bus.ReplyError{Code: "not_found", Message: "the service has no such route"}
	} else {
		reply, err := call(ctx, h, m)
		out.Error = answerable(err)
		switch {
		case out.Error != nil:
		case err != nil:
			return err
		case reply == nil:
			return nil
		default:
			if out.Data, err = json.Marshal(reply); err != nil {
				return fmt.Errorf("a reply has no JSON form: %w", err)
			}
		}
	}
	s.reply(ctx, m, out)
	return nil
}

func (s *Service) reply(ctx context.Context, to *Message, out bus.Outbound) {
	out.Connection, out.InReplyTo = to.Connection, to.ID
	if err := s.publish(ctx, to.ReplyTo, out); err != nil {
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

// Disconnect closes the connection that a message came from, once it has what was sent to it. The code is 1000, or 3000 to 4999;
// anything else is 4005. The client gets the reason, of which at most 123 bytes.
func (s *Service) Disconnect(ctx context.Context, from *Message, code int, reason string) error {
	return s.publish(ctx, from.ReplyTo, bus.Outbound{Connection: from.Connection, Close: &bus.Closing{Code: code, Reason: reason}})
}

// DisconnectUser is Disconnect for every connection of a user, on whichever nodes they are.
func (s *Service) DisconnectUser(ctx context.Context, user string, code int, reason string) error {
	return s.publish(ctx, s.keys.Control(), bus.Control{Type: bus.Close, User: user, Code: code, Reason: reason})
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
