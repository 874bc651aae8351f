package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
)

// plain is an identity without what is made of it.
func plain(id *Identity) *Identity {
	c := *id
	c.values = nil
	return &c
}

func TestAPIKeys(t *testing.T) {
	digest := sha256.Sum256([]byte("hashed-key"))
	provider := config.AuthProvider{Name: "keys", APIKeys: &config.APIKeys{Keys: []config.APIKey{
		{ID: "plain", Key: "plain-key", User: "ada", Roles: []string{"admin"}, Scopes: []string{"read"}},
		{ID: "twice", Key: "old-key"}, {ID: "twice", Key: "new-key"},
		{ID: "hashed", SHA256: strings.ToUpper(hex.EncodeToString(digest[:]))},
	}}}
	p := policy(t, provider)
	for _, c := range []struct {
		name, key string
		want      *Identity
	}{
		{"a key in the clear", "plain-key", &Identity{Provider: "keys", User: "ada", KeyID: "plain", Roles: []string{"admin"}, Scopes: []string{"read"}}},
		{"a key known by its SHA-256, whose user is its id", "hashed-key", &Identity{Provider: "keys", User: "hashed", KeyID: "hashed"}},
		{"the SHA-256 is no key", hex.EncodeToString(digest[:]), nil},
		{"an unknown key", "unknown-key", nil},
		{"the old of two keys of one id", "old-key", &Identity{Provider: "keys", User: "twice", KeyID: "twice"}},
		{"the new of two keys of one id", "new-key", &Identity{Provider: "keys", User: "twice", KeyID: "twice"}},
		{"a key with a space after it", "plain-key ", nil},
		{"the beginning of a key", "plain-ke", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, _, err := p.Authenticate(t.Context(), request{header: map[string]string{"X-Api-Key": c.key}})
			if c.want != nil {
				if err != nil || !reflect.DeepEqual(plain(id), c.want) {
					t.Errorf("got %+v, %v", id, err)
				}
				return
			}
			why := refused(t, id, err)
			if why.Reason != "the API key is not known" || why.Challenge != `ApiKey realm="crossgate"` || strings.Contains(why.Error(), c.key) {
				t.Errorf("refused with %+v", why)
			}
		})
	}
	for _, c := range []struct {
		name string
		keys []config.APIKey
		want string
	}{
		{"a SHA-256 that is too short is refused", []config.APIKey{{ID: "a", SHA256: "abcd"}}, "64 hexadecimal digits"},
		{"a SHA-256 that is not hexadecimal is refused", []config.APIKey{{ID: "a", SHA256: strings.Repeat("x", 64)}}, "64 hexadecimal digits"},
		{"the same key twice is refused", []config.APIKey{{ID: "a", Key: "same"}, {ID: "b", Key: "same"}}, "api key b is the same as a"},
		{"a key and its SHA-256 are the same", []config.APIKey{{ID: "a", Key: "hashed-key"}, {ID: "b", SHA256: hex.EncodeToString(digest[:])}}, "api key b is the same as a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile([]config.AuthProvider{{Name: "keys", APIKeys: &config.APIKeys{Keys: c.keys}}}, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAnAPIKeyEnds(t *testing.T) {
	p := policy(t, config.AuthProvider{Name: "keys", APIKeys: &config.APIKeys{Keys: []config.APIKey{{ID: "k", Key: "the-key", Expires: today.Format(time.RFC3339)}}}})
	c := &clock{now: today.Add(-1)}
	p.providers[0].verifier.(*keyVerifier).now = c.time
	if id, err := p.AuthenticateToken(t.Context(), "the-key"); err != nil || !id.Expires.Equal(today) {
		t.Errorf("got %+v, %v", id, err)
	}
	c.add(1)
	if why := refused(t, nil, second(p.AuthenticateToken(t.Context(), "the-key"))); why.Reason != "the API key has expired" {
		t.Errorf("refused with %q", why.Reason)
	}
}

// logged is a log that a test reads while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// patience is how long a test waits for what is to come. A machine that is busy may take seconds over anything.
const patience = time.Minute

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited too long until " + what)
		}
	}
}

