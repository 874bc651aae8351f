package auth

import (
	"context"
	"encoding/hex"
	"maps"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
)

// keyVerifier knows API keys by their SHA-256: what the timing of a lookup tells of a digest, which nobody can choose, says
// nothing of the key. They are in the configuration, in a file that is watched, and in Redis.
type keyVerifier struct {
	held
	provider string
	config   *config.APIKeys
	given    map[digest]*Identity // in the configuration
	known    atomic.Pointer[map[digest]*Identity]
	redis    *redisKeys               // nil for none
	watcher  *descriptors.FileWatcher // nil for none
	now      func() time.Time
}

func newKeyVerifier(provider string, cfg *config.APIKeys, o *Options) (*keyVerifier, error) {
	v := &keyVerifier{provider: provider, config: cfg, given: map[digest]*Identity{}, now: time.Now}
	v.hold()
	if err := v.add(v.given, cfg.Keys); err != nil {
		return nil, err
	}
	v.known.Store(&v.given)
	if cfg.File != "" {
		var err error
		if v.watcher, err = watchFile(string(cfg.File), v.load, func(err error) {
			o.Logger.Error("API keys refused; the old ones stay in force", "provider", provider, "error", err.Error())
		}); err != nil {
			return nil, err
		}
	}
	if cfg.Redis {
		v.redis = newRedisKeys(provider, cfg, o)
	}
	return v, nil
}

// load reads the file of keys.
func (v *keyVerifier) load() error {
	list, err := config.LoadAPIKeys(string(v.config.File))
	if err != nil {
		return err
	}
	all := maps.Clone(v.given)
	if err := v.add(all, list); err != nil {
		return err
	}
	v.known.Store(&all)
	return nil
}

func (v *keyVerifier) add(to map[digest]*Identity, list []config.APIKey) error {
	for i := range list {
		k := &list[i]
		d := digestOf(k.Key.Reveal())
		if k.SHA256 != "" {
			raw, err := hex.DecodeString(k.SHA256)
			if err != nil || len(raw) != len(d) {
				return config.Errorf(k.Pos, "api key %s: sha256 is not 64 hexadecimal digits", k.ID)
			}
			d = digest(raw)
		}
		if other := to[d]; other != nil {
			return config.Errorf(k.Pos, "api key %s is the same as %s", k.ID, other.KeyID)
		}
		user := k.User
		if user == "" {
			user = k.ID
		}
		id := &Identity{Provider: v.provider, User: user, KeyID: k.ID, Roles: k.Roles, Scopes: k.Scopes, Expires: k.Ends()}
		to[d] = id.seal()
	}
	return nil
}

func (v *keyVerifier) recall(d digest) *Identity {
	id := (*v.known.Load())[d]
	if id == nil {
		if v.redis == nil {
			return nil
		}
		return v.redis.recall(d)
	}
	if !id.Expires.IsZero() && !v.now().Before(id.Expires) {
		return nil
	}
	return id
}

func (v *keyVerifier) verify(ctx context.Context, d digest, credential string) (*Identity, error) {
	if (*v.known.Load())[d] != nil {
		return nil, errKeyExpired
	}
	if v.redis != nil {
		return v.redis.verify(ctx, d, credential)
	}
	return nil, errNoKey
}

var (
	errNoKey      = &notMine{"the API key is not known"}
	errKeyExpired = &notMine{"the API key has expired"}
)

func (v *keyVerifier) close() {
	if !v.letGo() {
		return
	}
	if v.watcher != nil {
		v.watcher.Close()
	}
	if v.redis != nil {
		v.redis.close()
	}
}
