package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
)

// TestExamples runs each example service as a process of its own behind a gateway: a client's message comes back to the
// room, and the service replies.
func TestExamples(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	chatGo := filepath.Join(t.TempDir(), "chat-go")
	if out, err := exec.Command("go", "build", "-o", chatGo, "../examples/chat-go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat("../examples/chat-node/node_modules"); err != nil {
		t.Fatalf("the npm packages of examples/chat-node are not installed; `make test` installs them: %v", err)
	}
	for name, command := range map[string][]string{
		"chat-go":   {chatGo},
		"chat-node": {"node", "../examples/chat-node/chat.js"},
	} {
		t.Run(name, func(t *testing.T) {
			server := rig.StartRedis(t)
			t.Setenv("REDIS_URL", server.URL())
			service := rig.Run(t, command[0], command[1:]...)
			rdb := redis.NewClient(&redis.Options{Addr: server.Address})
			defer rdb.Close()
			rig.Eventually(t, rig.Patience, func() error {
				n, err := rdb.PubSubNumSub(context.Background(), "cg:in:chat").Result()
				if err == nil && n["cg:in:chat"] == 0 {
					err = errors.New("the service does not listen")
				}
				return err
			})
			g := rig.StartGateway(t, fmt.Sprintf(chatNode, server.URL()))
			ann, bob := connect(t, g, "ann"), connect(t, g, "bob")
			bob.send(`{"id":1,"type":"subscribe","channel":"room:lobby"}`)
			bob.want(`{"id":1,"type":"ok"}`)
			ann.send(`{"id":1,"type":"message","route":"chat.send","data":{"room":"lobby","text":"hello"}}`)
			ann.want(`{"id":1,"type":"reply","data":{"ok":true}}`)
			bob.want(`{"type":"message","channel":"room:lobby","data":{"from":"ann","text":"hello"}}`)
			ann.send(`{"id":2,"type":"message","route":"chat.send","data":{"room":""}}`)
			ann.want(`{"id":2,"type":"error","code":"invalid_argument"}`)
			ann.send(`{"id":3,"type":"message","route":"chat.nothing"}`)
			ann.want(`{"id":3,"type":"error","code":"not_found"}`)
			if code, err := service.Terminate(5 * time.Second); err != nil || code != 0 {
				t.Errorf("the service ended with %d, %v", code, err)
			}
		})
	}
}
