package ws

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
)

// scenario is one shape of load.
type scenario struct {
	name        string
	connections int
	messages    int
	rate        int  // messages a second; 0 for as fast as Redis takes them
	spread      bool // a channel for each connection, else one for all
}

var scenarios = []scenario{
	{"broadcast at full rate", 1000, 300, 0, false},
	{"broadcast of 100 a second", 1000, 300, 100, false},
	{"a channel for each", 2000, 20_000, 0, true},
}

// server is one of those compared.
type server struct {
	name    string
	start   func(b *testing.B, redis string) (address string, pid int)
	publish func(b *testing.B, redis string) func(channel string, payload []byte) error
}

var servers = []server{{"centrifuge", startPeer, publishByPeer}, {"crossgate", startGateway, publishPlainly}}

// BenchmarkFanOut reports each figure of both servers, and what Crossgate's is of the peer's.
func BenchmarkFanOut(b *testing.B) {
	for _, sc := range scenarios {
		theirs := map[string]float64{}
		for _, s := range servers {
			b.Run(sc.name+"/"+s.name, func(b *testing.B) {
				for b.Loop() {
					figures := measure(b, s, sc)
					for unit, v := range figures {
						b.ReportMetric(v, unit)
						if s.name == servers[0].name {
							theirs[unit] = v
						}
					}
					if base := theirs["cpu-µs/delivery"]; s.name != servers[0].name && base > 0 {
						b.ReportMetric(figures["cpu-µs/delivery"]/base, "cpu-ratio")
						b.ReportMetric(figures["idle-B/conn"]/theirs["idle-B/conn"], "idle-ratio")
					}
				}
			})
		}
	}
}

func measure(b *testing.B, s server, sc scenario) map[string]float64 {
	store := rig.StartRedis(b)
	redisAddress := store.Address
	address, pid := s.start(b, redisAddress)
	publish := s.publish(b, redisAddress)
	c := &clients{subject: s.name == "crossgate", address: address}
	defer c.close()
	name := func(i int) string {
		if sc.spread {
			return "bench" + strconv.Itoa(i)
		}
		return "bench"
	}
	before := resident(b, pid)
	c.open(b, sc.connections, name)
	time.Sleep(2 * time.Second) // what the handshakes left behind is to be gone: this measures rest
	idle := resident(b, pid) - before

	want := int64(sc.messages)
	if !sc.spread {
		want *= int64(sc.connections)
	}
	cpu, start := rig.CPUTime(b, pid), time.Now()
	for m := range sc.messages {
		if sc.rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(m) * time.Second / time.Duration(sc.rate))))
		}
		payload := fmt.Appendf(nil, `{"at":%d,"text":"%080d"}`, time.Now().UnixNano(), m)
		if err := publish(name((m*7919)%sc.connections), payload); err != nil {
			b.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); c.received.Load() < want && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	took, got := time.Since(start), c.received.Load()
	cpu = rig.CPUTime(b, pid) - cpu
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.latencies)
	return map[string]float64{
		"cpu-µs/delivery": cpu.Seconds() * 1e6 / float64(max(got, 1)),
		"deliveries/s":    float64(got) / took.Seconds(),
		"lost":            float64(want - got),
		"idle-B/conn":     float64(idle) / float64(sc.connections),
		"p50-ms":          quantile(c.latencies, 0.5),
		"p99-ms":          quantile(c.latencies, 0.99),
		"ns/op":           0, // of a scenario with its pauses it would say nothing
	}
}

// BenchmarkInbound is what clients send to a service that subscribes with a plain Redis client: CPU time of the gateway for
// each message, and what came of it.
func BenchmarkInbound(b *testing.B) {
	const connections, each = 100, 300
	store := rig.StartRedis(b)
	address, pid := startGateway(b, store.Address)
	c := &clients{subject: true, address: address}
	defer c.close()
	c.open(b, connections, func(int) string { return "bench" })
	client := redis.NewClient(&redis.Options{Addr: store.Address})
	defer client.Close()
	service := client.Subscribe(context.Background(), "cg:in:bench")
	defer service.Close()
	if _, err := service.Receive(context.Background()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cpu, start := rig.CPUTime(b, pid), time.Now()
		for i, conn := range c.conns {
			go func() { // ends when it has sent them all
				for m := range each {
					if write(conn, fmt.Sprintf(`{"type":"message","route":"bench.say","data":{"from":%d,"n":%d}}`, i, m)) != nil {
						return
					}
				}
			}()
		}
		got := 0
		for ; got < connections*each; got++ {
			if _, err := service.ReceiveTimeout(context.Background(), 10*time.Second); err != nil {
				break
			}
		}
		b.ReportMetric((rig.CPUTime(b, pid)-cpu).Seconds()*1e6/float64(max(got, 1)), "cpu-µs/message")
		b.ReportMetric(float64(got)/time.Since(start).Seconds(), "messages/s")
		b.ReportMetric(float64(connections*each-got), "lost")
		b.ReportMetric(0, "ns/op")
	}
}

func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))].Seconds() * 1e3
}

func startGateway(b *testing.B, redis string) (string, int) {
	address, admin := rig.FreeAddress(b), rig.FreeAddress(b)
	file := filepath.Join(b.TempDir(), "crossgate.yaml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(`
listeners: [{address: "%s"}]
admin: {address: "%s"}
log: {access: "off", level: error}
redis: {url: "redis://%s/0"}
routes:
  - name: bench
    match: {path: /ws}
    websocket: {service: bench, origins: ["*"], channels: [{pattern: "bench*", subscribe: anyone}]}
`, address, admin, redis)), 0o600); err != nil {
		b.Fatal(err)
	}
	pid := start(b, exec.Command(rig.Build(b), "serve", "-c", file))
	rig.WaitReady(b, admin)
	return address, pid
}

func startPeer(b *testing.B, redis string) (string, int) {
	address := rig.FreeAddress(b)
	peer := exec.Command(os.Args[0])
	peer.Env = append(os.Environ(), "PEER_ADDRESS="+address, "PEER_REDIS="+redis)
	pid := start(b, peer)
	rig.Eventually(b, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return address, pid
}

// start runs a server until the benchmark ends.
func start(b *testing.B, command *exec.Cmd) int {
	b.Helper()
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command.Process.Pid
}

// publishPlainly is what any service does that has a Redis client.
func publishPlainly(b *testing.B, address string) func(string, []byte) error {
	client := redis.NewClient(&redis.Options{Addr: address})
	b.Cleanup(func() { client.Close() })
	return func(channel string, payload []byte) error {
		return client.Publish(context.Background(), "cg:out:channel:"+channel, payload).Err()
	}
}

func publishByPeer(b *testing.B, address string) func(string, []byte) error {
	node, err := centrifugeNode(address)
	if err == nil {
		err = node.Run()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = node.Shutdown(context.Background()) })
	return func(channel string, payload []byte) error {
		_, err := node.Publish(channel, payload)
		return err
	}
}

// resident returns the memory that a process has in use, in bytes.
func resident(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
