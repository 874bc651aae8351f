package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

const (
	// fetchTimeout bounds one request for a key set.
	fetchTimeout = 5 * time.Second
	// maxKeySet bounds its answer.
	maxKeySet = 1 << 20
	// maxRedirects bounds how often the endpoint may point elsewhere.
	maxRedirects = 3
)

// remoteKeys is a key set that is fetched: when it is first needed, when it is older than its cache time, and when a
// token names a key it does not have. Between two requests lies at least the floor, whatever tokens say. While the
// endpoint is down the keys of the last answer are used.
type remoteKeys struct {
	config *config.JWT
	client *http.Client
	source *telemetry.Source
	keys   atomic.Pointer[fetchedKeys]
	count  atomic.Uint64
	held

	mu        sync.Mutex
	asked     time.Time     // when the last request began
	inFlight  chan struct{} // closed when the request being made has ended; nil for none
	failing   bool          // the last request had no answer
	now       func() time.Time
	closing   context.Context
	closeDown context.CancelFunc
	running   sync.WaitGroup
}

type fetchedKeys struct {
	keys
	raw []byte // as they came
	at  time.Time
}

func newRemoteKeys(cfg *config.JWT, source *telemetry.Source) *remoteKeys {
	r := &remoteKeys{config: cfg, source: source, now: time.Now, client: newClient(fetchTimeout, 1)}
	r.client.CheckRedirect = checkRedirect
	r.closing, r.closeDown = context.WithCancel(context.Background())
	r.hold()
	return r
}

// checkRedirect refuses a way from https to http: whoever is on it could put keys of their own in place.
func checkRedirect(to *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && to.URL.Scheme != "https" {
		return errors.New("a redirect from https to http")
	}
	return nil
}

func (r *remoteKeys) generation() uint64 { return r.count.Load() }

func (r *remoteKeys) find(ctx context.Context, kid, algorithm string) (jwt.VerificationKeySet, error) {
	known := r.keys.Load()
	if known == nil {
		// Nothing to go by: wait for an answer, for as long as the caller does.
		r.refresh(ctx, true)
		if known = r.keys.Load(); known == nil {
			return jwt.VerificationKeySet{}, errKeysUnavailable
		}
	} else if late := r.now().Sub(known.at) - r.config.JWKSCacheTime.Std(); late > 0 {
		// While tokens come nobody waits. After a silence the keys may have been withdrawn for long.
		silent := late > r.config.JWKSCacheTime.Std() && !r.isFailing()
		r.refresh(ctx, silent)
		known = r.keys.Load()
	}
	value, err := known.find(ctx, kid, algorithm)
	if !errors.Is(err, errUnknownKey) {
		return value, err
	}
	r.refresh(ctx, true)
	return r.keys.Load().find(ctx, kid, algorithm)
}

// renew implements keySet: an issuer need not name its keys (RFC 7517 section 4.5), and may replace one by another.
func (r *remoteKeys) renew(ctx context.Context, kid string, tried uint64) bool {
	known := r.keys.Load()
	if known == nil || kid != "" && slices.ContainsFunc(known.keys, func(k key) bool { return k.kid == kid }) {
		return false
	}
	if r.generation() == tried {
		r.refresh(ctx, true)
	}
	return r.generation() != tried
}

func (r *remoteKeys) isFailing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing
}

// refresh asks the endpoint, unless it was asked within the floor. A request that is being made serves all who wait.
func (r *remoteKeys) refresh(ctx context.Context, wait bool) {
	r.mu.Lock()
	done := r.inFlight
	if done == nil {
		if !r.asked.IsZero() && r.now().Sub(r.asked) < r.config.JWKSRefreshFloor.Std() || r.closing.Err() != nil {
			r.mu.Unlock()
			return
		}
		r.asked = r.now()
		done = make(chan struct{})
		r.inFlight = done
		r.running.Go(func() { r.fetch(done) })
	}
	r.mu.Unlock()
	if wait {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// fetch asks once. A failure leaves the keys as they are.
func (r *remoteKeys) fetch(done chan struct{}) {
	next, err := r.get()
	if err == nil {
		before := r.keys.Swap(next)
		if before == nil || !bytes.Equal(before.raw, next.raw) {
			r.count.Add(1)
		}
	} else if r.closing.Err() == nil {
		r.source.Failed(err)
	}
	r.mu.Lock()
	r.inFlight, r.failing = nil, err != nil
	r.mu.Unlock()
	close(done)
}

func (r *remoteKeys) get() (*fetchedKeys, error) {
	from := r.config.JWKSURL
	if r.config.Discovery {
		var err error
		if from, err = r.discover(); err != nil {
			return nil, err
		}
	}
	raw, err := r.read(from)
	if err != nil {
		return nil, err
	}
	set, err := parseJWKS(raw, r.config.Algorithms)
	if err != nil {
		return nil, err
	}
	return &fetchedKeys{set, raw, r.now()}, nil
}

// discover asks the issuer where its keys are (OpenID Connect Discovery 1.0 section 4).
func (r *remoteKeys) discover() (string, error) {
	raw, err := r.read(strings.TrimSuffix(r.config.Issuer, "/") + "/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return "", errors.New("the issuer's configuration is not JSON")
	}
	if doc.Issuer != r.config.Issuer { // section 4.3
		return "", errors.New("the configuration is another issuer's")
	}
	at, err := url.Parse(doc.JWKS)
	secure := strings.HasPrefix(r.config.Issuer, "https:")
	if err != nil || at.Host == "" || at.Scheme != "https" && (secure || at.Scheme != "http") {
		return "", errors.New("the issuer's jwks_uri is not a URL to ask")
	}
	return doc.JWKS, nil
}

func (r *remoteKeys) read(from string) ([]byte, error) {
	request, err := http.NewRequestWithContext(r.closing, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	return fetch(r.client, request, maxKeySet, "the key set's endpoint")
}

// release stops fetching when the last holder has let go.
func (r *remoteKeys) release() {
	if r.letGo() {
		r.closeDown()
		r.running.Wait()
		r.client.CloseIdleConnections()
		r.source.Close()
	}
}
