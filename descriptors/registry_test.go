package descriptors

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
)

// clientOf returns a client of its own of a server.
func clientOf(s *redistest.Server) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Address, MaxRetries: -1, DialerRetries: 1})
}

// patience is how long a test waits for what is to come. A machine that is busy may take seconds over anything.
const patience = time.Minute

// eventually waits for a condition that another process or goroutine brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// put registers a set whatever the revision is.
func put(ctx context.Context, r *Registry, name string, raw []byte) (Registered, error) {
	for {
		_, at, err := r.List(ctx)
		if err != nil {
			return Registered{}, err
		}
		if set, err := r.Put(ctx, name, raw, at); !errors.Is(err, ErrChanged) {
			return set, err
		}
	}
}

// remove deletes a set at the revision that is now.
func remove(ctx context.Context, r *Registry, name string) error {
	_, at, err := r.List(ctx)
	if err != nil {
		return err
	}
	return r.Delete(ctx, name, at)
}

// watching runs a watcher until stop, and returns what waits to be told of something.
func watching(t *testing.T, r *Registry) (told func(what string), stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	notices, ended := make(chan struct{}, 10), make(chan struct{})
	go func() {
		defer close(ended)
		r.Watch(ctx, func() { notices <- struct{}{} })
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return func(what string) {
		t.Helper()
		select {
		case <-notices:
		case <-time.After(patience):
			t.Fatalf("not told of %s", what)
		}
	}, stop
}

func TestTheRegistryOnARealRedis(t *testing.T) {
	client := clientOf(redistest.Start(t))
	defer client.Close()
	ctx := context.Background()
	r := NewRegistry(client, "cg:", 3)
	raw := []byte{0, 1, '\r', '\n', 0xff}

	if _, err := r.Get(ctx, "a"); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("before it is there: error %v", err)
	}
	first, err := put(ctx, r, "a", raw)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Get(ctx, "a")
	if err != nil || !bytes.Equal(got.Raw, raw) || got.SHA256 != first.SHA256 || got.Version != 1 || !got.Created.Equal(first.Created) {
		t.Errorf("%+v, %v; want %+v", got, err, first)
	}
	if err := remove(ctx, r, "a"); err != nil {
		t.Error(err)
	}
	if list, _, err := r.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if keys := client.Keys(ctx, "*").Val(); len(keys) != 1 || keys[0] != "cg:{descriptors}:version" {
		t.Errorf("what is left of a deleted set: %v", keys)
	}
}

func TestRegistrationsOfOneNameAtOnceEachCount(t *testing.T) {
	client := clientOf(redistest.Start(t))
	defer client.Close()
	r := NewRegistry(client, "cg:", 3)
	var putting sync.WaitGroup
	for i := range 20 {
		putting.Go(func() {
			if _, err := put(context.Background(), r, "a", []byte(strconv.Itoa(i))); err != nil {
				t.Error(err)
			}
		})
	}
	putting.Wait()
	if got, err := r.Get(context.Background(), "a"); err != nil || got.Version != 20 {
		t.Errorf("version %d, want 20; %v", got.Version, err)
	}
}

func TestPutRefusesNamesAndSizesBeforeItAsksRedis(t *testing.T) {
	r := NewRegistry(nil, "cg:", 3)
	if _, err := r.Put(context.Background(), "../etc", nil, 0); err == nil || !strings.Contains(err.Error(), `"../etc"`) {
		t.Errorf("error %v", err)
	}
	if _, err := r.Put(context.Background(), "a", make([]byte, MaxSetSize+1), 0); err == nil || !strings.Contains(err.Error(), "at most 33554432") {
		t.Errorf("error %v", err)
	}
}

func TestAWatcherHearsFromAnotherNodeWithinASecondAndStops(t *testing.T) {
	server := redistest.Start(t)
	one, two := clientOf(server), clientOf(server)
	defer one.Close()
	defer two.Close()
	ctx := context.Background()
	told, stop := watching(t, NewRegistry(two, "cg:", 3))
	told("what may have come before")
	eventually(t, "the watcher subscribes", func() bool {
		return one.PubSubNumSub(ctx, "cg:{descriptors}:changed").Val()["cg:{descriptors}:changed"] == 1
	})
	// Sooner than a watcher that only polls would be, of which the quickest of some counts.
	eventually(t, "told within a second", func() bool {
		begun := time.Now()
		if _, err := put(ctx, NewRegistry(one, "cg:", 3), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		told("a registration")
		return time.Since(begun) < time.Second
	})
	stop()
}

func TestANoticeThatIsLostIsMadeUpFor(t *testing.T) {
	server := redistest.Start(t)
	client := clientOf(server)
	defer client.Close()
	ctx := context.Background()
	told, stop := watching(t, NewRegistry(client, "cg:", 3))
	defer stop()
	told("what may have come before")
	// The version alone, as when the notice went to a connection that was just gone.
	if err := client.Incr(ctx, "cg:{descriptors}:version").Err(); err != nil {
		t.Fatal(err)
	}
	told("a version without a notice")
}

func TestANodeThatStartsWithoutRedisIsToldWhenItComes(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	client := clientOf(server)
	defer client.Close()
	told := make(chan struct{}, 10)
	l := loader(t, "", NewRegistry(client, "cg:", 3), nil, func() { told <- struct{}{} })
	set, err := l.Load(context.Background())
	if err != nil || len(set.Pending) != 1 || !strings.Contains(set.Pending[0], "registered sets") {
		t.Fatalf("with Redis down: %+v, %v", set, err)
	}
	if err := l.Watch(); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server.Restart()
	if _, err := put(context.Background(), NewRegistry(client, "cg:", 3), "a", marshal(t, service("a.proto", "a.v1", "A"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the set is loaded", func() bool {
		select {
		case <-told:
			set, err = l.Load(context.Background())
			return err == nil && len(set.Pending) == 0 && set.Service("a.v1.A") != nil
		default:
			return false
		}
	})
}
