package cache

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// cacheName is the gateway among the caches of Cache-Status (RFC 9211 section 2).
const cacheName = "crossgate"

// Options are what a policy needs besides its configuration.
type Options struct {
	Store   *Store
	Route   string
	Metrics *telemetry.CacheMetrics
	// Forwarded are request headers that the backend gets and that it need not name in Vary: they tell answers apart. One that
	// ends with "*" names many.
	Forwarded []string
	// Computed are request headers whose values the backend gets of the gateway and not of the client, so that an answer that was
	// chosen by one cannot be kept.
	Computed []string
	// OwnCookies are cookies by which the gateway itself tells clients apart; backends make nothing of them.
	OwnCookies []string
}

// Policy is what one route keeps, and for whom. It is immutable and safe for concurrent use.
type Policy struct {
	store   *Store
	metrics *telemetry.CacheMetrics
	route   string

	ttl, maxTTL time.Duration
	heuristic   bool
	stale       staleness
	maxBody     int
	wait        time.Duration
	obey        bool // directives of requests
	stripCookie bool
	stripTags   bool
	tagHeaders  []string
	strangers   []string
	unseen      []string
	keyHeaders  []string
	keyPrefixes []string
	keyCookies  []string
	keyUser     bool
	keyless     []string // metadata of calls that the key leaves out
	inRedis     bool
	harmless    []string // cookies
}

// computed are headers that every backend may get of the gateway.
var computed = []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "X-Request-Id", "Via", "Connection", "Te", "Traceparent", "Tracestate"}

// Compile makes the policy of a route.
func Compile(cfg *config.Cache, o Options) *Policy {
	p := &Policy{
		store: o.Store, metrics: o.Metrics, route: o.Route, ttl: cfg.TTL.Std(), maxTTL: cfg.MaxTTL.Std(), heuristic: cfg.Heuristic,
		stale: staleness{cfg.StaleWhileRevalidate.Std(), cfg.StaleIfError.Std()}, maxBody: int(cfg.MaxEntrySize), wait: cfg.Coalesce.Std(),
		obey: cfg.RequestDirectives == "honour", stripCookie: cfg.SetCookie == "strip", stripTags: cfg.Tags == "strip",
		tagHeaders: canonical(cfg.TagHeaders), strangers: append(canonical(cfg.BypassHeaders), strangers...),
		unseen: append(canonical(o.Computed), computed...), keyHeaders: canonical(cfg.Key.Headers), keyCookies: cfg.Key.Cookies, keyUser: cfg.Key.User, keyless: canonical(cfg.Key.IgnoreMetadata), inRedis: cfg.Redis && o.Store != nil && o.Store.tier != nil, harmless: append(slices.Clone(cfg.Key.Cookies), o.OwnCookies...),
	}
	if len(p.tagHeaders) == 0 {
		p.tagHeaders = []string{"Cache-Tag", "Surrogate-Key"}
	}
	for _, name := range o.Forwarded {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			p.keyPrefixes = append(p.keyPrefixes, http.CanonicalHeaderKey(prefix))
		} else if name = http.CanonicalHeaderKey(name); !slices.Contains(p.keyHeaders, name) {
			p.keyHeaders = append(p.keyHeaders, name)
		}
	}
	return p
}

// Headers are the answer headers that the cache goes by, for backends of protocols that have others.
func (p *Policy) Headers() []string {
	return append([]string{"Cache-Control", "Expires", "Age", "Vary", "Etag", "Last-Modified"}, p.tagHeaders...)
}

func canonical(names []string) []string {
	var list []string
	for _, name := range names {
		list = append(list, http.CanonicalHeaderKey(name))
	}
	return list
}

// Request is a request that was admitted.
type Request struct {
	*http.Request
	// Path is what was matched, percent-encoded.
	Path string
	// Upstream is where the answer comes from; those of two are not mixed.
	Upstream string
	// Trusted says that the peer is a trusted proxy.
	Trusted bool
	// Identity is who was admitted, "" for nobody in particular.
	Identity string
	// Told says that the backend is told something of the caller that the request did not say.
	Told bool
	// Message is the body of a POST, which has no side effects: it is part of what is asked for. It is held until Serve returns.
	Message []byte
	// Call says that the request is a unary call of gRPC, whose message stands in its frame and is not compressed.
	Call bool
	// Deadline is a call's; zero for none.
	Deadline time.Time
}

// posted reports whether what is asked for is in the request's body.
func (r *Request) posted() bool { return r.Method == http.MethodPost }

// credentials are what a request has that may make its answer one for its caller only.
type credentials struct {
	identity bool // one that the key leaves out
	cookies  bool // some that the key leaves out
}

func (p *Policy) credentials(r *Request) credentials {
	if p.keyUser && r.Identity != "" {
		return credentials{}
	}
	c := credentials{identity: r.Identity != "" || r.Told}
	if r.Header["Authorization"] != nil && !slices.Contains(p.keyHeaders, "Authorization") {
		c.identity = true
	}
	if lines := r.Header["Cookie"]; lines != nil && !slices.Contains(p.keyHeaders, "Cookie") {
		for name := range cookies(lines) {
			c.cookies = c.cookies || !slices.Contains(p.harmless, name)
		}
	}
	return c
}

// allow reports whether an answer with these directives may be given to who has these credentials, and kept of them (RFC 9111
// section 3.5, and for identities of all kinds). That must-revalidate makes an answer one for all, too, is not relied on: many
// send it with what is one user's.
func (c credentials) allow(d *directives, explicit bool) bool {
	open := d.public || d.sMaxAge != absent
	return (!c.identity || open) && (!c.cookies || open || explicit)
}

// answer is one as it comes from the backend.
type answer struct {
	status              int // of a call, that of its code
	header              http.Header
	trailer             []field // of a call
	directives          directives
	vary                []selector
	requested, received time.Time
	began               uint64   // where the purges stood then
	shared              position // and those of all nodes
	freshness
}

// judge decides whether an answer may be kept (RFC 9111 section 3), and fills in what is known of it then.
func (p *Policy) judge(a *answer, r *Request, asked http.Header, c credentials) bool {
	h, d := a.header, &a.directives
	*d = parseDirectives(h["Cache-Control"])
	rule := understood(a.status)
	switch {
	case !rule.kept, d.private, d.noStore && !d.mustUnderstand:
		return false
	case h["Set-Cookie"] != nil && !p.stripCookie, h["Trailer"] != nil, h["Content-Range"] != nil, r.Method != http.MethodGet && !r.posted():
		return false
	}
	a.freshness = p.freshness(a.status, h, d, a.requested, a.received)
	if d.noCache {
		a.lifetime = 0
	}
	if !a.explicit && !d.noCache && a.lifetime == 0 {
		return false // nothing says that it may be kept
	}
	// What is stale at once is worth keeping where the backend can be asked whether it is good still.
	validator := !r.posted() && (h["Etag"] != nil || h["Last-Modified"] != nil)
	if s := p.staleness(d); a.lifetime <= a.age && !validator && s.whileRevalidate+s.ifError == 0 {
		return false
	}
	if !c.allow(d, a.explicit) {
		return false
	}
	var ok bool
	a.vary, ok = p.selectors(h["Vary"], asked)
	return ok
}
