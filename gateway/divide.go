package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/upstream"
)

// divideBy has the route's requests go to the upstreams of a release, which may be nil, as well.
func (r *route) divideBy(by *release.Release, upstreams *upstream.Set) error {
	if by == nil {
		return nil
	}
	r.release = by
	for _, v := range by.Variants() {
		pool := upstreams.Pool(v.Upstream)
		if v.Upstream != "" && pool == nil {
			return fmt.Errorf("variant %s: there is no upstream %q", v.Name, v.Upstream)
		}
		r.sides = append(r.sides, pool)
	}
	return nil
}

// divide returns what serves a target's requests: by what serve makes of the route's own pool, or, where the route has a
// release, by what it makes of the pool that a request is for.
func (r *route) divide(own *upstream.Pool, serve func(*upstream.Pool) func(*exchange)) func(*exchange) {
	if r.release == nil {
		return steer(own, serve(own))
	}
	by := make([]func(*exchange), len(r.sides))
	for i, pool := range r.sides {
		pool = cmp.Or(pool, own)
		by[i] = steer(pool, serve(pool))
	}
	return func(x *exchange) {
		x.choice = r.release.Choose(&x.request, x.ticket)
		if x.choice.Cookie != "" {
			x.issue(r.release)
		}
		x.w.timed = !x.target.streams
		by[x.choice.Index](x)
	}
}

// issue gives the client the cookie that keeps it on its side.
func (x *exchange) issue(r *release.Release) {
	name, how := r.Cookie()
	http.SetCookie(&x.w, &http.Cookie{
		Name: name, Value: x.choice.Cookie, Path: how.Path, MaxAge: int(how.TTL.Std() / time.Second),
		HttpOnly: true, Secure: how.Secure, SameSite: sameSites[how.SameSite],
	})
}

// tellRelease counts the exchange, which was answered with status or what amounts to it, among those of its variant.
func (x *exchange) tellRelease(status int) {
	if x.closed != 0 {
		status = transcoder.StatusOfClose(x.closed)
	}
	gone := x.r.Context().Err() != nil
	outcome, after := release.Answered, time.Duration(-1)
	switch {
	case status == fault.StatusClientClosedRequest, gone && x.w.status == 0:
		if !x.target.streams { // which callers end as they please
			outcome = release.Abandoned
		}
	case status >= http.StatusInternalServerError, x.broken && !gone:
		outcome = release.Failed
	}
	if x.w.timed {
		until := x.w.answered
		if until.IsZero() {
			until = time.Now()
		}
		after = until.Sub(x.start)
	}
	x.choice.Observe(outcome, after, x.choice.Forced)
}
