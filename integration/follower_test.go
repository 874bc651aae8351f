package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

const (
	// rollingChannels is how many channels the clients share: of each 100 messages, each client gets one or two.
	rollingChannels = 50
	// rollingPause is between two messages.
	rollingPause = 10 * time.Millisecond
)

// crowd is followers that are there at a time, and what they have had.
type crowd struct {
	followers []*follower
	following sync.WaitGroup
	published atomic.Int64 // of each channel
	ended     atomic.Bool  // and no more will be
	delivered atomic.Int64
}

// startCrowd starts so many followers of some nodes and returns when all have subscribed. With one that fails all end.
func startCrowd(ctx context.Context, t *testing.T, clients int, nodes []string, abrupt bool) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	c := &crowd{followers: make([]*follower, clients)}
	last := func() (int, bool) { return int(c.published.Load()), c.ended.Load() }
	var arriving sync.WaitGroup
	arriving.Add(clients)
	for i := range c.followers {
		f := &follower{nodes: nodes, channel: fmt.Sprintf("room:%d", i%rollingChannels), total: &c.delivered, abrupt: abrupt}
		c.followers[i] = f
		c.following.Go(func() {
			arrived := sync.OnceFunc(arriving.Done)
			defer arrived()
			if err := f.run(ctx, arrived, last); err != nil {
				t.Errorf("client %d: %v", i, err)
				cancel()
			}
		})
		if i%500 == 499 {
			time.Sleep(50 * time.Millisecond) // no more at once than a listen queue has room for
		}
	}
	arriving.Wait()
	return c
}

// follower is a client that follows one channel through whatever node it finds.
type follower struct {
	nodes   []string // host:port
	channel string
	at      bus.Position
	next    int // the number that the next message has
	total   *atomic.Int64
	// abrupt: a node may go without a word.
	abrupt bool

	reconnects int
	away       time.Duration // the longest time without a subscription
}

// frame is what a follower looks at in a frame.
type frame struct {
	Type      string `json:"type"`
	Epoch     string `json:"epoch"`
	Offset    uint64 `json:"offset"`
	Recovered *bool  `json:"recovered"`
	Data      int    `json:"data"`
}

// wrongFrame is an error that no reconnection mends.
type wrongFrame string

func (w wrongFrame) Error() string { return string(w) }

// dial connects to one of the nodes, as a balancer would have it: the next one where one refuses.
func (f *follower) dial(ctx context.Context) (*websocket.Conn, error) {
	for {
		var err error
		for _, i := range rand.Perm(len(f.nodes)) {
			var conn *websocket.Conn
			conn, _, err = websocket.Dial(ctx, "ws://"+f.nodes[i]+"/ws", &websocket.DialOptions{Subprotocols: []string{wsbridge.Subprotocol}})
			if err == nil {
				return conn, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no node takes a client: %w", err)
		case <-time.After(rand.N(200 * time.Millisecond)):
		}
	}
}

// run follows until it has the last message, which publishing has numbered by then.
func (f *follower) run(ctx context.Context, subscribed func(), last func() (int, bool)) error {
	lost := time.Now()
	for {
		conn, err := f.dial(ctx)
		if err != nil {
			return err
		}
		err = f.visit(ctx, conn, func() {
			if f.reconnects > 0 {
				f.away = max(f.away, time.Since(lost))
			}
			subscribed()
		}, last)
		lost = time.Now()
		_ = conn.CloseNow()
		if n, known := last(); known && f.next == n {
			return nil
		}
		var wrong wrongFrame
		gone := f.abrupt && !errors.As(err, &wrong) && ctx.Err() == nil
		if code := websocket.CloseStatus(err); code != wsbridge.CloseDraining && !gone {
			return fmt.Errorf("it ended with %w, after message %d", err, f.next)
		}
		f.reconnects++
	}
}

// visit follows on one connection until that ends.
func (f *follower) visit(ctx context.Context, conn *websocket.Conn, subscribed func(), last func() (int, bool)) error {
	request := map[string]any{"id": 1, "type": "subscribe", "channel": f.channel}
	if f.at.Epoch != "" {
		request["epoch"], request["offset"] = f.at.Epoch, f.at.Offset
	}
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if err := conn.Write(ctx, websocket.MessageText, raw); err != nil {
		return err
	}
	told := false
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			if websocket.CloseStatus(err) == wsbridge.CloseDraining && !told {
				return fmt.Errorf("closed without goaway")
			}
			return err
		}
		var got frame
		if err := json.Unmarshal(raw, &got); err != nil {
			return err
		}
		switch got.Type {
		case "ok":
			if f.at.Epoch != "" && (got.Recovered == nil || !*got.Recovered) {
				return wrongFrame(fmt.Sprintf("not recovered from %v: %s", f.at, raw))
			}
			f.at = bus.Position{Epoch: got.Epoch, Offset: got.Offset}
			subscribed()
		case "message":
			if got.Data != f.next || got.Offset <= f.at.Offset {
				return wrongFrame(fmt.Sprintf("got %s after message %d at %v", raw, f.next-1, f.at))
			}
			f.next++
			f.at.Offset = got.Offset
			f.total.Add(1)
			if n, known := last(); known && f.next == n {
				return nil
			}
		case "goaway":
			told = true
		default:
			return wrongFrame(fmt.Sprintf("got %s", raw))
		}
	}
}

// publishRounds publishes numbers, the same to each of the channels in turn, 100 messages a second. Finish ends it: it says
// that the count of rounds is final, and publishes one more, which wakes those who have had the last one.
func publishRounds(ctx context.Context, t *testing.T, rdb *redis.Client, published *atomic.Int64) (finish func(final func())) {
	publisher := service.New(rdb, "none", service.WithHistory("room:*", 10_000, 5*time.Minute))
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		// In whole rounds over the channels, so that all end with the same number. What is late goes together.
		due := time.Now()
		for round := 0; ; round++ {
			for i := 0; i < rollingChannels; {
				time.Sleep(time.Until(due))
				var sending sync.WaitGroup
				for now := time.Now(); i < rollingChannels && !due.After(now); i++ {
					due = due.Add(rollingPause)
					channel := fmt.Sprintf("room:%d", i)
					sending.Go(func() {
						if err := publisher.SendChannel(ctx, channel, round); err != nil {
							t.Error(err)
						}
					})
				}
				sending.Wait()
				if ctx.Err() != nil {
					return
				}
			}
			published.Store(int64(round + 1))
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	return func(final func()) {
		close(stop)
		publishing.Wait()
		last := published.Add(1) - 1
		final()
		for i := range rollingChannels {
			if err := publisher.SendChannel(ctx, fmt.Sprintf("room:%d", i), last); err != nil {
				t.Error(err)
			}
		}
	}
}
