package cache

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// entry is one answer that is kept. It is immutable, but for what is remembered of how it was last shown.
type entry struct {
	status   int
	header   []field
	body     []byte
	trailer  []field  // of a call, whose names begin with http.TrailerPrefix
	length   []string // Content-Length
	vary     []selector
	received time.Time
	began    uint64   // where the purges stood when it was asked for
	shared   position // and those of all nodes
	freshness
	directives directives
	stale      staleness
	tags       []string

	etag     string // "" for none
	modified string // Last-Modified, "" for none

	shown atomic.Pointer[shown]
}

// field is a header field with its lines.
type field struct {
	name   string
	values []string
}

// staleness is how long after it has become stale an answer may be given all the same.
type staleness struct{ whileRevalidate, ifError time.Duration }

// shown is how an entry is shown for one second.
type shown struct {
	second int64
	age    []string
	status []string // Cache-Status
}

// ageAt returns how old the answer is.
func (e *entry) ageAt(now time.Time) time.Duration { return e.age + now.Sub(e.received) }

// mustAsk reports whether the answer may in no case be given stale. What it says itself of stale answers goes before s-maxage,
// which would forbid them (RFC 9111 section 5.2.2.10): who sends both means both.
func (e *entry) mustAsk() bool {
	return e.directives.mustRevalidate || e.directives.proxyRevalidate || e.directives.noCache
}

// show returns Age and Cache-Status of a hit. They are made once a second.
func (e *entry) show(now time.Time) *shown {
	age := e.ageAt(now)
	second := int64(age / time.Second)
	if s := e.shown.Load(); s != nil && s.second == second {
		return s
	}
	ttl := (e.lifetime - age).Truncate(time.Second) / time.Second
	s := &shown{
		second: second,
		age:    []string{strconv.FormatInt(second, 10)},
		status: []string{cacheName + "; hit; ttl=" + strconv.FormatInt(int64(ttl), 10)},
	}
	e.shown.Store(s)
	return s
}

// newEntry makes an entry of an answer that may be kept. header is the entry's from now on.
func (p *Policy) newEntry(a *answer, body []byte) *entry {
	e := &entry{
		status: a.status, body: body, trailer: a.trailer, received: a.received, began: a.began, shared: a.shared, freshness: a.freshness, directives: a.directives,
		vary: a.vary, tags: p.tagsOf(a.header), etag: first(a.header["Etag"]), modified: first(a.header["Last-Modified"]),
	}
	if _, ok := a.header["Date"]; !ok {
		// RFC 9110 section 6.6.1: who keeps an answer without a date gives it one.
		a.header["Date"] = []string{a.received.UTC().Format(http.TimeFormat)}
	}
	e.stale = p.staleness(&e.directives)
	e.length = []string{strconv.Itoa(len(body))}
	if a.status == http.StatusNoContent || a.trailer != nil {
		e.length = nil
	}
	for name, values := range a.header {
		switch {
		case isOfOneAnswer(name) || values == nil:
		case p.stripTags && p.isTagHeader(name):
		default:
			e.header = append(e.header, field{name, values[:len(values):len(values)]})
		}
	}
	return e
}

// isOfOneAnswer knows the fields that say something of one answer on its way, and not of what is kept.
func isOfOneAnswer(name string) bool {
	switch name {
	case "Content-Length", "Age", "Set-Cookie", "X-Request-Id":
		return true
	}
	return false
}

// staleness is what an answer says of how long it may be stale, or else the route.
func (p *Policy) staleness(d *directives) staleness {
	if d.mustRevalidate || d.proxyRevalidate || d.noCache {
		return staleness{}
	}
	s := p.stale
	if d.sMaxAge != absent {
		s = staleness{}
	}
	if d.staleWhileRevalidate != absent {
		s.whileRevalidate = d.staleWhileRevalidate
	}
	if d.staleIfError != absent {
		s.ifError = d.staleIfError
	}
	return s
}

// entryOverhead is about what an entry takes besides its bytes.
const entryOverhead = 1 << 10

// size is about how much memory an entry takes.
func (e *entry) size() int {
	n := entryOverhead + len(e.body)
	for _, fields := range [...][]field{e.header, e.trailer} {
		for _, f := range fields {
			n += 64 + len(f.name)
			for _, v := range f.values {
				n += 16 + len(v)
			}
		}
	}
	for _, t := range e.tags {
		n += 16 + len(t)
	}
	for i := range e.vary {
		n += 32 + len(e.vary[i].name) + len(e.vary[i].value)
	}
	return n
}

// refreshed returns the entry that a 304 makes of e: its fields take the place of those that were (RFC 9111 section 3.2).
func (p *Policy) refreshed(e *entry, a *answer) *entry {
	header := make(http.Header, len(e.header)+1)
	for _, f := range e.header {
		header[f.name] = f.values
	}
	delete(header, "Date")
	for name, values := range a.header {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Etag":
		default:
			header[name] = values
		}
	}
	d := parseDirectives(header["Cache-Control"])
	fresh := p.newEntry(&answer{
		status: e.status, header: header, directives: d, vary: e.vary, received: a.received, began: a.began, shared: a.shared,
		freshness: p.freshness(e.status, header, &d, a.requested, a.received),
	}, e.body)
	if fresh.tags == nil {
		fresh.tags = e.tags // which the header may have lost
	}
	return fresh
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// tagsOf returns the tags that an answer has: separated by commas, as in Cache-Tag, or spaces, as in Surrogate-Key.
func (p *Policy) tagsOf(h http.Header) []string {
	var tags []string
	for _, name := range p.tagHeaders {
		for _, line := range h[name] {
			for tag := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
				if len(tags) == maxTags {
					return tags
				}
				tags = append(tags, tag)
			}
		}
	}
	return tags
}

// maxTags is how many tags an answer may have; more do not count.
const maxTags = 256

func (p *Policy) isTagHeader(name string) bool {
	for _, tag := range p.tagHeaders {
		if tag == name {
			return true
		}
	}
	return false
}
