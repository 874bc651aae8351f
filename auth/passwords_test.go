package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/crossgate/crossgate/config"
)

func htpasswd(t testing.TB, users ...string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# users\n\n")
	for _, u := range users {
		name, password, _ := strings.Cut(u, ":")
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s:%s\n", name, strings.Replace(string(hash), "$2a$", "$2y$", 1))
	}
	return b.String()
}

func basic(credential string) request {
	return request{header: map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(credential))}}
}

// passwordPolicy is a policy over a file of users.
func passwordPolicy(t testing.TB, text string, change func(*config.Basic)) (*Policy, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &config.Basic{
		Htpasswd: config.Path(file), Realm: "shop", CacheTime: config.Duration(time.Minute), NegativeCacheTime: config.Duration(time.Minute),
		MaxConcurrent: 2, Timeout: config.Duration(patience), Users: []config.BasicUser{{Name: "ada", Roles: []string{"clerk"}, Scopes: []string{"read"}}},
	}
	if change != nil {
		change(c)
	}
	return policy(t, config.AuthProvider{Name: "people", Basic: c}), file
}

func TestPasswords(t *testing.T) {
	long := strings.Repeat("p", maxPassword)
	p, file := passwordPolicy(t, htpasswd(t, "ada:pass:word", "bob:"+long, "zoë:ключ"), nil)
	for _, c := range []struct{ name, credential, reason string }{
		{"a user's password, which may have colons", "ada:pass:word", ""},
		{"a password of 72 bytes", "bob:" + long, ""},
		{"a user and a password in UTF-8", "zoë:ключ", ""},
		{"a wrong password", "ada:word", "the user or the password is wrong"},
		{"another user's password", "bob:pass:word", "the user or the password is wrong"},
		{"nobody's password", "eve:pass:word", "the user or the password is wrong"},
		{"a user in another case", "Ada:pass:word", "the user or the password is wrong"},
		{"an empty password", "ada:", "the user or the password is wrong"},
		{"a password that begins as a long one does", "bob:" + long + "p", "the password is longer than 72 bytes"},
		{"no colon", "ada", "the credential is not a user and a password"},
		{"a control character", "ada:pass\x00word", "the credential is not a user and a password"},
		{"no UTF-8", "ada:\xff", "the credential is not a user and a password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, _, err := p.Authenticate(t.Context(), basic(c.credential))
			if c.reason == "" {
				if err != nil || !strings.HasPrefix(c.credential, id.User+":") || (id.User == "ada") != slices.Equal(id.Roles, []string{"clerk"}) {
					t.Errorf("got %+v, %v", id, err)
				}
				return
			}
			why := refused(t, id, err)
			if why.Reason != c.reason || why.Challenge != `Basic realm="shop", charset="UTF-8"` {
				t.Errorf("refused with %+v", why)
			}
		})
	}
	t.Run("a change of the file ends what is remembered", func(t *testing.T) {
		lets := func(credential string) bool {
			id, _, _ := p.Authenticate(t.Context(), basic(credential))
			return id != nil
		}
		next := file + ".next"
		if err := os.WriteFile(next, []byte(htpasswd(t, "ada:new")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
		until(t, "the new password is in force", func() bool { return lets("ada:new") })
		if lets("ada:pass:word") || lets("bob:"+long) {
			t.Error("an old password is in force")
		}
	})
}

func TestBrokenHtpasswdFilesAreRefused(t *testing.T) {
	good := htpasswd(t, "ada:p")
	hash := strings.TrimSpace(good[strings.Index(good, "$"):])
	for _, c := range []struct{ name, text, want string }{
		{"an MD5 hash", "ada:$apr1$abcdefgh$0123456789012345678901\n", "htpasswd:1: expected a bcrypt hash"},
		{"a password in the clear", good + "bob:secret\n", "htpasswd:4: expected a bcrypt hash"},
		{"a line without a user", ":" + hash, "htpasswd:1: expected user:hash"},
		{"a user twice", good + "ada:" + hash, "htpasswd:4: the user is there twice"},
		{"a cost that takes too long", "ada:" + strings.Replace(hash, "$04$", "$20$", 1), "htpasswd:1: the cost 20 of the hash is too high; the most is 14"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "htpasswd")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Compile([]config.AuthProvider{{Name: "people", Basic: &config.Basic{Htpasswd: config.Path(file), MaxConcurrent: 1}}}, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestPasswordsTakeABoundedShareOfTheProcessor counts the checks that run at once while many callers guess.
func TestPasswordsTakeABoundedShareOfTheProcessor(t *testing.T) {
	p, _ := passwordPolicy(t, htpasswd(t, "ada:p"), func(b *config.Basic) { b.MaxConcurrent = 3 })
	v := p.providers[0].verifier.(*passwords)
	var mu sync.Mutex
	running, most, total := 0, 0, 0
	check := v.find
	gate := make(chan struct{})
	v.find = func(ctx context.Context, d digest, credential string) (*Identity, error) {
		mu.Lock()
		running++
		total++
		most = max(most, running)
		mu.Unlock()
		<-gate
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		return check(ctx, d, credential)
	}
	var callers sync.WaitGroup
	for i := range 30 {
		callers.Go(func() {
			guess := basic(fmt.Sprintf("ada:guess-%d", i%10))
			refused(t, nil, refusalOf(p.Authenticate(context.Background(), guess)))
			refused(t, nil, refusalOf(p.Authenticate(context.Background(), guess)))
		})
	}
	until(t, "as many checks run as may", func() bool { mu.Lock(); defer mu.Unlock(); return running == 3 })
	close(gate)
	callers.Wait()
	if most != 3 || total != 10 {
		t.Errorf("%d checks ran at once and %d in all, want 3 and one for each of 10 guesses", most, total)
	}
	t.Run("a caller that waits too long is told to come again", func(t *testing.T) {
		v.timeout = time.Millisecond
		for range cap(v.slots) {
			v.slots <- struct{}{}
		}
		if why := refused(t, nil, refusalOf(p.Authenticate(t.Context(), basic("ada:p")))); !why.Unavailable || why.Reason != "too many passwords are being checked" {
			t.Errorf("refused with %+v", why)
		}
		for range cap(v.slots) {
			<-v.slots
		}
	})
}

func TestPasswordsAndTokensOnOneRoute(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte(htpasswd(t, "ada:p")), 0o600); err != nil {
		t.Fatal(err)
	}
	p := policy(t, config.AuthProvider{Name: "tokens", JWT: jwtConfig(withSecret)},
		config.AuthProvider{Name: "people", Basic: &config.Basic{Htpasswd: config.Path(file), Realm: "shop", MaxConcurrent: 1, Timeout: config.Duration(patience), CacheTime: config.Duration(time.Minute)}})
	if id, _, err := p.Authenticate(t.Context(), basic("ada:p")); err != nil || id.Provider != "people" {
		t.Errorf("got %+v, %v", id, err)
	}
	why := refused(t, nil, refusalOf(p.Authenticate(t.Context(), request{})))
	if why.Challenge != `Bearer realm="crossgate", Basic realm="shop", charset="UTF-8"` {
		t.Errorf("challenge %s", why.Challenge)
	}
	why = refused(t, nil, refusalOf(p.Authenticate(t.Context(), bearer("wrong"))))
	if why.Challenge != `Bearer realm="crossgate", error="invalid_token", error_description="the credential is not a JSON Web Token", Basic realm="shop", charset="UTF-8"` {
		t.Errorf("challenge %s", why.Challenge)
	}
	r := basic("ada:p")
	if n := testing.AllocsPerRun(100, func() { _, _, _ = p.Authenticate(context.Background(), r) }); n > 1 { // the carrier's
		t.Errorf("%v allocations for a password that is remembered", n)
	}
}
