package cache

import (
	"net/http"
	"time"
)

// freshness is how long an answer may be given without asking, counted from when it came.
type freshness struct {
	age      time.Duration // it had when it came (RFC 9111 section 4.2.3)
	lifetime time.Duration // 0: it is stale at once
	explicit bool          // the answer says so itself
}

// freshness judges an answer (RFC 9111 section 4.2.1).
func (p *Policy) freshness(status int, h http.Header, d *directives, requested, received time.Time) freshness {
	date, dated := fieldTime(h["Date"])
	f := freshness{age: received.Sub(requested)}
	if age := h["Age"]; len(age) > 0 {
		f.age += seconds(age[0])
	}
	if dated {
		f.age = max(f.age, received.Sub(date))
	} else {
		date = received
	}
	switch expires, ok := h["Expires"]; {
	case d.sMaxAge != absent:
		f.lifetime, f.explicit = d.sMaxAge, true
	case d.maxAge != absent:
		f.lifetime, f.explicit = d.maxAge, true
	case ok:
		f.explicit = true
		// A date that is none, as 0 is, is in the past (RFC 9111 section 5.3).
		if t, ok := fieldTime(expires); ok {
			f.lifetime = max(0, t.Sub(date))
		}
	case !understood(status).assumed:
	case p.ttl > 0:
		f.lifetime = p.ttl
	case p.heuristic:
		if modified, ok := fieldTime(h["Last-Modified"]); ok && modified.Before(date) {
			f.lifetime = min(date.Sub(modified)/10, 24*time.Hour)
		}
	}
	// An answer that is older than it may be given at all is stale, however old it says that it was.
	f.lifetime = min(f.lifetime, f.age+p.maxTTL)
	return f
}

// fieldTime reads the date of a field that is there once.
func fieldTime(values []string) (time.Time, bool) {
	if len(values) != 1 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(values[0])
	return t, err == nil
}

// statusRule is what the cache makes of a status.
type statusRule struct {
	kept    bool // where the answer says for how long
	assumed bool // where the route says so, too
}

// understood returns the rule of a status. Errors that a client can bring about by what it sends are never kept: it could have
// everybody get them. (RFC 9110 section 15.1 would allow 405, 414 and 501.)
func understood(status int) statusRule {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent, http.StatusMultipleChoices, http.StatusMovedPermanently,
		http.StatusPermanentRedirect, http.StatusGone:
		return statusRule{kept: true, assumed: true}
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusNotFound:
		return statusRule{kept: true}
	}
	return statusRule{}
}
