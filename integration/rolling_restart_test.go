package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
)

// rollingClients is how many clients take part: 5,000, or what CROSSGATE_CONNECTIONS says; under the race detector, where a
// client costs several times as much, fewer.
func rollingClients(t *testing.T) int {
	t.Helper()
	clients := 5000
	if rig.Race {
		clients = 1000
	}
	if testing.Short() {
		clients = 200
	}
	if text := os.Getenv("CROSSGATE_CONNECTIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		clients = n
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if most := int(files.Cur) - 500; clients > most {
		t.Logf("only %d files may be open: %d clients in place of %d", files.Cur, most, clients)
		clients = most
	}
	return clients
}

// TestNothingIsMissedInARollingRestart restarts two nodes one after the other while their clients follow channels and
// messages are published: each client ends with all of its channel's messages, once and in order.
func TestNothingIsMissedInARollingRestart(t *testing.T) {
	clients := rollingClients(t)
	server := rig.StartRedis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Address})
	defer rdb.Close()

	nodes := [2]string{rig.FreeAddress(t), rig.FreeAddress(t)}
	admins := [2]string{rig.FreeAddress(t), rig.FreeAddress(t)}
	start := func(i int) *rig.Process {
		file := filepath.Join(t.TempDir(), "crossgate.yaml")
		text := fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: %q}
log: {access: "off", level: warn}
redis: {url: %q}
drain: {timeout: 30s, reconnect_spread: 3s}
routes:
  - name: ws
    match: {path: /ws}
    websocket: {service: none, channels: [{pattern: "room:*", subscribe: anyone, history: {size: 10000, ttl: 5m}}]}
`, nodes[i], admins[i], server.URL())
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := rig.Run(t, rig.Build(t), "serve", "-c", file)
		rig.WaitReady(t, admins[i])
		return p
	}
	running := [2]*rig.Process{start(0), start(1)}

	ctx, cancel := context.WithTimeout(t.Context(), 5*rig.Patience)
	defer cancel()
	began := time.Now()
	crowd := startCrowd(ctx, t, clients, nodes[:], false)
	t.Logf("%d clients have subscribed after %v", clients, time.Since(began).Round(time.Millisecond))

	finish := publishRounds(ctx, t, rdb, &crowd.published)
	for i := range running {
		time.Sleep(time.Second) // of quiet, in which clients only listen
		at := time.Now()
		if code, err := running[i].Terminate(40 * time.Second); code != 0 || err != nil {
			t.Errorf("node %d ended with %d, %v", i, code, err)
		}
		t.Logf("node %d was drained after %v", i, time.Since(at).Round(time.Millisecond))
		running[i] = start(i)
	}
	time.Sleep(time.Second)
	finish(func() { crowd.ended.Store(true) })
	total := crowd.published.Load()
	crowd.following.Wait()

	var reconnects int
	away := make([]time.Duration, 0, clients)
	for _, f := range crowd.followers {
		reconnects += f.reconnects
		away = append(away, f.away)
	}
	slices.Sort(away)
	if want := int64(clients) * total; crowd.delivered.Load() != want {
		t.Errorf("%d messages were delivered, want %d", crowd.delivered.Load(), want)
	}
	if reconnects < clients {
		t.Errorf("%d reconnections of %d clients, want at least as many", reconnects, clients)
	}
	t.Logf("%d messages of each of %d channels in %v, %d deliveries, %d reconnections; the longest time away is %v, of half the clients below %v",
		total, rollingChannels, time.Since(began).Round(time.Second), crowd.delivered.Load(), reconnects, away[len(away)-1].Round(time.Millisecond), away[len(away)/2].Round(time.Millisecond))
}
