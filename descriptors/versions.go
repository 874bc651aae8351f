package descriptors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// ErrNoVersion is what Version returns for a version that is not kept, or never was.
var ErrNoVersion = errors.New("no such version is kept")

// versionsScript returns what is known of each version and how many bytes it has.
var versionsScript = redis.NewScript(`
local versions = {}
local function add(meta, size)
  table.insert(versions, meta)
  table.insert(versions, size)
end
local current = redis.call('HGET', KEYS[2], ARGV[1])
if not current then return versions end
add(current, redis.call('HSTRLEN', KEYS[1], ARGV[1]))
local old = redis.call('HGETALL', KEYS[5])
for i = 1, #old, 2 do add(old[i + 1], redis.call('HSTRLEN', KEYS[4], old[i])) end
return versions
`)

// Versions returns the versions of a set that are kept, without their bytes, the one in force first.
func (r *Registry) Versions(ctx context.Context, name string) ([]Registered, error) {
	values, err := versionsScript.Run(ctx, r.client, r.keys(name), name).Slice()
	if err != nil {
		return nil, fmt.Errorf("descriptors: versions of %s: %w: %w", name, ErrStore, err)
	}
	if len(values) == 0 {
		return nil, ErrNotRegistered
	}
	var list []Registered
	for i := 0; i+1 < len(values); i += 2 {
		meta, _ := values[i].(string)
		v := registered(name, "", meta)
		v.Raw = nil
		v.Size, _ = values[i+1].(int64)
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Registered) int { return cmp.Compare(b.Version, a.Version) })
	return list, nil
}

// Version returns one version of a set; 0 is the one before that in force.
func (r *Registry) Version(ctx context.Context, name string, version int64) (Registered, error) {
	if version == 0 {
		list, err := r.Versions(ctx, name)
		if err != nil {
			return Registered{}, err
		}
		if len(list) < 2 {
			return Registered{}, fmt.Errorf("descriptors: %s: %w: there is none before version %d", name, ErrNoVersion, list[0].Version)
		}
		version = list[1].Version
	}
	current, err := r.Get(ctx, name)
	if err != nil || current.Version == version {
		return current, err
	}
	keys, field := r.keys(name), strconv.FormatInt(version, 10)
	pipe := r.client.TxPipeline()
	raw, meta := pipe.HGet(ctx, keys[3], field), pipe.HGet(ctx, keys[4], field)
	if _, err := pipe.Exec(ctx); errors.Is(err, redis.Nil) {
		return Registered{}, fmt.Errorf("descriptors: %s, version %d: %w", name, version, ErrNoVersion)
	} else if err != nil {
		return Registered{}, fmt.Errorf("descriptors: %s, version %d: %w: %w", name, version, ErrStore, err)
	}
	return registered(name, raw.Val(), meta.Val()), nil
}
