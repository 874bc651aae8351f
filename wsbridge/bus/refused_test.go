package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// TestAChannelThatRedisRefusesIsRefusedAlone and leaves the connection, and what else is subscribed to over it.
func TestAChannelThatRedisRefusesIsRefusedAlone(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	acl := func(rules ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "gate"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	acl("on", ">pass", "~*", "+@all", "resetchannels", "&open:*")
	servers, err := bus.Open("redis://gate:pass@" + server.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close()
	box := new(inbox)
	b := bus.NewRedis(servers, box)
	defer b.Close()
	// Many at once, which go in one command: the error is about all of them.
	results := make(chan error)
	for i := range 20 {
		channel, want := fmt.Sprintf("open:%d", i), error(nil)
		if i%10 == 3 {
			channel, want = fmt.Sprintf("closed:%d", i), bus.ErrRefused
		}
		go func() {
			if err := b.Subscribe(t.Context(), channel); !errors.Is(err, want) {
				results <- fmt.Errorf("%s: %v, want %v", channel, err, want)
				return
			}
			results <- nil
		}()
	}
	for range 20 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	redistest.Eventually(t, "the bus is up", box.up)
	if err := b.Subscribe(t.Context(), "closed:3"); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("once more: %v", err)
	}
	b.Unsubscribe("closed:3")
	for i := range 20 {
		if n := box.count(fmt.Sprintf("open:%d", i)); n > 1 {
			t.Errorf("open:%d was subscribed to %d times: the connection was lost", i, n)
		}
	}
	box.mu.Lock()
	refused := slices.Sorted(slices.Values(box.refused))
	box.mu.Unlock()
	if !slices.Equal(refused, []string{"closed:13", "closed:3"}) {
		t.Errorf("told of %q", refused)
	}
	// What comes over the connection still comes, and a right that is given counts.
	acl("&closed:*")
	if err := b.Subscribe(t.Context(), "closed:3"); err != nil {
		t.Errorf("with the right: %v", err)
	}
	for _, channel := range []string{"open:1", "closed:3"} {
		if err := admin.Publish(t.Context(), channel, "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	want(t, box, "open:1=x", "closed:3=x")
}
