package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// TestNothingIsMissedWhenANodeIsKilled ends one of two nodes with SIGKILL while their clients follow channels: each connects
// to the other one, goes on where it was, and ends with all of its channel's messages, once and in order.
func TestNothingIsMissedWhenANodeIsKilled(t *testing.T) {
	clients := 500
	if rig.Race || testing.Short() {
		clients = 100
	}
	server := rig.StartRedis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Address})
	defer rdb.Close()
	config := fmt.Sprintf(`
redis: {url: %q}
routes:
  - name: ws
    match: {path: /ws}
    websocket: {service: none, channels: [{pattern: "room:*", subscribe: anyone, history: {size: 10000, ttl: 5m}}]}
`, server.URL())
	nodes := [2]*rig.GatewayProcess{rig.StartGatewayProcess(t, config), rig.StartGatewayProcess(t, config)}
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, strings.TrimPrefix(n.URL, "http://"))
	}

	ctx, cancel := context.WithTimeout(t.Context(), 3*rig.Patience)
	defer cancel()
	crowd := startCrowd(ctx, t, clients, addresses, true)
	finish := publishRounds(ctx, t, rdb, &crowd.published)
	rig.Eventually(t, rig.Patience, func() error {
		if crowd.delivered.Load() < int64(clients) {
			return fmt.Errorf("%d messages are delivered", crowd.delivered.Load())
		}
		return nil
	})
	nodes[0].Kill()
	killed := crowd.published.Load()
	rig.Eventually(t, rig.Patience, func() error {
		if n := crowd.published.Load(); n < killed+3 {
			return fmt.Errorf("%d rounds are published", n)
		}
		return nil
	})
	finish(func() { crowd.ended.Store(true) })
	crowd.following.Wait()

	moved, away := 0, time.Duration(0)
	for _, f := range crowd.followers {
		if f.reconnects > 0 {
			moved++
		}
		away = max(away, f.away)
	}
	if want := int64(clients) * crowd.published.Load(); crowd.delivered.Load() != want {
		t.Errorf("%d messages were delivered, want %d", crowd.delivered.Load(), want)
	}
	if moved == 0 {
		t.Error("no client was on the node that was killed")
	}
	t.Logf("%d of %d clients moved to the other node, the slowest within %v; all %d messages were delivered once and in order",
		moved, clients, away.Round(time.Millisecond), crowd.delivered.Load())
}

// replicaOf is set for a process of the tests that is a replica of a service, to the address of its Redis.
const replicaOf = "CROSSGATE_TEST_REPLICA_OF"

// replicaHangs is set for one that is to be killed: after so many messages it handles each for ever.
const replicaHangs = "CROSSGATE_TEST_REPLICA_HANGS"

// beReplica answers each message with its data, after it has counted it in the hash "handled".
func beReplica(address string) {
	most, err := strconv.ParseInt(os.Getenv(replicaHangs), 10, 64)
	if err != nil {
		most = math.MaxInt64
	}
	var begun atomic.Int64
	rdb := redis.NewClient(&redis.Options{Addr: address})
	s := service.New(rdb, "chat", service.WithQueue(), service.WithWorkers(8), service.WithClaimAfter(500*time.Millisecond))
	s.Handle("*", func(ctx context.Context, m *service.Message) (any, error) {
		if err := rdb.HIncrBy(ctx, "handled", string(m.Data), 1).Err(); err != nil {
			return nil, err
		}
		if begun.Add(1) > most {
			<-ctx.Done()
		}
		return m.Data, nil
	})
	_ = s.Run(context.Background())
}

