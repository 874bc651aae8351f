package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
)

const browserNode = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
drain: {reconnect_spread: 0s}
routes:
  - {name: page, match: {path: /}, respond: {status: 200, content_type: text/html, body: %q}}
  - name: chat
    match: {path: /ws}
    websocket: {service: chat, compression: {%s}, channels: [{pattern: "*", subscribe: anyone}]}
`

// talking has a page subscribe, be sent a large message and send one, over WebSocket and over an event stream.
const talking = `
window.got = {};
const large = JSON.stringify({id: 2, type: "message", route: "r", data: Array.from({length: 5000}, (_, i) => i % 100).join(" ")});
const note = (name) => ({data}) => {
	const frame = JSON.parse(data);
	got[name] = (got[name] || "") + frame.type + (frame.code || (frame.data ? frame.data.length : "")) + " ";
};
const ws = new WebSocket("ws://" + location.host + "/ws", "crossgate.v1.json");
ws.onmessage = note("ws");
ws.onclose = ({code}) => got.ws += code;
ws.onopen = () => { ws.send('{"id":1,"type":"subscribe","channel":"c"}'); ws.send(large); };
const events = new EventSource("/ws");
events.onmessage = note("sse");
events.addEventListener("close", ({data}) => { got.sse += JSON.parse(data).code; events.close(); });
events.addEventListener("open", async ({data}) => {
	if (!data) return;
	const headers = {"Content-Type": "application/x-ndjson", "Crossgate-Session": JSON.parse(data).session, "Crossgate-Sequence": "1"};
	const body = '{"id":1,"type":"subscribe","channel":"c"}\n' + large;
	got.status = (await fetch("/ws", {method: "POST", headers, body})).status;
});
`

func TestABrowserTalksCompressedAndWithoutWebSocket(t *testing.T) {
	tab := browser(t)
	for _, compression := range []string{"", "context_takeover: true, min_size: 1"} {
		g := rig.StartGateway(t, fmt.Sprintf(browserNode, "<script>"+talking+"</script>", compression))
		rdb := redis.NewClient(&redis.Options{Addr: g.RedisAddress()})
		t.Cleanup(func() { rdb.Close() })
		inTab(t, tab, "both sessions talk", chromedp.Navigate(g.URL+"/"), until(`got.ws == "ok errorunavailable " && got.sse == "ok errorunavailable " && got.status == 202 && ws.extensions.includes("permessage-deflate")`))
		for i, size := range []int{100, 5000, 400_000} {
			if err := rdb.Publish(t.Context(), "cg:out:channel:c", `"`+strings.Repeat("<é>", size/4)+`"`).Err(); err != nil {
				t.Fatal(err)
			}
			lengths := "ok errorunavailable "
			for _, s := range []int{100, 5000, 400_000}[:i+1] {
				lengths += fmt.Sprintf("message%d ", s/4*3)
			}
			inTab(t, tab, "both get it", until(fmt.Sprintf("got.ws == %q && got.sse == %[1]q", lengths)))
		}
		if err := g.Shutdown(); err != nil {
			t.Error(err)
		}
		inTab(t, tab, "both are told why", until(`got.ws.endsWith("goaway 4010") && got.sse.endsWith("goaway 4010")`))
	}
}
