package cache

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
)

// Origin has the answers that are not kept.
type Origin interface {
	// Fetch answers r, whose header it may change, to w. Where the answer breaks off it panics with http.ErrAbortHandler.
	Fetch(w http.ResponseWriter, r *http.Request)
	// Detach returns an origin of the same that can be used beyond the request's end, until release.
	Detach() (o Origin, release func())
}

// lookup is one request in search of its answer. It is pooled.
type lookup struct {
	*Policy
	request *Request
	origin  Origin
	key     []byte
	uri     string // made when it is needed
	now     time.Time
	asks    directives
	who     credentials
}

var lookups = sync.Pool{New: func() any { return new(lookup) }}

var errNotCached = fault.New(fault.NotCached, "the request has only-if-cached, and the cache has no answer that may be given")

// Serve answers a GET or HEAD, which is no upgrade, or a POST without side effects, from what is kept, or from the origin. The
// error is what the caller is to be told; nothing was written then.
func (p *Policy) Serve(w http.ResponseWriter, r *Request, o Origin) *fault.Error {
	l := lookups.Get().(*lookup)
	*l = lookup{Policy: p, request: r, origin: o, key: l.key[:0], now: p.store.now(), asks: parseDirectives(nil)}
	defer func() {
		l.request, l.origin = nil, nil
		lookups.Put(l)
	}()
	if p.obey {
		l.asks = ofRequest(r.Header)
	}
	if l.bypasses() {
		p.metrics.Count(telemetry.CacheBypass)
		l.pass(w, fwdBypass)
		return nil
	}
	l.key = p.appendKey(l.key, r)
	l.who = p.credentials(r)
	found := p.store.find(l.key)
	e := l.choose(found)
	switch {
	case e != nil && l.fresh(e):
		p.metrics.Count(telemetry.CacheHit)
		l.give(w, e, nil)
		return nil
	case l.asks.onlyIfCached:
		return errNotCached
	case e != nil && l.mayBeStale(e):
		p.metrics.Count(telemetry.CacheStale)
		l.refresh(e)
		l.give(w, e, nil)
		return nil
	}
	return l.miss(w, found, e)
}

// bypasses reports whether the request is one that the cache has nothing to do with.
func (l *lookup) bypasses() bool {
	h := l.request.Header
	if l.request.posted() {
		// What is compressed may be read in more than one way, and of a condition backends make what they like.
		return l.asks.noStore || h["Content-Encoding"] != nil || hasAny(h, conditions) || hasAny(h, l.strangers)
	}
	return l.request.ContentLength != 0 || l.asks.noStore || h["If-Match"] != nil || h["If-Unmodified-Since"] != nil || hasAny(h, l.strangers)
}

// choose returns the entry that the request selects, and that its caller may have; nil for none.
func (l *lookup) choose(r *resource) *entry {
	if r == nil {
		return nil
	}
	for _, e := range r.variants {
		if e.selects(l.request.Header) && l.who.allow(&e.directives, e.explicit) {
			return e
		}
	}
	return nil
}

// fresh reports whether an entry may be given without asking (RFC 9111 section 4.2).
func (l *lookup) fresh(e *entry) bool {
	age := e.ageAt(l.now)
	left := e.lifetime - age
	switch {
	case e.directives.noCache, l.asks.noCache, l.asks.maxAge != absent && age > l.asks.maxAge, l.asks.minFresh != absent && left < l.asks.minFresh:
		return false
	case left > 0:
		return true
	}
	return l.asks.maxStale != absent && !e.mustAsk() && e.directives.sMaxAge == absent && -left <= l.asks.maxStale
}

// mayBeStale reports whether an entry may be given while it is asked for again (RFC 5861 section 3).
func (l *lookup) mayBeStale(e *entry) bool {
	age := e.ageAt(l.now)
	return e.stale.whileRevalidate > 0 && age-e.lifetime <= e.stale.whileRevalidate && !l.asks.noCache && l.asks.minFresh == absent &&
		(l.asks.maxAge == absent || age <= l.asks.maxAge)
}

// mayStandIn reports whether an entry may be given where the backend fails (RFC 5861 section 4).
func (l *lookup) mayStandIn(e *entry, now time.Time) bool {
	within := e.stale.ifError
	if l.asks.staleIfError != absent && !e.mustAsk() && e.directives.sMaxAge == absent {
		within = max(within, l.asks.staleIfError)
	}
	return within > 0 && e.ageAt(now)-e.lifetime <= within
}

// miss gets an answer from the origin, or with others who wait for the same. e is what is there but must not be given.
func (l *lookup) miss(w http.ResponseWriter, found *resource, e *entry) *fault.Error {
	reason := fwdMiss
	switch {
	case e != nil && e.lifetime > e.ageAt(l.now) && !e.directives.noCache:
		reason = fwdRequest
	case e != nil:
		reason = fwdStale
	case found != nil && len(found.variants) > 0:
		reason = fwdVary
	}
	h := l.request.Header
	if !l.request.posted() && l.request.Method != http.MethodGet || h["Range"] != nil {
		l.metrics.Count(telemetry.CacheMiss)
		l.pass(w, reason)
		return nil
	}
	l.uri = uri(l.request.Host, l.request.Path, l.request.URL.RawQuery)
	if l.wait == 0 || l.asks.noCache || l.asks.maxAge != absent || l.asks.minFresh != absent || found != nil && l.now.Before(found.pass) {
		l.fetch(w, e, nil, reason)
		return nil
	}
	return l.together(w, e, reason)
}

