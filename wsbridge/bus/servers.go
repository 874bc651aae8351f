package bus

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Servers are the Redis that gateways and services share. Its methods are safe for concurrent use.
type Servers struct {
	one server
}

// server is one Redis.
type server struct {
	client   redis.UniversalClient
	commands redis.Cmdable
	publish  string // the command that publishes
}

// One are the servers behind one client.
func One(client redis.UniversalClient) *Servers {
	return &Servers{server{client, client, "PUBLISH"}}
}

// of returns the server that has a channel or a stream.
func (s *Servers) of(string) *server { return &s.one }

// Publish publishes to a channel and returns how many subscribers Redis handed it to.
func (s *Servers) Publish(ctx context.Context, channel string, payload []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	n, err := s.of(channel).commands.Publish(ctx, channel, payload).Result()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return n, nil
}

// Enqueue appends an envelope to a stream. When it returns nil Redis has it.
func (s *Servers) Enqueue(ctx context.Context, stream string, envelope []byte) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err := s.of(stream).commands.XAdd(ctx, &redis.XAddArgs{Stream: stream, MaxLen: queueLength, Approx: true, Values: []any{QueueField, envelope}}).Err()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return nil
}
