package integration

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// followingScript notes what a page gets of the channel kept:browser, over either transport.
const followingScript = `
import { connect } from "./crossgate.js";
window.followers = ["websocket", "sse"].map((transport) => {
	const follower = { got: [], gaps: 0, states: [], ready: false };
	const connection = connect("./ws", { maxDelay: 500, transports: [transport] });
	connection.addEventListener("state", ({ state, code }) => follower.states.push(code === undefined ? state : state + " " + code));
	connection.subscribe("kept:browser", {
		message: (data) => follower.got.push(data), gap: () => follower.gaps++, subscribed: () => { follower.ready = true; },
	});
	return follower;
});
`

// allFollowers waits until an expression is true of each of the page's followers.
func allFollowers(expression string) step {
	return until(`window.followers?.every(({ got, gaps, states, ready }) => ` + expression + `)`)
}

// strictPage is a document that runs a script under a policy that allows it nothing but the gateway.
func strictPage(script string) string {
	sum := sha256.Sum256([]byte(script))
	policy := fmt.Sprintf("default-src 'none'; script-src 'self' 'sha256-%s'; connect-src 'self'; img-src data:; require-trusted-types-for 'script'",
		base64.StdEncoding.EncodeToString(sum[:]))
	return `<!doctype html><meta http-equiv="Content-Security-Policy" content="` + policy + `"><link rel="icon" href="data:,"><script type="module">` + script + `</script>`
}

// network has the browser believe that there is a network, or none. It does not touch what goes over it.
func network(online bool) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		state := map[string]any{"offline": !online, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
		return chromedp.Void{}, t.Call(ctx, "Network.overrideNetworkState", state, &struct{}{})
	}
}

// TestAPageMissesNothingThroughRestarts has a page follow a channel while the gateway it is connected to is stopped, killed,
// and each time started again, and messages are published throughout.
func TestAPageMissesNothingThroughRestarts(t *testing.T) {
	server := rig.StartRedis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Address})
	defer rdb.Close()
	dir := t.TempDir()
	file, page := filepath.Join(dir, "crossgate.yaml"), filepath.Join(dir, "page.html")
	address, admin := rig.FreeAddress(t), rig.FreeAddress(t)
	for name, content := range map[string]string{page: strictPage(followingScript), file: fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: %q}
redis: {url: %q}
drain: {timeout: 5s, reconnect_spread: 200ms}
routes:
  - {name: page, match: {path: /}, respond: {file: page.html, content_type: text/html}}
  - {name: client, match: {path: /crossgate.js}, client: {}}
  - name: ws
    match: {path: /ws}
    websocket: {service: none, channels: [{pattern: "kept:*", subscribe: anyone, history: {size: 10000, ttl: 5m}}]}
`, address, admin, server.URL())} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func() *rig.Process {
		p := rig.Run(t, rig.Build(t), "serve", "-c", file)
		rig.WaitReady(t, admin)
		return p
	}
	gateway := start()
	tab := browser(t)
	inTab(t, tab, "the page follows", chromedp.Navigate("http://"+address+"/"), allFollowers(`ready`), until(watchThePage))

	publisher := service.New(rdb, "none", service.WithHistory("kept:*", 10_000, 5*time.Minute))
	var sent atomic.Int64
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	defer publishing.Wait()
	ended := sync.OnceFunc(func() { close(stop) })
	defer ended()
	publishing.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if err := publisher.SendChannel(t.Context(), "kept:browser", sent.Load()); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
		}
	})
	inTab(t, tab, "messages come", allFollowers(`got.length >= 20`))
	if err := gateway.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	inTab(t, tab, "the page was told to go", allFollowers(`states.includes("reconnecting 4010")`))
	gateway.Kill() // a spare connection of the browser's may hold its end up for seconds
	gateway = start()
	inTab(t, tab, "the page is back", allFollowers(`got.length >= `+strconv.FormatInt(sent.Load(), 10)))
	inTab(t, tab, "the browser is offline", network(false), until(`!navigator.onLine`))
	gateway.Kill()
	inTab(t, tab, "the page notices that the gateway is gone", allFollowers(`states.at(-1) != "connected"`))
	start()
	inTab(t, tab, "it does not try, though it could", until(`new Promise((resolve) => setTimeout(() => resolve(navigator.onLine === false), 1500))`),
		allFollowers(`states.at(-1) != "connected"`))
	inTab(t, tab, "the browser is online, and the page back again", network(true), allFollowers(`got.length >= `+strconv.FormatInt(sent.Load()+20, 10)))
	ended()
	publishing.Wait()
	inTab(t, tab, "all has come", allFollowers(fmt.Sprintf(`got.length >= %d`, sent.Load())))
	inTab(t, tab, "once and in order", allFollowers(fmt.Sprintf(`got.length == %d && got.every((data, i) => data === i)`, sent.Load())), allFollowers(`gaps == 0`))
	inTab(t, tab, "the policy has refused nothing", until(`refused.length == 0`))
}
