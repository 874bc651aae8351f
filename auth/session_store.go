package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// storedSession is what Redis has of a session, sealed.
type storedSession struct {
	Claims  map[string]any `json:"claims"` // of the ID token
	IDToken string         `json:"id_token"`
	Refresh string         `json:"refresh,omitempty"` // the refresh token
	Due     int64          `json:"due,omitempty"`     // when the access token ends, in Unix seconds; 0 for never
	Born    int64          `json:"born"`
	Ends    int64          `json:"ends"`
}

// sessionStore has sessions in Redis by the SHA-256 of their ids, so that who reads Redis can neither be a user nor read of
// one. session:<name> is the session, sessions-of:<hash> the names of those of one subject or one session of the
// provider's, by which it ends them, sorted by when they end at the latest.
type sessionStore struct {
	client   redis.UniversalClient // nil where there is none
	prefix   string
	issuer   string
	keys     keyring
	idle     time.Duration
	lifetime time.Duration
}

var (
	// errNoSession is said of a session that has ended, or never was.
	errNoSession = errors.New("the session has ended")
	errNoRedis   = errors.New("there is no Redis")
)

const sealedSession = "session "

// sessionName is what a session is called everywhere but in its cookie.
func sessionName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

func (s *sessionStore) key(name string) string { return s.prefix + "session:" + name }

// ofKey is where the names of the sessions are that have a claim, sub or sid.
func (s *sessionStore) ofKey(claim, value string) string {
	sum := sha256.Sum256([]byte(s.issuer + "\x00" + claim + "\x00" + value))
	return s.prefix + "sessions-of:" + hex.EncodeToString(sum[:])
}

// ofKeys are all of them for one session.
func (s *sessionStore) ofKeys(one *storedSession) []string {
	var keys []string
	for _, claim := range []string{"sub", "sid"} {
		if value, ok := one.Claims[claim].(string); ok {
			keys = append(keys, s.ofKey(claim, value))
		}
	}
	return keys
}

// create stores a new session.
func (s *sessionStore) create(ctx context.Context, name string, one *storedSession) error {
	if s.client == nil {
		return errNoRedis
	}
	sealed, err := s.seal(name, one)
	if err != nil {
		return err
	}
	pipe := s.client.Pipeline()
	pipe.SetNX(ctx, s.key(name), sealed, s.idle)
	for _, of := range s.ofKeys(one) {
		pipe.ZRemRangeByScore(ctx, of, "-inf", strconv.FormatInt(one.Born, 10)) // of sessions that nobody has ended
		pipe.ZAdd(ctx, of, redis.Z{Score: float64(one.Ends), Member: name})
		pipe.Expire(ctx, of, s.lifetime)
	}
	_, err = pipe.Exec(ctx)
	return err
}

// replace stores a session anew. It reports false for one that has ended meanwhile.
func (s *sessionStore) replace(ctx context.Context, name string, one *storedSession) (bool, error) {
	sealed, err := s.seal(name, one)
	if err != nil {
		return false, err
	}
	return s.client.SetXX(ctx, s.key(name), sealed, s.idle).Result()
}

func (s *sessionStore) seal(name string, one *storedSession) ([]byte, error) {
	text, err := json.Marshal(one)
	if err != nil {
		return nil, err
	}
	return s.keys.seal(sealedSession+name, text), nil
}

// get returns a session, and has it last for its idle time from now on. The error is errNoSession, or what keeps Redis from
// telling.
func (s *sessionStore) get(ctx context.Context, name string) (*storedSession, error) {
	if s.client == nil {
		return nil, errNoRedis
	}
	sealed, err := s.client.GetEx(ctx, s.key(name), s.idle).Bytes()
	if err == redis.Nil {
		return nil, errNoSession
	}
	if err != nil {
		return nil, err
	}
	text, ok := s.keys.open(sealedSession+name, sealed)
	one := new(storedSession)
	if !ok || json.Unmarshal(text, one) != nil {
		return nil, errNoSession
	}
	return one, nil
}

func (s *sessionStore) remove(ctx context.Context, name string, one *storedSession) error {
	pipe := s.client.Pipeline()
	pipe.Del(ctx, s.key(name))
	for _, of := range s.ofKeys(one) {
		pipe.ZRem(ctx, of, name)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// removeOf ends the sessions that have a claim, and returns their names.
func (s *sessionStore) removeOf(ctx context.Context, claim, value string) ([]string, error) {
	if s.client == nil {
		return nil, errNoRedis
	}
	of := s.ofKey(claim, value)
	names, err := s.client.ZRange(ctx, of, 0, -1).Result()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.client.Del(ctx, s.key(name)).Err(); err != nil {
			return nil, err
		}
	}
	return names, s.client.Del(ctx, of).Err()
}

// once reports whether something is done for the first time in a while.
func (s *sessionStore) once(ctx context.Context, what string, within time.Duration) (bool, error) {
	if s.client == nil {
		return false, errNoRedis
	}
	return s.client.SetNX(ctx, s.prefix+what, 1, within).Result()
}

// again takes back that something was done, which was not after all.
func (s *sessionStore) again(ctx context.Context, what string) {
	_ = s.client.Del(context.WithoutCancel(ctx), s.prefix+what).Err() // what is left ends by itself
}
