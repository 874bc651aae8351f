package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// refreshLock is how long a session is left alone after a refresh, beyond the time that one may take.
const refreshLock = 15 * time.Second

// sessions turns the cookies of browsers that have logged in into identities.
type sessions struct {
	claimReader
	held
	lookup
	config  *config.Login
	store   sessionStore
	issuer  *openIDProvider
	logger  *slog.Logger
	metrics *telemetry.LoginMetrics
	revoke  func(Revocation)
}

func newSessions(provider string, cfg *config.Login, o *Options) (*sessions, error) {
	keys, err := newKeyring(provider+" "+cfg.Issuer, cfg.Keys)
	if err != nil {
		return nil, err
	}
	v := &sessions{
		config: cfg, issuer: newOpenIDProvider(provider, cfg, o.Telemetry), metrics: o.Telemetry.Login(provider), logger: o.Logger.With("provider", provider), revoke: o.Revoke,
		store: sessionStore{client: o.Redis, prefix: o.Prefix, issuer: cfg.Issuer, keys: keys, idle: cfg.IdleTime.Std(), lifetime: cfg.Lifetime.Std()},
		claimReader: claimReader{
			provider: provider, user: cfg.UserClaim, roles: cfg.RolesClaim, scopes: cfg.ScopesClaim,
			needed: cfg.RequiredClaims, stands: standing(cfg.RoleMap),
		},
	}
	v.lookup.begin(lookupOptions{
		find: v.find, known: cfg.CacheTime.Std(), refused: cfg.CacheTime.Std(), stale: cfg.StaleTime.Std(),
		timeout: cfg.Timeout.Std(), concurrent: redisLookups, cannotTell: &outage{"the session cannot be looked up now"},
	})
	v.hold()
	return v, nil
}

// verify looks up only what this gateway has signed.
func (v *sessions) verify(ctx context.Context, d digest, cookie string) (*Identity, error) {
	if _, ok := v.store.keys.verify(cookie); !ok {
		return nil, errNoSession
	}
	return v.lookup.verify(ctx, d, cookie)
}

// find looks up what verify has let pass.
func (v *sessions) find(ctx context.Context, _ digest, cookie string) (*Identity, error) {
	id, _, _ := strings.Cut(cookie, ".")
	name := sessionName(id)
	one, err := v.store.get(ctx, name)
	if err == nil && v.now().Unix() >= one.Ends {
		return nil, errNoSession
	}
	if err == nil && v.due(one) {
		one, err = v.refresh(ctx, name, one)
	}
	switch {
	case err == errNoSession:
		return nil, err
	case err != nil:
		return nil, v.cannotTell
	}
	return v.identify(name, one)
}

// identify reads who a session is of. To revocations the session is a token that was issued at the login: a user whose
// credentials are revoked has to log in again.
func (v *sessions) identify(name string, one *storedSession) (*Identity, error) {
	one.Claims["jti"] = name
	one.Claims["iat"] = float64(one.Born)
	one.Claims["exp"] = float64(one.Ends)
	return v.identity(one.Claims)
}

// begin makes a session of a login, and returns its cookie and whose it is.
func (v *sessions) begin(ctx context.Context, t *tokens) (string, *Identity, error) {
	now := v.now()
	one := &storedSession{Born: now.Unix(), Ends: now.Add(v.config.Lifetime.Std()).Unix()}
	one.take(t)
	id := rand.Text()
	name := sessionName(id)
	who, err := v.identify(name, one)
	if err != nil {
		return "", nil, &LoginError{err.Error(), claimsNotGood}
	}
	if err := v.store.create(ctx, name, one); err != nil {
		return "", nil, err
	}
	return v.store.keys.sign(id), who, nil
}

// take puts what the provider has just said into a session. A refresh may leave out what has not changed (RFC 6749 section 6,
// OpenID Connect Core 1.0 section 12.2).
func (s *storedSession) take(t *tokens) {
	if t.claims != nil {
		s.Claims, s.IDToken = t.claims, t.id
	}
	if t.RefreshToken != "" {
		s.Refresh = t.RefreshToken
	}
	if s.Due = 0; s.Refresh != "" && !t.Expiry.IsZero() {
		s.Due = t.Expiry.Unix()
	}
}

// due reports whether the provider is to be asked again.
func (v *sessions) due(one *storedSession) bool {
	return one.Due != 0 && v.now().Add(v.config.RefreshBefore.Std()).Unix() >= one.Due
}