// TestAServiceThatIsKilledLosesNoMessage ends the only replica of a service with SIGKILL, with messages that it has read and
// not acknowledged, and starts another one: every message that was acknowledged to the client is handled and answered.
func TestAServiceThatIsKilledLosesNoMessage(t *testing.T) {
	const messages = 300
	server := rig.StartRedis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Address})
	defer rdb.Close()
	gateway := rig.StartGatewayProcess(t, fmt.Sprintf(`
redis: {url: %q}
routes: [{name: ws, match: {path: /ws}, websocket: {service: chat, delivery: at_least_once, reply_timeout: 60s}}]
`, server.URL()))
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(replicaOf, server.Address)
	const answered = 20
	doomed := rig.RunWith(t, []string{fmt.Sprint(replicaHangs, "=", answered)}, program)

	ctx, cancel := context.WithTimeout(t.Context(), 3*rig.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, gateway.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{wsbridge.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range messages {
			if err := conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"id":%d,"type":"message","route":"r","data":%[1]d}`, i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var died time.Time
	oks, replies, held := map[int]bool{}, map[int]bool{}, int64(0)
	for len(oks) < messages || len(replies) < messages {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("with %d acknowledged and %d answered: %v", len(oks), len(replies), err)
		}
		var f struct {
			ID, Data int
			Type     string
		}
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		switch {
		case f.Type == "ok":
			oks[f.ID] = true
		case f.Type == "reply" && f.Data == f.ID && !replies[f.ID]:
			replies[f.ID] = true
		default:
			t.Fatalf("got %s", raw)
		}
		if len(replies) == answered && died.IsZero() {
			rig.Eventually(t, rig.Patience, func() error {
				pending, err := rdb.XPending(ctx, "cg:queue:chat", "chat").Result()
				if err == nil && pending.Count == 0 {
					err = errors.New("the replica has read no more than it has acknowledged")
				}
				return err
			})
			doomed.Kill()
			died = time.Now()
			pending, err := rdb.XPending(ctx, "cg:queue:chat", "chat").Result()
			if err != nil {
				t.Fatal(err)
			}
			held = pending.Count
			rig.Run(t, program)
		}
	}
	took := time.Since(died)
	sending.Wait()
	handled, err := rdb.HGetAll(ctx, "handled").Result()
	if err != nil {
		t.Fatal(err)
	}
	twice := 0
	for i := range messages {
		switch n := handled[strconv.Itoa(i)]; n {
		case "1":
		case "2":
			twice++
		default:
			t.Errorf("message %d was handled %q times", i, n)
		}
	}
	if int64(twice) > held {
		t.Errorf("%d messages were handled twice, of which only %d were with the replica that was killed", twice, held)
	}
	rig.Eventually(t, rig.Patience, func() error {
		pending, err := rdb.XPending(ctx, "cg:queue:chat", "chat").Result()
		if err == nil && pending.Count > 0 {
			err = fmt.Errorf("%d messages are pending", pending.Count)
		}
		return err
	})
	t.Logf("the replica was killed with %d messages; all %d were answered %v later, %d of them handled twice", held, messages, took.Round(time.Millisecond), twice)
}

// connects is how many clients connect within a second: 10,000, or what CROSSGATE_CONNECTS says.
func connects(t *testing.T) int {
	n := 10_000
	if rig.Race || testing.Short() {
		n = 2000
	}
	if text := os.Getenv("CROSSGATE_CONNECTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestTenThousandConnectsInASecond has that many users connect, evenly over one second: each is served, and then gets what is
// sent to everyone and what is sent to it.
func TestTenThousandConnectsInASecond(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	count := connects(t)
	server := rig.StartRedis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Address})
	defer rdb.Close()
	gateway := rig.StartGatewayProcess(t, fmt.Sprintf(`
redis: {url: %q}
auth: [{name: jwt, jwt: {secret: "${JWT_SECRET}"}}]
routes: [{name: ws, match: {path: /ws}, auth: {require: [jwt]}, websocket: {service: none, ping_interval: 10m}}]
`, server.URL()))
	address := strings.TrimPrefix(gateway.URL, "http://")
	requests := make([]string, count)
	for i := range requests {
		requests[i] = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + wsbridge.Subprotocol +
			"\r\nAuthorization: Bearer " + token(t, jwt.MapClaims{"sub": "user" + strconv.Itoa(i)}) + "\r\n\r\n"
	}
	before := gateway.Memory(t)
	type connection struct {
		net.Conn
		in   *bufio.Reader
		took time.Duration
		err  error
	}
	connections := make([]connection, count)
	each := func(do func(i int, c *connection) error) {
		var all sync.WaitGroup
		for i := range connections {
			all.Go(func() {
				c := &connections[i]
				if c.err == nil {
					c.err = do(i, c)
				}
			})
		}
		all.Wait()
	}
	began := time.Now()
	each(func(i int, c *connection) error {
		time.Sleep(time.Duration(i) * time.Second / time.Duration(count))
		at := time.Now()
		var err error
		if c.Conn, err = net.DialTimeout("tcp", address, rig.Patience); err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
		if _, err := io.WriteString(c, requests[i]); err != nil {
			return err
		}
		c.in = bufio.NewReaderSize(c, 512)
		for line := 0; ; line++ {
			text, err := c.in.ReadString('\n')
			switch {
			case err != nil:
				return err
			case line == 0 && !strings.Contains(text, " 101 "):
				return fmt.Errorf("answered with %s", text)
			case text == "\r\n":
				c.took = time.Since(at)
				return nil
			}
		}
	})
	connected := time.Since(began)
	defer func() {
		for _, c := range connections {
			if c.Conn != nil {
				c.Close()
			}
		}
	}()
	failed := 0
	for i, c := range connections {
		if c.err != nil {
			if failed++; failed < 10 {
				t.Errorf("client %d: %v", i, c.err)
			}
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d clients were not served", failed, count)
	}
	users := func(i int) string { return "cg:out:user:user" + strconv.Itoa(i) }
	channels := make([]string, count)
	for i := range channels {
		channels[i] = users(i)
	}
	// A session is told what comes for all from before its user's channel is subscribed to.
	rig.Eventually(t, rig.Patience, func() error {
		subscribed := rdb.PubSubNumSub(t.Context(), channels...).Val()
		for i, channel := range channels {
			if n := subscribed[channel]; n != 1 {
				return fmt.Errorf("user %d has %d subscriptions", i, n)
			}
		}
		return nil
	})
	memory := gateway.Memory(t) - before
	if err := rdb.Publish(t.Context(), "cg:out:all", `"all"`).Err(); err != nil {
		t.Fatal(err)
	}
	pipe := rdb.Pipeline()
	for i := range count {
		pipe.Publish(t.Context(), users(i), i)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	each(func(i int, c *connection) error {
		for _, want := range []string{`{"type":"message","data":"all"}`, fmt.Sprintf(`{"type":"message","data":%d}`, i)} {
			frame := make([]byte, 2+len(want))
			if _, err := io.ReadFull(c.in, frame); err != nil {
				return err
			}
			if string(frame[2:]) != want {
				return fmt.Errorf("got %q, want %s", frame[2:], want)
			}
		}
		return nil
	})
	times := make([]time.Duration, count)
	for i, c := range connections {
		times[i] = c.took
		if c.err != nil {
			t.Fatalf("client %d: %v", i, c.err)
		}
	}
	slices.Sort(times)
	t.Logf("%d clients were connected after %v, one after %v in the middle and %v at most; %d KB of memory for each; all got both messages",
		count, connected.Round(time.Millisecond), times[count/2].Round(time.Millisecond), times[count-1].Round(time.Millisecond), memory/int64(count)>>10)
}
