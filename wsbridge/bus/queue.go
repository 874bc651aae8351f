package bus

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// QueueField is the field of a stream entry that holds the envelope.
const QueueField = "m"

const (
	// HeartbeatTTL is how long a heartbeat is kept: a service without one for so long counts as one that has none.
	HeartbeatTTL = 24 * time.Hour
	// HeartbeatInterval is how often a replica that reads a queue sets its service's heartbeat.
	HeartbeatInterval = 3 * time.Second
	// gone is how old a heartbeat is when the service counts as gone.
	gone = 10 * time.Second
)

// Queue is how a service's queue is kept.
type Queue struct {
	MaxLength int           // entries
	Window    time.Duration // in which a message that comes again is known
}

// Entry is an envelope for a queue.
type Entry struct {
	Envelope []byte
	// ID names the message: what has the same one is queued once within the window. See MessageID. Empty: it is queued
	// however often it comes.
	ID string
	// Question is an envelope that is worth nothing without an answer soon.
	Question bool
}

// MessageID makes an id of what names a message: its user, empty for an anonymous one, which of the user's clients it is
// from, and the client's own id of it.
func MessageID(user, client string, id []byte) string {
	b := make([]byte, 0, 256)
	for _, part := range [...]string{user, client} {
		b = append(append(strconv.AppendInt(b, int64(len(part)), 10), ':'), part...)
	}
	sum := sha256.Sum256(append(b, id...))
	return hex.EncodeToString(sum[:16])
}

// Queued is what became of an entry.
type Queued struct {
	// Duplicate: it was queued before, and not again.
	Duplicate bool
	// Unattended: no replica of the service has been heard of lately. The queue keeps the entry for the next one.
	Unattended bool
}

// ErrUnattended is what a Question gets when no replica of the service has been heard of lately. It is not queued.
var ErrUnattended = errors.New("bus: no replica of the service is listening")

// FullError is what an entry gets that would be one too many. It is not queued.
type FullError struct {
	// Group is the consumer group that must acknowledge entries before there is room, "" where there is none.
	Group string
}

func (e *FullError) Error() string {
	if e.Group == "" {
		return "bus: the queue is full and no consumer group reads it"
	}
	return fmt.Sprintf("bus: the queue is full: the consumer group %q has not acknowledged its entries", e.Group)
}

//go:embed enqueue.lua
var enqueueLua string

var enqueueScript = newScript(enqueueLua)

// Enqueue appends an entry to a service's queue. When it returns nil Redis has it.
func (s *Servers) Enqueue(ctx context.Context, keys Keys, service string, e *Entry, q Queue) (Queued, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	stream := keys.Queue(service)
	on := []string{stream, keys.Heartbeat(service)}
	if e.ID != "" {
		on = append(on, keys.Queued(service, e.ID))
	}
	question := 0
	if e.Question {
		question = 1
	}
	answer, err := s.of(stream).pipeline.run(ctx, enqueueScript, on, e.Envelope, q.MaxLength, q.Window.Milliseconds(),
		(HeartbeatTTL - gone).Milliseconds(), question)
	if err != nil {
		return Queued{}, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return queued(answer)
}

func queued(answer any) (Queued, error) {
	got, _ := answer.([]any)
	if len(got) < 2 {
		return Queued{}, errors.New("bus: the enqueue script answers something else than it should")
	}
	switch got[0] {
	case int64(0):
		var group string
		if len(got) > 2 {
			group, _ = got[2].(string)
		}
		return Queued{}, &FullError{group}
	case int64(3):
		return Queued{}, ErrUnattended
	}
	return Queued{Duplicate: got[0] == int64(2), Unattended: got[1] == int64(0)}, nil
}

// Beat says that a replica of a service reads its queue.
func (s *Servers) Beat(ctx context.Context, keys Keys, service string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if err := s.Client(keys.Queue(service)).Set(ctx, keys.Heartbeat(service), 1, HeartbeatTTL).Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return nil
}
