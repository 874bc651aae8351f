package wsbridge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// TestAMasterThatDiesLosesNoMessageOfAChannel publishes to channels of every master of a cluster, kills one, and goes on. Who
// publishes tries again until he is answered; all subscribers get all messages once and in order.
//
// What is promised: a message that was published is lost only if its master dies before the replica has it. Here the
// replicas have what was published before.
func TestAMasterThatDiesLosesNoMessageOfAChannel(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	rdb := cluster.Client()
	nodes := []*gateway{startNode(t, rdb, keeping), startNode(t, rdb, keeping)}
	sender := service.New(cluster.Client(), "chat", service.WithHistory("room:*", 1000, 5*time.Minute))
	const rooms, before, after = 9, 20, 20
	name := func(room int) string { return "room:" + strconv.Itoa(room) }

	var clients []*client
	for _, node := range nodes {
		c := node.dial(t, nil)
		for room := range rooms {
			c.send(`{"id":1,"type":"subscribe","channel":"` + name(room) + `"}`)
			if _, frame, err := c.next(); err != nil || !json.Valid([]byte(frame)) {
				t.Fatal(frame, err)
			}
		}
		clients = append(clients, c)
	}
	send := func(i int) {
		for room := range rooms {
			redistest.Eventually(t, "a message is published", func() bool {
				err := sender.SendChannelOnce(t.Context(), fmt.Sprint(room, "-", i), name(room), i)
				if err != nil && !errors.Is(err, bus.ErrDown) {
					t.Fatal(err)
				}
				return err == nil
			})
		}
	}
	for i := range before {
		send(i)
	}
	killed := cluster.MasterOf("cg:out:channel:" + name(0))
	cluster.Replicated()
	cluster.Masters[killed].Kill()
	began := time.Now()
	for i := before; i < before+after; i++ {
		send(i)
		if i == before {
			t.Logf("messages could be published to every channel after %v", time.Since(began).Round(time.Millisecond))
		}
	}
	for i, c := range clients {
		next := map[string]int{}
		for got := 0; got < rooms*(before+after); {
			_, frame, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			var m struct {
				Type, Channel string
				Data          int
			}
			if err := json.Unmarshal([]byte(frame), &m); err != nil {
				t.Fatal(err)
			}
			if m.Type == "bus" {
				continue
			}
			if m.Type != "message" || m.Data != next[m.Channel] {
				t.Fatalf("client %d got %s, want message %d of its channel", i, frame, next[m.Channel])
			}
			next[m.Channel]++
			got++
		}
	}
	t.Logf("every client had every message after %v", time.Since(began).Round(time.Millisecond))
	for room := range rooms {
		redistest.Eventually(t, "all are present", func() bool {
			p, err := nodes[0].Presence(t.Context(), name(room), "", 10)
			return err == nil && p.Connections == int64(len(clients)) && len(p.Members) == len(clients)
		})
	}
}
