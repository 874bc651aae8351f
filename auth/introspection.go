package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

const (
	// maxIntrospection bounds an answer about a token.
	maxIntrospection = 64 << 10
	// retryAfterFailure is how long callers whose tokens are known go on without waiting for an endpoint that gave no answer.
	retryAfterFailure = time.Second
)

// introspector asks the issuer of opaque tokens what they stand for (RFC 7662). Callers with one token share one question.
type introspector struct {
	claimReader
	held
	config   *config.Introspection
	client   *http.Client
	active   *tokenCache
	inactive *tokenCache
	slots    chan struct{} // one for each question that may be open
	failed   atomic.Int64  // when a question last had no answer, in Unix nanoseconds; 0 for never
	now      func() time.Time

	mu        sync.Mutex
	questions map[digest]*question
	closing   context.Context
	closeDown context.CancelFunc
	running   sync.WaitGroup
}

// question is one being asked. id and err are set before done is closed.
type question struct {
	done chan struct{}
	id   *Identity
	err  error
}

func newIntrospector(provider string, cfg *config.Introspection) *introspector {
	v := &introspector{
		config: cfg, client: newClient(cfg.Timeout.Std(), cfg.MaxConcurrent), now: time.Now,
		active: newTokenCache(cfg.CacheTime.Std()), inactive: newTokenCache(cfg.NegativeCacheTime.Std()),
		slots: make(chan struct{}, cfg.MaxConcurrent), questions: map[digest]*question{},
		claimReader: claimReader{
			provider: provider, user: cfg.UserClaim, roles: cfg.RolesClaim, scopes: cfg.ScopesClaim,
			needed: cfg.RequiredClaims, stands: standing(cfg.RoleMap), skew: cfg.ClockSkew.Std(),
		},
	}
	v.closing, v.closeDown = context.WithCancel(context.Background())
	v.hold()
	return v
}

func (v *introspector) recall(d digest) *Identity { return v.active.get(d, 0, v.now()) }

var (
	errInactive   = errors.New("the token is not active")
	errCannotTell = &outage{"the token cannot be checked now"}
)

func (v *introspector) verify(ctx context.Context, d digest, token string) (*Identity, error) {
	if int64(len(token)) > int64(v.config.MaxSize) {
		return nil, errors.New("the token is too long")
	}
	if v.inactive.get(d, 0, v.now()) != nil {
		return nil, errInactive
	}
	if failed := v.failed.Load(); failed != 0 && v.now().Sub(time.Unix(0, failed)) < retryAfterFailure {
		if id, err := v.stale(d); err == nil {
			return id, nil
		}
	}
	q := v.ask(d, token)
	select {
	case <-q.done:
	case <-ctx.Done():
		return nil, errCannotTell
	}
	if q.err == errCannotTell {
		return v.stale(d)
	}
	return q.id, q.err
}

// stale answers with what was known of a token, while nothing newer can be.
func (v *introspector) stale(d digest) (*Identity, error) {
	now := v.now()
	id := v.active.get(d, 0, now.Add(-v.config.StaleTime.Std()))
	if id == nil || !id.Expires.IsZero() && !now.Before(id.Expires) {
		return nil, errCannotTell
	}
	return id, nil
}

// ask returns the question about a token, which may be open already.
func (v *introspector) ask(d digest, token string) *question {
	v.mu.Lock()
	defer v.mu.Unlock()
	if q := v.questions[d]; q != nil {
		return q
	}
	q := &question{done: make(chan struct{})}
	if v.closing.Err() != nil {
		q.err = errCannotTell
		close(q.done)
		return q
	}
	v.questions[d] = q
	// Not in the caller's goroutine: others may wait for the answer when it has gone.
	v.running.Go(func() {
		q.id, q.err = v.answer(token)
		switch {
		case q.err == nil:
			v.active.put(d, 0, q.id, v.now())
		case q.err == errCannotTell:
			v.failed.Store(v.now().UnixNano())
		default:
			v.inactive.put(d, 0, Anonymous, v.now())
		}
		v.mu.Lock()
		delete(v.questions, d)
		v.mu.Unlock()
		close(q.done)
	})
	return q
}

// answer makes an identity of what the endpoint says.
func (v *introspector) answer(token string) (*Identity, error) {
	claims, err := v.request(token)
	if err != nil {
		return nil, errCannotTell
	}
	if claims["active"] != true {
		return nil, errInactive
	}
	if err := v.checkAnswer(claims); err != nil {
		return nil, err
	}
	return v.identity(claims)
}

// checkAnswer holds an active token's claims against what the provider asks for: an issuer may say active of a token that
// is for somebody else (RFC 7662 section 4).
func (v *introspector) checkAnswer(claims jwt.MapClaims) error {
	now := v.now()
	for _, c := range []struct {
		get  func() (*jwt.NumericDate, error)
		bad  func(time.Time) bool
		text string
	}{
		{claims.GetExpirationTime, func(t time.Time) bool { return !now.Before(t.Add(v.skew)) }, "the token has expired"},
		{claims.GetNotBefore, func(t time.Time) bool { return now.Before(t.Add(-v.skew)) }, "the token is not valid yet"},
		{claims.GetIssuedAt, func(t time.Time) bool { return now.Before(t.Add(-v.skew)) }, "the token was issued in the future"},
	} {
		t, err := c.get()
		if err != nil {
			return errInactive
		}
		if t != nil && c.bad(t.Time) {
			return errors.New(c.text)
		}
	}
	if v.config.Issuer != "" && claims["iss"] != v.config.Issuer {
		return errors.New("the token's issuer is not accepted")
	}
	if len(v.config.Audiences) == 0 {
		return nil
	}
	audience, err := claims.GetAudience()
	if err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(v.config.Audiences, a) }) {
		return errors.New("the token is for another audience")
	}
	return nil
}

// request asks the endpoint (RFC 7662 section 2.1), and reads an answer that may be anything.
func (v *introspector) request(token string) (jwt.MapClaims, error) {
	ctx, cancel := context.WithTimeout(v.closing, v.config.Timeout.Std())
	defer cancel()
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.config.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if v.config.ClientID != "" {
		request.SetBasicAuth(url.QueryEscape(v.config.ClientID), url.QueryEscape(v.config.ClientSecret.Reveal()))
	} else {
		request.Header.Set("Authorization", "Bearer "+v.config.Token.Reveal())
	}
	answer, err := v.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the introspection endpoint answered %s", answer.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxIntrospection+1))
	if err != nil {
		return nil, err
	}
	claims := parseObject(raw)
	if len(raw) > maxIntrospection || claims == nil {
		return nil, errors.New("the introspection endpoint's answer is malformed")
	}
	return claims, nil
}

// close gives up what is being asked, once the last configuration with this provider has gone.
func (v *introspector) close() {
	if v.letGo() {
		v.closeDown()
		v.running.Wait()
		v.client.CloseIdleConnections()
	}
}
