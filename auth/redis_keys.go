package auth

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
)

const (
	// redisLookups is how many keys are looked up at once.
	redisLookups = 64
	// resubscribe is how long a broken subscription to changes waits before it is tried again.
	resubscribe = time.Second
)

// redisKeys looks API keys up in Redis: apikey:<SHA-256 in lower-case hexadecimal> is a hash with id and, as they are needed,
// user, roles and scopes as words, and expires in Unix seconds. Who changes one publishes anything to the channel apikeys, and
// every node forgets what it remembers.
type redisKeys struct {
	lookup
	provider string
	client   redis.UniversalClient
	prefix   string
}

func newRedisKeys(provider string, cfg *config.APIKeys, o *Options) *redisKeys {
	k := &redisKeys{provider: provider, client: o.Redis, prefix: o.Prefix}
	k.lookup.begin(lookupOptions{
		find: k.get, known: cfg.CacheTime.Std(), refused: cfg.NegativeCacheTime.Std(), stale: cfg.StaleTime.Std(),
		timeout: cfg.Timeout.Std(), concurrent: redisLookups, cannotTell: &outage{"the API key cannot be checked now"},
	})
	if k.client != nil {
		k.running.Go(k.listen)
	}
	return k
}

func (k *redisKeys) get(ctx context.Context, d digest, _ string) (*Identity, error) {
	if k.client == nil {
		return nil, k.cannotTell
	}
	fields, err := k.client.HGetAll(ctx, k.prefix+"apikey:"+hex.EncodeToString(d[:])).Result()
	if err != nil {
		return nil, k.cannotTell
	}
	id := &Identity{
		Provider: k.provider, KeyID: fields["id"], User: fields["user"],
		Roles: strings.Fields(fields["roles"]), Scopes: strings.Fields(fields["scopes"]),
	}
	if id.KeyID == "" {
		return nil, errNoKey
	}
	if id.User == "" {
		id.User = id.KeyID
	}
	if text := fields["expires"]; text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errKeyExpired // what nobody can read must not mean forever
		}
		id.Expires = time.Unix(seconds, 0)
		if !k.now().Before(id.Expires) {
			return nil, errKeyExpired
		}
	}
	return id.seal(), nil
}

// listen forgets what is remembered whenever a change is announced, and whenever announcements may have been missed. It
// ends with close.
func (k *redisKeys) listen() {
	changes := k.client.Subscribe(k.closing, k.prefix+"apikeys")
	defer changes.Close()
	stop := context.AfterFunc(k.closing, func() { changes.Close() }) // a read does not heed the context
	defer stop()
	for k.closing.Err() == nil {
		got, err := changes.Receive(k.closing)
		if err != nil {
			select {
			case <-k.closing.Done():
			case <-time.After(resubscribe):
			}
			continue
		}
		switch got.(type) {
		case *redis.Subscription, *redis.Message:
			k.forget()
		}
	}
}