// refresh asks the provider whether the session may go on. One node asks at a time. While the provider cannot be reached
// the session goes on to its end.
func (v *sessions) refresh(ctx context.Context, name string, one *storedSession) (*storedSession, error) {
	// Neither a caller nor a reload ends what follows: a provider that gives a new refresh token takes the old one for stolen
	// when it comes again.
	ctx = context.WithoutCancel(ctx)
	asking, cancel := context.WithTimeout(ctx, v.config.Timeout.Std())
	defer cancel()
	if mine, err := v.store.once(asking, "session-refresh:"+name, v.config.Timeout.Std()+refreshLock); err != nil || !mine {
		return one, err
	}
	// Another node may have refreshed it since it was read.
	one, err := v.store.get(asking, name)
	if err != nil || !v.due(one) {
		return one, err
	}
	t, err := v.issuer.refresh(asking, one.Refresh)
	storing, cancel := context.WithTimeout(ctx, v.config.Timeout.Std())
	defer cancel()
	if err == nil && t.claims != nil && !sameText(t.claims["sub"], one.Claims["sub"]) {
		err = &badToken{"the provider has refreshed it for another user"}
	}
	switch {
	case err == nil:
		v.metrics.Refreshed("refreshed")
		one.take(t)
	case saidNo(err):
		return v.refused(storing, name, one)
	default:
		v.metrics.Refreshed("failed")
		if t == nil || t.RefreshToken == "" || t.RefreshToken == one.Refresh {
			return one, nil
		}
		one.Refresh = t.RefreshToken
	}
	if there, err := v.store.replace(storing, name, one); err != nil {
		return nil, err
	} else if !there {
		return nil, errNoSession
	}
	return one, nil
}

// refused ends a session that the provider will not go on with, unless that was said of a refresh token that another node has
// replaced: one that took so long that it lost its turn.
func (v *sessions) refused(ctx context.Context, name string, one *storedSession) (*storedSession, error) {
	now, err := v.store.get(ctx, name)
	if err != nil || now.Refresh != one.Refresh {
		return now, err
	}
	v.metrics.Refreshed("refused")
	if err := v.store.remove(ctx, name, one); err != nil {
		return nil, err
	}
	v.ended(byRefresh, name)
	return nil, errNoSession
}

// saidNo tells the provider's no from its silence (RFC 6749 section 5.2).
func saidNo(err error) bool {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if ok {
		// A client that the provider does not take is no fault of the session's or of the code's: a secret is being changed.
		return answer.Response != nil && answer.ErrorCode != "invalid_client" && slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, answer.Response.StatusCode)
	}
	_, bad := errors.AsType[*badToken](err)
	return bad
}

// withoutAnswer is an error of package oauth2 without the provider's answer, which may have secrets.
func withoutAnswer(err error) string {
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok && answer.Response != nil {
		return fmt.Sprintf("the provider answered %s", answer.Response.Status)
	}
	return err.Error()
}

func sameText(a, b any) bool {
	x, ok := a.(string)
	y, also := b.(string)
	return ok && also && subtle.ConstantTimeCompare([]byte(x), []byte(y)) == 1
}

// Why sessions end before their time, as it is counted.
const (
	byLogout   = "logout"
	byProvider = "provider"
	byRefresh  = "refresh"
	byLogin    = "login"
)

// end ends the session of a cookie, and returns what it was; nil for no session.
func (v *sessions) end(ctx context.Context, cookie, why string) (*storedSession, error) {
	id, ok := v.store.keys.verify(cookie)
	if !ok {
		return nil, nil
	}
	name := sessionName(id)
	one, err := v.store.get(ctx, name)
	if err == errNoSession {
		return nil, nil
	}
	if err == nil {
		err = v.store.remove(ctx, name, one)
	}
	if err != nil {
		return nil, err
	}
	v.ended(why, name)
	return one, nil
}

// ended has every node forget a session, for as long as one may believe it without asking.
func (v *sessions) ended(why string, names ...string) {
	v.metrics.Ended(len(names), why)
	if v.revoke == nil {
		return
	}
	until := v.now().Add(v.config.CacheTime.Std() + v.config.StaleTime.Std() + time.Minute)
	for _, name := range names {
		v.revoke(Revocation{TokenID: name, Until: until})
	}
}

// close gives up what is being looked up, once the last configuration with this provider has gone.
func (v *sessions) close() {
	if v.letGo() {
		v.lookup.close()
		v.issuer.close()
		v.metrics.Close()
	}
}
