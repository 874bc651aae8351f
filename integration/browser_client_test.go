package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	browserclient "github.com/crossgate/crossgate/client"
	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// runServices runs services on the bus until the test ends.
func runServices(t *testing.T, services ...*service.Service) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	for _, s := range services {
		running.Go(func() {
			if err := s.Run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("a service ended: %v", err)
			}
		})
	}
}

// startWork runs the services that the client's tests talk to.
func startWork(t *testing.T, rdb *redis.Client) {
	t.Helper()
	var mu sync.Mutex
	orders := []json.RawMessage{}
	queue := service.New(rdb, "orders", service.WithQueue())
	queue.Handle("order", func(_ context.Context, m *service.Message) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		orders = append(orders, append(json.RawMessage(nil), m.Data...))
		return nil, nil
	})
	work := service.New(rdb, "work", service.WithHistory("room:*", 100, 5*time.Minute))
	work.Handle("echo", func(ctx context.Context, m *service.Message) (any, error) {
		if m.DataBase64 == nil {
			return m.Data, nil
		}
		// Bytes as a reply are of the contract, and not of service.
		reply, err := json.Marshal(bus.Outbound{Connection: m.Connection, InReplyTo: m.ID, DataBase64: m.DataBase64})
		if err != nil {
			return nil, err
		}
		return nil, rdb.Publish(ctx, m.ReplyTo, reply).Err()
	})
	work.Handle("refuse", func(context.Context, *service.Message) (any, error) {
		return nil, &bus.ReplyError{Code: "not_found", Message: "there is no such thing"}
	})
	work.Handle("never", func(context.Context, *service.Message) (any, error) { return nil, nil })
	work.Handle("note", func(ctx context.Context, m *service.Message) (any, error) {
		return true, work.Send(ctx, m, m.Data)
	})
	work.Handle("chat.send", func(ctx context.Context, m *service.Message) (any, error) {
		return true, work.SendChannel(ctx, "room:42", m.Data)
	})
	work.Handle("orders", func(context.Context, *service.Message) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		return orders, nil
	})
	runServices(t, queue, work)
}

// TestTheBrowserClientInNode runs the client's own tests, which start gateways as processes.
func TestTheBrowserClientInNode(t *testing.T) {
	if _, err := os.Stat("../client/js/node_modules"); err != nil {
		t.Fatalf("the npm packages of client/js are not installed; `make test` installs them: %v", err)
	}
	server := rig.StartRedis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Address})
	defer rdb.Close()
	startWork(t, rdb)
	run := func(t *testing.T, name string, args ...string) {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, name, args...)
		command.Dir = "../client/js"
		command.Env = append(os.Environ(), "CROSSGATE="+rig.Build(t), "REDIS_URL="+server.URL())
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		} else if testing.Verbose() {
			t.Logf("%s", out)
		}
	}
	t.Run("it works", func(t *testing.T) {
		run(t, "node", "--test", "--test-force-exit", "--test-timeout=200000", "--test-reporter=spec", "test/connection.test.js", "test/docs.test.js")
	})
	t.Run("its types are those", func(t *testing.T) { run(t, "node", "node_modules/typescript/bin/tsc", "-p", "test") })
}

func TestTheBrowserClientIsServed(t *testing.T) {
	g := rig.StartGateway(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
routes: [{name: client, match: {path: /lib/crossgate.js}, client: {max_age: 1h}, cors: {origins: ["https://app.example.com"]}}]
`)
	get := func(headers ...string) *http.Response {
		t.Helper()
		return begin(t, "GET", g.URL+"/lib/crossgate.js", "", append([]string{"Accept-Encoding", "identity"}, headers...)...)
	}
	whole := get("Origin", "https://app.example.com")
	body, err := io.ReadAll(whole.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, browserclient.Module()) {
		t.Errorf("%s: not the module: %.100s", whole.Status, body)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff",
		"Access-Control-Allow-Origin": "https://app.example.com",
	} {
		if got := whole.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if again := get("If-None-Match", whole.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("asked whether it has changed: %s", again.Status)
	}
	if small := get("Accept-Encoding", "gzip"); small.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("asked for gzip: %v", small.Header)
	}
}
