package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
)

// tier keeps answers in Redis, for other nodes and for this one when its memory has let them go. Whatever goes wrong there is a
// miss.
type tier struct {
	store  *Store
	client redis.UniversalClient
	prefix string
	limits atomic.Pointer[config.CacheRedis]
	queue  chan saved
	down   atomic.Int64 // until when Redis is not asked, in Unix nanoseconds
}

// saved is an answer on its way to Redis, with the marker that leads to it where there is one.
type saved struct {
	key, marker     string
	value, selected []byte
	ttl             time.Duration
}

const (
	// saveQueue is how many answers may wait to be saved; more are not.
	saveQueue = 256
	// downFor is how long Redis is not asked after it failed.
	downFor = time.Second
)

func newTier(s *Store, client redis.UniversalClient, prefix string) *tier {
	t := &tier{store: s, client: client, prefix: prefix + "cache:", queue: make(chan saved, saveQueue)}
	t.limits.Store(&config.CacheRedis{})
	return t
}

// address is where an answer is. What its key consists of is in the answer, too.
func (t *tier) address(key []byte, selected []selector) string {
	sum := sha256.New()
	sum.Write(key)
	for i := range selected {
		there := "-"
		if selected[i].there {
			there = "+"
		}
		sum.Write(appendPart(appendPart([]byte(there), selected[i].name), selected[i].value))
	}
	return t.prefix + hex.EncodeToString(sum.Sum(nil))
}

// load returns the answer to a request, nil where there is none that may be given.
func (t *tier) load(l *lookup) *entry {
	if t == nil || time.Now().UnixNano() < t.down.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.request.Context(), t.limits.Load().Timeout.Std())
	defer cancel()
	e, err := t.get(ctx, l)
	switch {
	case err == nil && e != nil:
		l.metrics.CountRedis(telemetry.CacheRedisHit)
	case err == nil || errors.Is(err, redis.Nil):
		l.metrics.CountRedis(telemetry.CacheRedisMiss)
	case errors.Is(err, errValue):
		l.metrics.CountRedis(telemetry.CacheRedisRefused)
	case l.request.Context().Err() == nil:
		t.failed(l.metrics)
	}
	return e
}

// failed has Redis left alone for a while.
func (t *tier) failed(m *telemetry.CacheMetrics) {
	t.down.Store(time.Now().Add(downFor).UnixNano())
	m.CountRedis(telemetry.CacheRedisFailed)
}

func (t *tier) get(ctx context.Context, l *lookup) (*entry, error) {
	value, err := t.client.Get(ctx, t.address(l.key, nil)).Bytes()
	if err != nil {
		return nil, err
	}
	if names, ok := decodeMarker(value); ok {
		selected, ok := l.selectors([]string{names}, l.request.Header)
		if !ok {
			return nil, errValue
		}
		if value, err = t.client.Get(ctx, t.address(l.key, selected)).Bytes(); err != nil {
			return nil, err
		}
	}
	k, err := decodeValue(value)
	if err != nil {
		return nil, err
	}
	if string(k.key) != string(l.key) || k.uri != l.uri {
		return nil, errValue
	}
	if t.store.shared.hit(k.began, k.uri, k.tags) {
		return nil, nil
	}
	return l.admit(k)
}

// admit makes an entry of what is in Redis, by the rules of an answer that a backend gives now: what is there may be another
// version's, or anybody's.
func (l *lookup) admit(k *keptValue) (*entry, error) {
	now := l.store.now()
	received := k.received
	if received.After(now) {
		received = now
	}
	a := &answer{status: k.status, header: k.header, trailer: k.trailer, requested: received, received: received, began: l.store.purges.now(), shared: k.began}
	if l.request.Call {
		code := codeOf(k.trailer)
		if a.status = transcoder.HTTPStatus(code); !isSoundCall(code, k.body) {
			return nil, errValue
		}
	}
	if l.request.Call != (k.trailer != nil) || len(k.body) > l.maxBody || !l.judge(a, l.request, l.request.Header, l.who) {
		return nil, errValue
	}
	a.age = max(a.age, k.age)
	e := l.newEntry(a, k.body)
	if e.tags == nil {
		e.tags = k.tags
	}
	return e, nil
}

// save has an entry saved, soon.
func (t *tier) save(l *lookup, e *entry) {
	limits := t.limits.Load()
	ttl := min(e.lifetime-e.age+max(e.stale.ifError, e.stale.whileRevalidate), limits.MaxTTL.Std())
	if ttl < time.Second || len(e.body) > int(limits.MaxEntrySize) {
		return
	}
	s := saved{key: t.address(l.key, e.vary), value: encodeValue(l.key, l.uri, e), ttl: ttl}
	if len(e.vary) > 0 {
		s.marker, s.selected = t.address(l.key, nil), encodeMarker(e.vary)
	}
	select {
	case t.queue <- s:
	default:
		l.metrics.CountRedis(telemetry.CacheRedisDropped)
	}
}

// write saves what waits, until the store's life ends.
func (t *tier) write() {
	for {
		select {
		case <-t.store.life.Done():
			return
		case s := <-t.queue:
			if time.Now().UnixNano() < t.down.Load() {
				continue
			}
			ctx, cancel := context.WithTimeout(t.store.life, max(tellTimeout, t.limits.Load().Timeout.Std()))
			_, err := t.client.Pipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, s.key, s.value, s.ttl)
				if s.marker != "" {
					p.Set(ctx, s.marker, s.selected, s.ttl)
				}
				return nil
			})
			cancel()
			if err != nil {
				t.down.Store(time.Now().Add(downFor).UnixNano())
			}
		}
	}
}

// keptValue is an answer as it is in Redis.
type keptValue struct {
	key      []byte
	uri      string
	began    position
	status   int
	received time.Time
	age      time.Duration
	tags     []string
	header   http.Header
	trailer  []field
	body     []byte
}