// together fetches once for all who ask for the same at the same time. Nobody waits for longer than the policy says, nor when
// it is known that what comes will not be kept.
func (l *lookup) together(w http.ResponseWriter, e *entry, reason *forwarded) *fault.Error {
	var patience *time.Timer
	for {
		f, lead := l.store.flights.join(l.key)
		if lead {
			// Another may have landed since this one looked.
			if e := l.choose(l.store.find(l.key)); e != nil && l.fresh(e) {
				l.store.flights.land(f, e, false)
				l.metrics.Count(telemetry.CacheHit)
				l.give(w, e, nil)
				return nil
			}
			l.fetch(w, e, f, reason)
			return nil
		}
		if patience == nil {
			patience = time.NewTimer(l.patience())
			defer patience.Stop()
		}
		select {
		case <-f.done:
		case <-patience.C:
			if d := l.request.Deadline; !d.IsZero() && time.Until(d) <= 0 {
				return fault.ErrDeadline
			}
			l.fetch(w, e, nil, reason)
			return nil
		case <-l.request.Context().Done():
			return fault.ErrClientGone
		}
		switch got := f.got; {
		case got != nil && got.selects(l.request.Header) && l.who.allow(&got.directives, got.explicit):
			l.metrics.Count(telemetry.CacheCollapsed)
			l.now = l.store.now()
			l.give(w, got, reason.collapsed)
			return nil
		case !f.lost:
			l.fetch(w, e, nil, reason)
			return nil
		}
	}
}

// patience is how long to wait for another's answer.
func (l *lookup) patience() time.Duration {
	if l.request.Deadline.IsZero() {
		return l.wait
	}
	return min(l.wait, time.Until(l.request.Deadline))
}

// pass gives the origin's answer as it comes, and keeps nothing of it.
func (l *lookup) pass(w http.ResponseWriter, reason *forwarded) {
	c := &capture{lookup: l, to: w, reason: reason}
	l.ask(c, l.request.Request)
}

// fetch gets an answer from the origin to keep, and gives it to the client while it comes. e, where there is one, is what is
// kept and may be good still; those who wait for f get what comes, where they may.
func (l *lookup) fetch(w http.ResponseWriter, e *entry, f *flight, reason *forwarded) {
	store := l.store
	defer func() { store.flights.land(f, nil, true) }() // which counts only where nothing has landed it
	if l.inRedis && reason != fwdRequest && !l.asks.noCache {
		if had := store.tier.load(l); had != nil {
			e = had
			store.put(l.key, l.uri, e)
			if l.now = store.now(); l.fresh(e) {
				store.flights.land(f, e, false)
				l.metrics.Count(telemetry.CacheHit)
				l.give(w, e, nil)
				return
			}
		}
	}
	c := &capture{lookup: l, to: w, reason: reason, fill: true, stale: e, flight: f, answer: answer{began: store.purges.now(), shared: store.shared.position(), requested: store.now()}}
	r := l.request.WithContext(l.request.Context())
	r.Header = l.request.Header.Clone()
	for _, name := range conditions {
		delete(r.Header, name)
	}
	if e != nil && !l.request.posted() {
		c.asking = askWhether(e, r.Header)
	}
	defer func() { store.filling.Add(-c.reserved) }()
	if l.request.Call {
		l.prepare(r.Header)
	}
	l.ask(c, r)
	l.now = store.now()
	switch {
	case c.failed:
		store.flights.land(f, e, false)
		l.metrics.Count(telemetry.CacheStale)
		l.give(w, e, staleIfError)
	case c.unmodified:
		a := &c.answer
		if tag := first(a.header["Etag"]); tag != "" && e.etag != "" && !matchesTag([]string{tag}, e.etag) {
			// It speaks of another answer than the one that is here (RFC 9111 section 4.3.4).
			l.fetch(w, nil, f, reason)
			return
		}
		l.metrics.Count(telemetry.CacheRevalidated)
		e = l.refreshed(e, a)
		if d := &e.directives; d.noStore || d.private || !l.who.allow(d, e.explicit) {
			store.drop(l.key)
		} else {
			l.keep(e)
			store.flights.land(f, e, false)
		}
		l.give(w, e, reason.revalidated)
	default:
		if c.keep && c.whole() {
			e := l.newEntry(&c.answer, c.body)
			l.keep(e)
			store.flights.land(f, e, false)
		}
		l.metrics.Count(telemetry.CacheMiss)
	}
}

