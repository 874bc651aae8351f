package wsbridge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// command publishes a command to every node, as any Redis client may, and returns their answers.
func command(t *testing.T, client *redis.Client, command string) (answers []*bus.Control) {
	t.Helper()
	pubsub := client.Subscribe(t.Context(), "mine")
	defer pubsub.Close()
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes, err := client.Publish(t.Context(), "cg:control", `{"query":"q","reply_to":"mine",`+command+`}`).Result()
	if err != nil || nodes != 2 {
		t.Fatalf("%d nodes are told, %v", nodes, err)
	}
	for range nodes {
		m, err := pubsub.ReceiveTimeout(t.Context(), redistest.Patience)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := bus.ParseControl([]byte(m.(*redis.Message).Payload))
		if err != nil || answer.Type != bus.Answer || answer.Query != "q" || answer.Node == "" {
			t.Fatalf("the answer is %v %v", m, err)
		}
		answers = append(answers, answer)
	}
	return answers
}

func TestConnectionsAreReachedThroughRedisAlone(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	const section = `channels: [{pattern: "room:*"}]`
	one, two := startNode(t, rdb, section), startNode(t, rdb, section)
	ann, ann2, bob := one.as(t, "ann"), two.as(t, "ann"), two.as(t, "bob")
	for _, c := range []*client{ann, ann2, bob} {
		c.enter("room:1")
	}
	count := func(answers []*bus.Control) (n int) {
		for _, a := range answers {
			n += a.Count
		}
		return n
	}
	list := func(filter string) (found []bus.Connection) {
		t.Helper()
		for _, a := range command(t, rdb, `"type":"list"`+filter) {
			found = append(found, a.Connections...)
		}
		return found
	}
	if all := list(`,"limit":10`); len(all) != 3 {
		t.Errorf("listed are %+v", all)
	}
	bobs := list(`,"user":"bob","channel":"room:1","limit":10`)
	if len(bobs) != 1 || bobs[0].User != "bob" || bobs[0].Node != two.Name() || bobs[0].Channels != nil {
		t.Fatalf("bob's are %+v", bobs)
	}
	id := bobs[0].ID
	if got := list(`,"connection":"` + id + `"`); len(got) != 1 || fmt.Sprint(got[0].Channels) != "[room:1]" {
		t.Errorf("the connection is %+v", got)
	}
	if n := count(command(t, rdb, `"type":"send","connection":"`+id+`","data":{"n": 1}`)); n != 1 {
		t.Errorf("sent to %d", n)
	}
	bob.want(`{"type":"message","data":{"n": 1}}`)
	command(t, rdb, `"type":"send","connection":"`+id+`","data_base64":"/wA="`)
	bob.want(`{"type":"message","data_base64":"/wA="}`)
	for channel, who := range map[string][]*client{"cg:out:user:ann": {ann, ann2}, "cg:out:all": {ann, ann2, bob}} {
		publish(t, rdb, channel, `2`)
		for _, c := range who {
			c.want(`{"type":"message","data":2}`)
		}
	}
	publish(t, rdb, "cg:out:channel:room:1", `3`)
	for _, c := range []*client{ann, ann2, bob} {
		c.want(`{"type":"message","channel":"room:1","data":3}`)
	}

	// Nobody is closed by a command that names nobody.
	if n := count(command(t, rdb, `"type":"close"`)) + count(command(t, rdb, `"type":"send","data":1`)); n != 0 {
		t.Errorf("%d obey a command about nobody", n)
	}
	if n := count(command(t, rdb, `"type":"close","connection":"`+id+`","code":4400,"reason":"`+strings.Repeat("é", 100)+`"`)); n != 1 {
		t.Errorf("%d are closed", n)
	}
	// Bob has not answered the close yet, but is gone to whoever asks.
	if n := count(command(t, rdb, `"type":"close","user":"bob"`)); n != 0 || len(list(`,"limit":10`)) != 2 {
		t.Errorf("%d are closed again, of %+v", n, list(`,"limit":10`))
	}
	bob.wantClose(4400)
	if n := count(command(t, rdb, `"type":"close","user":"ann","code":1006`)); n != 2 {
		t.Errorf("%d are closed", n)
	}
	ann.wantClose(wsbridge.CloseDisconnected)
	ann2.wantClose(wsbridge.CloseDisconnected)
}
