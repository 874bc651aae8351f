package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
)

// relay passes connections on to another address, and can keep what comes back.
type relay struct {
	address string
	mu      sync.Mutex
	open    chan struct{} // closed while answers pass
}

func startRelay(t testing.TB, to string) *relay {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: socket.Addr().String(), open: make(chan struct{})}
	close(r.open)
	done := make(chan struct{})
	var running sync.WaitGroup
	t.Cleanup(func() {
		close(done)
		socket.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := socket.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.pass(client, to, done) })
		}
	})
	return r
}

// pass ends with either side, or with done.
func (r *relay) pass(client net.Conn, to string, done <-chan struct{}) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		client.Close()
		return
	}
	var both sync.WaitGroup
	end := sync.OnceFunc(func() {
		client.Close()
		server.Close()
	})
	ended := make(chan struct{})
	go func() {
		select {
		case <-done:
			end()
		case <-ended:
		}
	}()
	both.Go(func() {
		defer end()
		_, _ = io.Copy(server, client)
	})
	both.Go(func() {
		defer end()
		buf := make([]byte, 4<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-r.gate():
			case <-done:
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	both.Wait()
	close(ended)
}

func (r *relay) gate() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// keep holds answers back until the function that it returns is called.
func (r *relay) keep() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := make(chan struct{})
	r.open = open
	return sync.OnceFunc(func() { close(open) })
}

// TestLimitsWaitForASlowRedisAsLongAsTheyAreTold has two gateways on a Redis that answers late: for one that is patient it
// decides, for one that is not each limit's on_failure does.
func TestLimitsWaitForASlowRedisAsLongAsTheyAreTold(t *testing.T) {
	server := rig.StartRedis(t)
	slow := startRelay(t, server.Address)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	gateway := func(name, timeout string) *rig.Gateway {
		return rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
redis: {url: "redis://%s/0", prefix: "%s:", limit_timeout: %s}
routes:
  - {name: warm, match: {path: /warm}, respond: {}, rate_limits: [{rate: 100/h, store: redis}]}
  - {name: allow, match: {path: /allow}, respond: {}, rate_limits: [{rate: 1/h, store: redis, on_failure: allow}]}
  - {name: deny, match: {path: /deny}, respond: {}, rate_limits: [{rate: 1/h, store: redis, on_failure: deny}]}
  - {name: local, match: {path: /local}, respond: {}, rate_limits: [{rate: 4/h, store: redis, local_share: 25}]}
`, slow.address, name, timeout))
	}
	status := func(g *rig.Gateway, path string) int {
		t.Helper()
		answer, err := http.Get(g.URL + path)
		if err != nil {
			t.Error(err)
			return 0
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	patient, hasty := gateway("patient", "10s"), gateway("hasty", "50ms")
	for _, g := range []*rig.Gateway{patient, hasty} { // connects, and has Redis know the script
		if got := status(g, "/warm"); got != 200 {
			t.Fatal(got)
		}
	}
	release := slow.keep()
	defer release()
	decided := make(chan int, 1)
	go func() { decided <- status(patient, "/deny") }()
	for _, c := range []struct {
		path string
		want int
	}{{"/allow", 200}, {"/allow", 200}, {"/deny", 503}, {"/deny", 503}, {"/local", 200}, {"/local", 429}} {
		if got := status(hasty, c.path); got != c.want {
			t.Errorf("%s is answered with %d while Redis is silent, want %d", c.path, got, c.want)
		}
	}
	release()
	if got := <-decided; got != 200 {
		t.Errorf("for who waits Redis says %d, want 200", got)
	}
	if got := status(patient, "/deny"); got != 429 {
		t.Errorf("and then %d, want 429", got)
	}
	within(t, "Redis counts for the hasty one again", func() bool {
		_ = status(hasty, "/deny")
		keys, err := client.Keys(t.Context(), "hasty:limit:{deny}:*").Result()
		return err == nil && len(keys) == 1 && status(hasty, "/deny") == 429
	})
}
