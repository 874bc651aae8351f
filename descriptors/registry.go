package descriptors

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// MaxSetSize is the largest FileDescriptorSet that can be registered.
const MaxSetSize = 32 << 20

const (
	// registryPoll is how often the registry's version is compared, which finds changes whose notice was lost.
	registryPoll = 5 * time.Second
	// registryRetry is how soon it is compared again while Redis does not answer.
	registryRetry = 500 * time.Millisecond
	// registryTimeout bounds one question to Redis.
	registryTimeout = 5 * time.Second
)

// ErrNotRegistered is what Get and Delete return for a name that is not there.
var ErrNotRegistered = errors.New("no descriptor set of that name is registered")

// ErrStore is what a failure of Redis is, as against one of a set.
var ErrStore = errors.New("redis cannot be asked")

// Registered is one registered set.
type Registered struct {
	Name    string
	Raw     []byte // a serialized google.protobuf.FileDescriptorSet
	SHA256  string // of Raw, hexadecimal
	Version int64  // counts the registrations of the name
	Created time.Time
}

// Registry keeps registered sets in Redis, where every node that shares it finds them. It is safe for concurrent use.
//
// Keys, below the prefix: {descriptors}:sets, a hash of name to bytes; {descriptors}:meta, a hash of name to
// "version unix-milliseconds sha256"; {descriptors}:version, a counter of changes; and the channel {descriptors}:changed.
type Registry struct {
	client  redis.UniversalClient
	sets    string
	meta    string
	version string
	changed string
}

// NewRegistry returns the registry whose keys begin with prefix.
func NewRegistry(client redis.UniversalClient, prefix string) *Registry {
	// The braces keep the keys in one slot of a Redis Cluster, as the scripts need.
	p := prefix + "{descriptors}:"
	return &Registry{client: client, sets: p + "sets", meta: p + "meta", version: p + "version", changed: p + "changed"}
}

var setName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// CheckName reports what is wrong with the name of a set.
func CheckName(name string) error {
	if !setName.MatchString(name) {
		return fmt.Errorf("the name of a descriptor set is 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit; %q is not", name)
	}
	return nil
}

var putScript = redis.NewScript(`
local v = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local old = redis.call('HGET', KEYS[2], ARGV[1])
local n = 1
if old then n = tonumber(string.match(old, '^%d+')) + 1 end
redis.call('HSET', KEYS[2], ARGV[1], n .. ' ' .. ARGV[3])
redis.call('PUBLISH', ARGV[4], v)
return n
`)

var deleteScript = redis.NewScript(`
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[2], redis.call('INCR', KEYS[3]))
return 1
`)

// Put registers a set under a name, in place of what was there, and tells the other nodes. It looks at the name and the
// size only: whether the set compiles is for Loader.LoadWith to say first.
func (r *Registry) Put(ctx context.Context, name string, raw []byte) (Registered, error) {
	if err := CheckName(name); err != nil {
		return Registered{}, err
	}
	if len(raw) > MaxSetSize {
		return Registered{}, fmt.Errorf("descriptors: register %s: %d bytes, expected at most %d", name, len(raw), MaxSetSize)
	}
	sum := sha256.Sum256(raw)
	set := Registered{Name: name, Raw: raw, SHA256: hex.EncodeToString(sum[:]), Created: time.Now().UTC().Truncate(time.Millisecond)}
	meta := strconv.FormatInt(set.Created.UnixMilli(), 10) + " " + set.SHA256
	n, err := putScript.Run(ctx, r.client, []string{r.sets, r.meta, r.version}, name, raw, meta, r.changed).Int64()
	if err != nil {
		return set, fmt.Errorf("descriptors: register %s: %w: %w", name, ErrStore, err)
	}
	set.Version = n
	return set, nil
}

// Delete removes a set and tells the other nodes.
func (r *Registry) Delete(ctx context.Context, name string) error {
	n, err := deleteScript.Run(ctx, r.client, []string{r.sets, r.meta, r.version}, name, r.changed).Int()
	if err != nil {
		return fmt.Errorf("descriptors: delete %s: %w: %w", name, ErrStore, err)
	}
	if n == 0 {
		return ErrNotRegistered
	}
	return nil
}

// Get returns the set registered under a name.
func (r *Registry) Get(ctx context.Context, name string) (Registered, error) {
	pipe := r.client.TxPipeline()
	raw, meta := pipe.HGet(ctx, r.sets, name), pipe.HGet(ctx, r.meta, name)
	if _, err := pipe.Exec(ctx); errors.Is(err, redis.Nil) {
		return Registered{}, ErrNotRegistered
	} else if err != nil {
		return Registered{}, fmt.Errorf("descriptors: get %s: %w: %w", name, ErrStore, err)
	}
	return registered(name, raw.Val(), meta.Val()), nil
}

// registered puts together what Redis holds of a set.
func registered(name, raw, meta string) Registered {
	set := Registered{Name: name, Raw: []byte(raw)}
	var ms int64
	// What does not parse leaves zero values: the set itself is what counts.
	_, _ = fmt.Sscanf(meta, "%d %d %s", &set.Version, &ms, &set.SHA256)
	set.Created = time.UnixMilli(ms).UTC()
	return set
}

// List returns every registered set, sorted by name.
func (r *Registry) List(ctx context.Context) ([]Registered, error) {
	pipe := r.client.TxPipeline()
	sets, metas := pipe.HGetAll(ctx, r.sets), pipe.HGetAll(ctx, r.meta)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("descriptors: list registered sets: %w: %w", ErrStore, err)
	}
	var list []Registered
	for name, raw := range sets.Val() {
		list = append(list, registered(name, raw, metas.Val()[name]))
	}
	slices.SortFunc(list, func(a, b Registered) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// Watch calls changed whenever the registered sets may have changed, until ctx ends: once at first, because of what may
// have come since they were listed, on a notice from the node that changed them, when Redis is back after it was gone,
// and when a notice was lost, within seconds.
func (r *Registry) Watch(ctx context.Context, changed func()) {
	notices := r.client.Subscribe(ctx, r.changed)
	defer notices.Close()
	// The end of ctx alone does not wake a reader that waits for a notice.
	defer context.AfterFunc(ctx, func() { notices.Close() })()
	var known string
	for up := false; ctx.Err() == nil; {
		now, err := r.current(ctx)
		if err == nil && (now != known || !up) {
			known = now
			changed()
		}
		up = err == nil
		// A notice only wakes; what counts is the version.
		_, err = notices.ReceiveTimeout(ctx, registryPoll)
		var slow net.Error
		if err == nil || errors.As(err, &slow) && slow.Timeout() {
			continue
		}
		// The subscription is broken, or refused: it fails at once then, and is not to be asked for without a pause.
		select {
		case <-time.After(registryRetry):
		case <-ctx.Done():
		}
	}
}

func (r *Registry) current(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	v, err := r.client.Get(ctx, r.version).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return v, err
}
