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

// ErrChanged is what Put and Delete return when the registered sets have changed since the revision they were given.
var ErrChanged = errors.New("the registered sets have changed meanwhile")

// Registered is one version of a registered set.
type Registered struct {
	Name    string
	Raw     []byte // a serialized google.protobuf.FileDescriptorSet; nil in a list of versions
	Size    int64  // of Raw
	SHA256  string // of Raw, hexadecimal
	Version int64  // counts the registrations of the name
	Created time.Time
}

// Unregistered describes a set that is not stored: it has neither version nor time.
func Unregistered(name string, raw []byte) *Registered {
	sum := sha256.Sum256(raw)
	return &Registered{Name: name, Raw: raw, Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:])}
}

// Revision counts the changes of all registered sets together.
type Revision int64

// Registry keeps registered sets in Redis, where every node that shares it finds them. It is safe for concurrent use.
//
// Keys, below the prefix: {descriptors}:sets, a hash of name to bytes; {descriptors}:meta, a hash of name to
// "version unix-milliseconds sha256"; {descriptors}:old:<name> and {descriptors}:oldmeta:<name>, the same of the versions
// before, by number; {descriptors}:version, a counter of changes; and the channel {descriptors}:changed.
type Registry struct {
	client  redis.UniversalClient
	keep    int
	prefix  string
	sets    string
	meta    string
	version string
	changed string
}

// NewRegistry returns the registry whose keys begin with prefix. It keeps so many versions of each set, the one in force
// among them.
func NewRegistry(client redis.UniversalClient, prefix string, keep int) *Registry {
	// The braces keep the keys in one slot of a Redis Cluster, as the scripts need.
	p := prefix + "{descriptors}:"
	return &Registry{client: client, keep: keep, prefix: p, sets: p + "sets", meta: p + "meta", version: p + "version", changed: p + "changed"}
}

// keys are what a script about one set needs.
func (r *Registry) keys(name string) []string {
	return []string{r.sets, r.meta, r.version, r.prefix + "old:" + name, r.prefix + "oldmeta:" + name}
}

var setName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// CheckName reports what is wrong with the name of a set.
func CheckName(name string) error {
	if !setName.MatchString(name) {
		return fmt.Errorf("the name of a descriptor set is 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit; %q is not", name)
	}
	return nil
}

// putScript puts a version in force and what was in force among the old ones. It returns what is in force then, or
// nothing when the revision is not the one that was asked for.
var putScript = redis.NewScript(`
local name, raw, created, sum, channel, revision, keep = unpack(ARGV)
if revision ~= (redis.call('GET', KEYS[3]) or '0') then return false end
local old = redis.call('HGET', KEYS[2], name)
local n = 1
if old then
  local number, oldsum = string.match(old, '^(%d+) %d+ (%x+)$')
  if oldsum == sum then return old end
  n = tonumber(number) + 1
  redis.call('HSET', KEYS[4], number, redis.call('HGET', KEYS[1], name))
  redis.call('HSET', KEYS[5], number, old)
  for _, v in ipairs(redis.call('HKEYS', KEYS[5])) do
    if tonumber(v) <= n - tonumber(keep) then
      redis.call('HDEL', KEYS[4], v)
      redis.call('HDEL', KEYS[5], v)
    end
  end
end
local meta = n .. ' ' .. created .. ' ' .. sum
redis.call('HSET', KEYS[1], name, raw)
redis.call('HSET', KEYS[2], name, meta)
redis.call('PUBLISH', channel, redis.call('INCR', KEYS[3]))
return meta
`)

var deleteScript = redis.NewScript(`
local name, channel, revision = unpack(ARGV)
if redis.call('HEXISTS', KEYS[1], name) == 0 then return 0 end
if revision ~= (redis.call('GET', KEYS[3]) or '0') then return -1 end
redis.call('HDEL', KEYS[1], name)
redis.call('HDEL', KEYS[2], name)
redis.call('DEL', KEYS[4], KEYS[5])
redis.call('PUBLISH', channel, redis.call('INCR', KEYS[3]))
return 1
`)

// Put registers a set under a name, in place of what was there, and tells the other nodes. The same bytes as those in
// force change nothing. It looks at the name and the size only: whether the set compiles is for Loader.LoadWith to say
// first, whose revision Put takes: two changes at once cannot both pass then.
func (r *Registry) Put(ctx context.Context, name string, raw []byte, at Revision) (Registered, error) {
	if err := CheckName(name); err != nil {
		return Registered{}, err
	}
	if len(raw) > MaxSetSize {
		return Registered{}, fmt.Errorf("descriptors: register %s: %d bytes, expected at most %d", name, len(raw), MaxSetSize)
	}
	sum := sha256.Sum256(raw)
	meta, err := putScript.Run(ctx, r.client, r.keys(name), name, raw, time.Now().UnixMilli(), hex.EncodeToString(sum[:]), r.changed,
		int64(at), r.keep).Text()
	switch {
	case errors.Is(err, redis.Nil):
		return Registered{}, ErrChanged
	case err != nil:
		return Registered{}, fmt.Errorf("descriptors: register %s: %w: %w", name, ErrStore, err)
	}
	return registered(name, string(raw), meta), nil
}

// Delete removes a set with all its versions and tells the other nodes.
func (r *Registry) Delete(ctx context.Context, name string, at Revision) error {
	n, err := deleteScript.Run(ctx, r.client, r.keys(name), name, r.changed, int64(at)).Int()
	switch {
	case err != nil:
		return fmt.Errorf("descriptors: delete %s: %w: %w", name, ErrStore, err)
	case n == 0:
		return ErrNotRegistered
	case n < 0:
		return ErrChanged
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
	set := Registered{Name: name, Raw: []byte(raw), Size: int64(len(raw))}
	var ms int64
	// What does not parse leaves zero values: the set itself is what counts.
	_, _ = fmt.Sscanf(meta, "%d %d %s", &set.Version, &ms, &set.SHA256)
	set.Created = time.UnixMilli(ms).UTC()
	return set
}

// List returns every registered set, sorted by name, and the revision that they are.
func (r *Registry) List(ctx context.Context) ([]Registered, Revision, error) {
	pipe := r.client.TxPipeline()
	sets, metas, revision := pipe.HGetAll(ctx, r.sets), pipe.HGetAll(ctx, r.meta), pipe.Get(ctx, r.version)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, 0, fmt.Errorf("descriptors: list registered sets: %w: %w", ErrStore, err)
	}
	var list []Registered
	for name, raw := range sets.Val() {
		list = append(list, registered(name, raw, metas.Val()[name]))
	}
	slices.SortFunc(list, func(a, b Registered) int { return cmp.Compare(a.Name, b.Name) })
	at, _ := revision.Int64() // 0 before the first change
	return list, Revision(at), nil
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
