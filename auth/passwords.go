package auth

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
)

const (
	// maxPassword is all that bcrypt looks at.
	maxPassword = 72
	// maxBcryptCost bounds what one check takes: a second or so.
	maxBcryptCost = 14
	// maxHtpasswd bounds the file, about a hundred thousand users.
	maxHtpasswd = 16 << 20
)

// passwords verifies users and passwords of an htpasswd file. A check is slow on purpose: what was found is remembered, equal
// checks are one, and few are made at once.
type passwords struct {
	held
	lookup
	provider string
	config   *config.Basic
	granted  map[string]*config.BasicUser
	users    atomic.Pointer[map[string][]byte] // hashes
	decoy    atomic.Pointer[[]byte]            // a hash to check the passwords of nobody against
	watcher  *descriptors.FileWatcher
}

var (
	errPassword     = &notMine{"the user or the password is wrong"}
	errNotBasic     = &notMine{"the credential is not a user and a password"}
	errTooManyTries = &outage{"too many passwords are being checked"}
)

func newPasswords(provider string, cfg *config.Basic, o *Options) (*passwords, error) {
	v := &passwords{provider: provider, config: cfg, granted: map[string]*config.BasicUser{}}
	for i := range cfg.Users {
		v.granted[cfg.Users[i].Name] = &cfg.Users[i]
	}
	v.lookup.begin(lookupOptions{
		find: v.check, known: cfg.CacheTime.Std(), refused: cfg.NegativeCacheTime.Std(), timeout: cfg.Timeout.Std(),
		concurrent: cfg.MaxConcurrent, cannotTell: errTooManyTries,
	})
	v.hold()
	var err error
	if v.watcher, err = watchFile(string(cfg.Htpasswd), v.load, func(err error) {
		o.Logger.Error("passwords refused; the old ones stay in force", "provider", provider, "error", err.Error())
	}); err != nil {
		v.lookup.close()
		return nil, err
	}
	return v, nil
}

// load reads the file, and forgets what is remembered of the old one.
func (v *passwords) load() error {
	raw, err := os.ReadFile(string(v.config.Htpasswd))
	if err != nil {
		return err
	}
	users, decoy, err := parseHtpasswd(raw)
	if err != nil {
		return fmt.Errorf("%s:%w", v.config.Htpasswd, err)
	}
	v.users.Store(&users)
	v.decoy.Store(&decoy)
	v.forget()
	return nil
}

// parseHtpasswd reads lines user:hash. The errors begin with the line's number, and have nothing of the line. The decoy is
// one of the most expensive hashes.
func parseHtpasswd(raw []byte) (users map[string][]byte, decoy []byte, err error) {
	if len(raw) > maxHtpasswd {
		return nil, nil, fmt.Errorf(" the file has more than %d bytes", maxHtpasswd)
	}
	users = map[string][]byte{}
	most := 0
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case !ok || user == "" || !utf8.ValidString(user):
			return nil, nil, fmt.Errorf("%d: expected user:hash", n)
		case err != nil:
			return nil, nil, fmt.Errorf("%d: expected a bcrypt hash, as htpasswd -B makes it", n)
		case cost > maxBcryptCost:
			return nil, nil, fmt.Errorf("%d: the cost %d of the hash is too high; the most is %d", n, cost, maxBcryptCost)
		case users[user] != nil:
			return nil, nil, fmt.Errorf("%d: the user is there twice", n)
		}
		users[user] = []byte(hash)
		if cost > most {
			most, decoy = cost, []byte(hash)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf(" %w", err)
	}
	return users, decoy, nil
}

// check takes a processor for the hash's time. Of a user that is not there it takes as long.
func (v *passwords) check(_ context.Context, _ digest, credential string) (*Identity, error) {
	user, password, err := userAndPassword(credential)
	if err != nil {
		return nil, err
	}
	hash, known := (*v.users.Load())[user]
	if !known {
		hash = *v.decoy.Load()
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !known {
		if decoy := *v.decoy.Load(); known && costs(hash) < costs(decoy) {
			_ = bcrypt.CompareHashAndPassword(decoy, []byte(password)) // or the time would tell who has a cheaper hash
		}
		return nil, errPassword
	}
	id := &Identity{Provider: v.provider, User: user}
	if granted := v.granted[user]; granted != nil {
		id.Roles, id.Scopes = granted.Roles, granted.Scopes
	}
	return id.seal(), nil
}

// costs is what a check of a hash that was parsed takes, as the power of two.
func costs(hash []byte) int {
	n, _ := bcrypt.Cost(hash)
	return n
}

// userAndPassword decodes what stands after Basic (RFC 7617 section 2).
func userAndPassword(credential string) (user, password string, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(credential)
	if err != nil || !utf8.Valid(raw) {
		return "", "", errNotBasic
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok || strings.ContainsFunc(string(raw), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", "", errNotBasic
	}
	if len(password) > maxPassword {
		return "", "", errors.New("the password is longer than 72 bytes")
	}
	return user, password, nil
}

func (v *passwords) verify(ctx context.Context, d digest, credential string) (*Identity, error) {
	if _, _, err := userAndPassword(credential); err != nil {
		return nil, err
	}
	return v.lookup.verify(ctx, d, credential)
}

func (v *passwords) close() {
	if v.letGo() {
		v.watcher.Close()
		v.lookup.close()
	}
}
