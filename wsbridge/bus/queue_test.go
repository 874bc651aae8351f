package bus_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// queue is a service's queue, read as a service does.
type queue struct {
	t      *testing.T
	client redis.UniversalClient
	bus    *bus.Servers
	bus.Queue
}

const stream = "cg:queue:chat"

func (q *queue) add(e bus.Entry) (bus.Queued, error) {
	return q.bus.Enqueue(q.t.Context(), keys, "chat", &e, q.Queue)
}

// fill enqueues numbers.
func (q *queue) fill(from, to int) {
	q.t.Helper()
	for i := from; i <= to; i++ {
		if got, err := q.add(bus.Entry{Envelope: []byte(strconv.Itoa(i))}); err != nil || got != (bus.Queued{}) {
			q.t.Fatalf("entry %d: %+v, %v", i, got, err)
		}
	}
}

func (q *queue) group(name, from string) {
	q.t.Helper()
	if err := q.client.XGroupCreateMkStream(q.t.Context(), stream, name, from).Err(); err != nil {
		q.t.Fatal(err)
	}
}

// take reads entries for a group and returns their ids.
func (q *queue) take(group string, n int64) []string {
	q.t.Helper()
	got, err := q.client.XReadGroup(q.t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{stream, ">"}, Count: n}).Result()
	if err != nil || len(got[0].Messages) != int(n) {
		q.t.Fatalf("read %v, %v, want %d entries", got, err, n)
	}
	var ids []string
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

func (q *queue) ack(group string, ids ...string) {
	q.t.Helper()
	if n, err := q.client.XAck(q.t.Context(), stream, group, ids...).Result(); err != nil || n != int64(len(ids)) {
		q.t.Fatalf("acknowledged %d, %v, want %d", n, err, len(ids))
	}
}

// has wants these numbers in the stream.
func (q *queue) has(from, to int) {
	q.t.Helper()
	entries, err := q.client.XRange(q.t.Context(), stream, "-", "+").Result()
	if err != nil || len(entries) != to-from+1 {
		q.t.Fatalf("the queue has %d entries, %v, want %d to %d", len(entries), err, from, to)
	}
	for i, e := range entries {
		if fmt.Sprint(e.Values) != fmt.Sprintf("map[m:%d]", from+i) {
			q.t.Fatalf("entry %d is %v", i, e.Values)
		}
	}
}

// refuses wants the next entry refused because of a group.
func (q *queue) refuses(group string) {
	q.t.Helper()
	var full *bus.FullError
	if _, err := q.add(bus.Entry{Envelope: []byte("x")}); !errors.As(err, &full) || full.Group != group {
		q.t.Fatalf("an entry too many gets %v, want a full queue because of the group %q", err, group)
	}
}

func TestQueue(t *testing.T) {
	for name, start := range everyKind(t) {
		t.Run(name, func(t *testing.T) { testQueue(t, start) })
	}
}

func testQueue(t *testing.T, start func(*testing.T) redis.UniversalClient) {
	open := func(t *testing.T, most int) *queue {
		client := start(t)
		return &queue{t, client, bus.One(client), bus.Queue{MaxLength: most, Window: time.Minute}}
	}
	t.Run("a full queue refuses while nobody has read it", func(t *testing.T) {
		q := open(t, 3)
		q.fill(1, 3)
		q.refuses("")
		q.group("chat", "0")
		q.refuses("chat")
		q.has(1, 3)
	})
	t.Run("nothing that is not acknowledged goes", func(t *testing.T) {
		q := open(t, 4)
		q.group("chat", "0")
		q.fill(1, 4)
		ids := q.take("chat", 4)
		q.refuses("chat")
		q.ack("chat", ids[1], ids[3]) // the first holds up those after it
		q.refuses("chat")
		q.ack("chat", ids[0])
		q.fill(5, 6)
		q.has(3, 6)
		q.refuses("chat")
	})
	t.Run("every group has to acknowledge", func(t *testing.T) {
		q := open(t, 3)
		q.group("chat", "0")
		q.group("audit", "0")
		q.fill(1, 3)
		q.ack("chat", q.take("chat", 3)...)
		q.refuses("audit")
		q.ack("audit", q.take("audit", 2)...)
		q.fill(4, 5)
		q.has(3, 5)
	})
	t.Run("what is acknowledged goes long before the queue is full", func(t *testing.T) {
		q := open(t, 1_000_000)
		q.group("chat", "0")
		q.fill(1, 600)
		q.ack("chat", q.take("chat", 590)...)
		q.fill(601, 800)
		if n := q.client.XLen(t.Context(), stream).Val(); n < 210 || n > 210+100 {
			t.Errorf("%d entries are kept, of which 210 are to be", n)
		}
	})
	t.Run("a message that comes again is queued once", func(t *testing.T) {
		q := open(t, 3)
		id := bus.MessageID("ann", "phone", []byte("7"))
		for i := range 3 {
			if got, err := q.add(bus.Entry{Envelope: []byte("1"), ID: id}); err != nil || got.Duplicate != (i > 0) {
				t.Fatalf("time %d: %+v, %v", i, got, err)
			}
		}
		for i, other := range []string{bus.MessageID("ann", "phone", []byte(`"7"`)), bus.MessageID("annphone", "", []byte("7"))} {
			if got, err := q.add(bus.Entry{Envelope: []byte(strconv.Itoa(i + 2)), ID: other}); err != nil || got.Duplicate {
				t.Fatalf("another message: %+v, %v", got, err)
			}
		}
		if got, err := q.add(bus.Entry{Envelope: []byte("1"), ID: id}); err != nil || !got.Duplicate {
			t.Fatalf("a message that comes again, to a full queue: %+v, %v", got, err)
		}
		q.has(1, 3)
		if ttl := q.client.PTTL(t.Context(), keys.Queued("chat", id)).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("its id is kept for %v", ttl)
		}
	})
	t.Run("a service that has gone is noticed, and one without a heartbeat is not missed", func(t *testing.T) {
		q := open(t, 10)
		ask := bus.Entry{Envelope: []byte("2"), Question: true}
		if got, err := q.add(ask); err != nil || got.Unattended {
			t.Fatalf("without a heartbeat: %+v, %v", got, err)
		}
		if err := q.bus.Beat(t.Context(), keys, "chat"); err != nil {
			t.Fatal(err)
		}
		if got, err := q.add(ask); err != nil || got.Unattended {
			t.Fatalf("with a heartbeat: %+v, %v", got, err)
		}
		// As if eleven seconds had passed.
		if err := q.client.PExpire(t.Context(), keys.Heartbeat("chat"), bus.HeartbeatTTL-11*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := q.add(ask); !errors.Is(err, bus.ErrUnattended) {
			t.Fatalf("a question to a service that has gone: %v", err)
		}
		if got, err := q.add(bus.Entry{Envelope: []byte("2")}); err != nil || !got.Unattended {
			t.Fatalf("a message to a service that has gone: %+v, %v", got, err)
		}
		if n := q.client.XLen(t.Context(), stream).Val(); n != 3 {
			t.Errorf("%d entries are queued, want all but the question", n)
		}
	})
}