func TestAFileOfAPIKeysIsWatched(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	write := func(text string) {
		t.Helper()
		next := file + ".next"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256([]byte("a-key-at-rest"))
	write("keys: [{id: a, sha256: " + hex.EncodeToString(sum[:]) + ", scopes: [read]}]")
	var log logged
	providers, err := Compile([]config.AuthProvider{{Name: "keys", APIKeys: &config.APIKeys{
		Keys: []config.APIKey{{ID: "given", Key: "given-key"}}, File: config.Path(file),
	}}}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.Close)
	p, err := providers.Policy(&config.RouteAuth{Require: []string{"keys"}})
	if err != nil {
		t.Fatal(err)
	}
	lets := func(key string) bool {
		id, err := p.AuthenticateToken(t.Context(), key)
		return err == nil && id.Authenticated()
	}
	if !lets("a-key-at-rest") || !lets("given-key") || lets("another-key") {
		t.Error("the file's keys and those of the configuration are not in force together")
	}
	write("keys: [{id: b, key: another-key}]")
	until(t, "the new keys are in force", func() bool { return lets("another-key") })
	if lets("a-key-at-rest") || !lets("given-key") {
		t.Error("a key that was taken out of the file is in force, or one of the configuration is not")
	}
	write("keys: [{id: c, sha256: third-key}]")
	until(t, "the log says what is wrong", func() bool {
		return strings.Contains(log.String(), "keys.yaml:1:24: sha256: expected 64 hexadecimal digits")
	})
	if !lets("another-key") {
		t.Error("a broken file ended what was in force")
	}
	if text := log.String(); strings.Contains(text, "third-key") || strings.Contains(text, "another-key") {
		t.Errorf("the log has a key: %s", text)
	}
	if _, err := Compile([]config.AuthProvider{{Name: "keys", APIKeys: &config.APIKeys{File: config.Path(file)}}}, Options{}); err == nil || !strings.Contains(err.Error(), "keys.yaml:1:24") {
		t.Errorf("a broken file at the start: %v", err)
	}
}

// storedKeys is a policy that looks keys up in a Redis of its own, and remembers for as long as a test lets time pass.
func storedKeys(t *testing.T, stale time.Duration) (*miniredis.Miniredis, *Policy, *clock) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	providers, err := Compile([]config.AuthProvider{{Name: "keys", APIKeys: &config.APIKeys{
		Redis: true, CacheTime: config.Duration(time.Minute), NegativeCacheTime: config.Duration(10 * time.Second),
		StaleTime: config.Duration(stale), Timeout: config.Duration(patience),
	}}}, Options{Redis: client, Prefix: "cg:"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.Close)
	c := &clock{now: today}
	k := providers.list[0].verifier.(*keyVerifier).redis
	until(t, "changes are listened to", func() bool { return k.generation.Load() > 0 })
	k.now = c.time
	p, err := providers.Policy(&config.RouteAuth{Require: []string{"keys"}})
	if err != nil {
		t.Fatal(err)
	}
	return server, p, c
}

func storedAt(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "cg:apikey:" + hex.EncodeToString(sum[:])
}

func TestAPIKeysInRedis(t *testing.T) {
	at := storedAt("the-key")
	reason := func(t *testing.T, p *Policy, key string) string {
		t.Helper()
		id, err := p.AuthenticateToken(t.Context(), key)
		if err != nil {
			return refused(t, id, err).Reason
		}
		return ""
	}
	t.Run("a key has what its hash says", func(t *testing.T) {
		server, p, _ := storedKeys(t, 0)
		ends := today.Add(time.Hour)
		server.HSet(at, "id", "k1", "user", "ada", "roles", "clerk reader", "scopes", "read", "expires", strconv.FormatInt(ends.Unix(), 10))
		id, err := p.AuthenticateToken(t.Context(), "the-key")
		want := &Identity{Provider: "keys", KeyID: "k1", User: "ada", Roles: []string{"clerk", "reader"}, Scopes: []string{"read"}, Expires: ends}
		if err != nil || !reflect.DeepEqual(plain(id), want) {
			t.Errorf("got %+v, %v", id, err)
		}
		for _, stored := range server.Keys() {
			if strings.Contains(stored, "the-key") {
				t.Errorf("Redis has the key itself: %s", stored)
			}
		}
	})
	t.Run("a key ends when it says, and one whose end nobody can read has ended", func(t *testing.T) {
		server, p, c := storedKeys(t, 0)
		server.HSet(at, "id", "k1", "expires", strconv.FormatInt(today.Add(2*time.Second).Unix(), 10))
		server.HSet(storedAt("odd"), "id", "k2", "expires", "never")
		if got := reason(t, p, "the-key") + reason(t, p, "odd"); got != "the API key has expired" {
			t.Errorf("got %q", got)
		}
		c.add(2 * time.Second)
		if got := reason(t, p, "the-key"); got != "the API key has expired" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("an announced change takes effect at once, and others when the cache time is over", func(t *testing.T) {
		server, p, c := storedKeys(t, 0)
		if got := reason(t, p, "the-key"); got != "the API key is not known" {
			t.Errorf("got %q", got)
		}
		server.HSet(at, "id", "k1")
		if got := reason(t, p, "the-key"); got != "the API key is not known" {
			t.Errorf("got %q", got)
		}
		server.Publish("cg:apikeys", "changed")
		until(t, "the new key is in force", func() bool { return reason(t, p, "the-key") == "" })
		server.Del(at)
		c.add(time.Minute - 1)
		if got := reason(t, p, "the-key"); got != "" {
			t.Errorf("got %q", got)
		}
		c.add(1)
		if got := reason(t, p, "the-key"); got != "the API key is not known" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("without Redis callers get an outage, but for known keys where that is configured", func(t *testing.T) {
		server, p, c := storedKeys(t, time.Hour)
		server.HSet(at, "id", "k1")
		if got := reason(t, p, "the-key"); got != "" {
			t.Errorf("got %q", got)
		}
		server.Close()
		c.add(time.Minute)
		if got := reason(t, p, "the-key"); got != "" {
			t.Errorf("got %q", got)
		}
		if why := refused(t, nil, second(p.AuthenticateToken(context.Background(), "another"))); !why.Unavailable {
			t.Errorf("refused with %+v", why)
		}
		c.add(time.Hour)
		if got := reason(t, p, "the-key"); got != "the API key cannot be checked now" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a key of another type is an outage", func(t *testing.T) {
		server, p, _ := storedKeys(t, 0)
		_ = server.Set(at, "text")
		if why := refused(t, nil, second(p.AuthenticateToken(t.Context(), "the-key"))); !why.Unavailable {
			t.Errorf("refused with %+v", why)
		}
	})
}
