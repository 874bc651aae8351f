package gateway

import (
	"testing"
	"time"
)

// TestKeysOfTheEmbeddedRedisExpire: what the bus forgets by itself must not fill a process that runs for long.
func TestKeysOfTheEmbeddedRedisExpire(t *testing.T) {
	link, err := openRedis(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer link.close()
	client := link.first()
	for key, ttl := range map[string]time.Duration{"short": 1500 * time.Millisecond, "long": time.Hour} {
		if err := client.Set(t.Context(), key, "1", ttl).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); client.Exists(t.Context(), "short").Val() == 1; {
		if time.Now().After(deadline) {
			t.Fatal("a key with a time to live does not expire")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if left := client.TTL(t.Context(), "long").Val(); left < 59*time.Minute || left > time.Hour {
		t.Errorf("a key that was to live for an hour has %v left", left)
	}
}