// ask has the origin answer r, with the message that is asked by where there is one.
func (l *lookup) ask(c *capture, r *http.Request) {
	if l.request.posted() {
		body := new(transcoder.HeldBody)
		body.Hold(l.request.Message)
		defer body.Release()
		r = r.WithContext(r.Context())
		r.Body, r.ContentLength = body, int64(len(l.request.Message))
	}
	l.origin.Fetch(c, r)
	c.end()
}

// askWhether has a request ask whether e is good still, and reports whether it can.
func askWhether(e *entry, h http.Header) bool {
	if e.etag != "" {
		h["If-None-Match"] = []string{e.etag}
	}
	if e.modified != "" {
		h["If-Modified-Since"] = []string{e.modified}
	}
	return e.etag != "" || e.modified != ""
}

// keep keeps an entry that the origin has given or said to be good still.
func (l *lookup) keep(e *entry) {
	l.store.put(l.key, l.uri, e)
	if l.inRedis {
		l.store.tier.save(l, e)
	}
}

// refreshing is how many answers are fetched in the background at a time.
const refreshing = 256

// refreshTime bounds a fetch in the background, besides the route's timeout.
const refreshTime = 5 * time.Minute

// refresh fetches in the background what is given stale meanwhile, unless somebody does already.
func (l *lookup) refresh(e *entry) {
	s := l.store
	if !s.enter() {
		return
	}
	f, lead := s.flights.join(l.key)
	if !lead {
		s.leave()
		return
	}
	origin, release := l.origin.Detach()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.request.Context()), refreshTime)
	request := *l.request
	request.Request = l.request.Clone(ctx)
	request.Body, request.Message, request.Deadline = http.NoBody, bytes.Clone(l.request.Message), time.Time{}
	later := &lookup{Policy: l.Policy, request: &request, origin: origin, key: append([]byte(nil), l.key...), asks: parseDirectives(nil), who: l.who}
	later.uri = uri(request.Host, request.Path, request.URL.RawQuery)
	stop := context.AfterFunc(s.life, cancel)
	go func() { // Close waits for it
		defer s.leave()
		defer release()
		defer cancel()
		defer stop()
		defer s.flights.land(f, nil, true)
		defer s.survive()
		later.fetch(nil, e, f, fwdStale)
	}()
}

// give answers with an entry. how, where there is one, is its Cache-Status, else it is a hit.
func (l *lookup) give(w http.ResponseWriter, e *entry, how []string) {
	if w == nil {
		return // nobody waits
	}
	h, r := w.Header(), l.request
	for i := range e.header {
		merge(h, e.header[i].name, e.header[i].values)
	}
	shown := e.show(l.now)
	h["Age"] = shown.age
	if h["Cache-Status"] = how; how == nil {
		h["Cache-Status"] = shown.status
	}
	if e.trailer != nil {
		giveCall(w, r, e)
		return
	}
	if e.status == http.StatusOK && has(r.Header, e.etag, e.modified) {
		unmodified(h)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http would guess one
	}
	if e.length != nil {
		h["Content-Length"] = e.length
	}
	body, status := e.body, e.status
	if r.Method == http.MethodGet && r.Header["Range"] != nil {
		status, body = givePart(h, r.Header, e)
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead || len(body) == 0 {
		return
	}
	writeBody(w, r, body)
}

func writeBody(w http.ResponseWriter, r *Request, body []byte) {
	if r.ProtoMajor == 2 && len(body) > writeAtOnce {
		// A client that opens no window must not hold on to the answer. Connections look after their own.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	}
	_, _ = w.Write(body)
}

// writeAtOnce is how much of an answer net/http takes without waiting for the client.
const writeAtOnce = 4 << 10

// answerTime is how long a client may take to read a whole answer.
const answerTime = 5 * time.Minute

// givePart answers a request for a range of e.
func givePart(h, asked http.Header, e *entry) (status int, body []byte) {
	part, whole, ok := spanOf(asked, e)
	size := strconv.Itoa(len(e.body))
	switch {
	case whole:
		return e.status, e.body
	case !ok:
		h["Content-Range"] = []string{"bytes */" + size}
		h["Content-Length"] = []string{"0"}
		return http.StatusRequestedRangeNotSatisfiable, nil
	}
	h["Content-Range"] = []string{"bytes " + strconv.Itoa(part.from) + "-" + strconv.Itoa(part.to-1) + "/" + size}
	h["Content-Length"] = []string{strconv.Itoa(part.to - part.from)}
	return http.StatusPartialContent, e.body[part.from:part.to]
}

// merge puts a field of an answer to what the gateway itself says, which stays.
func merge(h http.Header, name string, values []string) {
	if mine, ok := h[name]; ok {
		if name != "Vary" && name != "Set-Cookie" {
			return
		}
		values = append(mine[:len(mine):len(mine)], values...)
	}
	h[name] = values
}

// unmodified takes out what a 304 does not say (RFC 9110 section 15.4.5).
func unmodified(h http.Header) {
	for _, name := range []string{"Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range"} {
		delete(h, name)
	}
}
