package cache

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// capture is what an origin answers to: it passes the answer on to the client as it comes, and holds what may be kept.
type capture struct {
	*lookup
	to     http.ResponseWriter // the client; nil for nobody
	reason *forwarded
	fill   bool    // the answer is wanted for the cache
	asking bool    // the request asks whether stale is good still
	stale  *entry  // what is there
	flight *flight // who wait

	answer
	sent       http.Header // of the answer; nil until there is one
	body       []byte
	reserved   int64 // of what all answers that are being kept may take
	keep       bool
	held       bool // the client gets nothing before all of it is there
	unmodified bool // stale is good still
	failed     bool // stale is to be given for it
	quiet      bool // the client has it already, and gets no body
	lost       bool // the client is gone
}

// Header implements http.ResponseWriter.
func (c *capture) Header() http.Header {
	if c.sent == nil {
		c.sent = http.Header{}
	}
	return c.sent
}

// WriteHeader implements http.ResponseWriter.
func (c *capture) WriteHeader(status int) {
	switch {
	case c.status != 0:
		return
	case status < http.StatusOK:
		c.early(status)
		return
	}
	header := c.Header()
	c.answer.status, c.answer.header, c.received = status, header, c.store.now()
	switch {
	case c.asking && status == http.StatusNotModified:
		c.unmodified = true
		return
	case c.stale != nil && isFailure(status) && c.mayStandIn(c.stale, c.received):
		c.failed = true
		return
	}
	switch {
	case c.fill && c.request.Call && status == http.StatusOK:
		c.held = true
		return
	case c.fill && c.request.Call:
		c.pass()
	case c.fill:
		c.decide()
	}
	if c.to != nil {
		c.begin(status)
	}
}

// isFailure knows the statuses that a stale answer may be given for (RFC 5861 section 4).
func isFailure(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// decide decides whether the answer is kept. Where it is not, nobody waits for the rest of it.
func (c *capture) decide() {
	size := int64(-1)
	if n, err := strconv.ParseInt(first(c.header["Content-Length"]), 10, 64); err == nil {
		size = n
	}
	if size > int64(c.maxBody) || !c.judge(&c.answer, c.request, c.request.Header, c.who) || !c.reserve(max(0, size)) {
		c.pass()
		return
	}
	c.keep = true
	// What is kept is the origin's; the client's is changed on its way.
	c.answer.header = maps.Clone(c.header)
	if size > 0 {
		c.body = make([]byte, 0, size)
	}
}

// pass notes that the answer is not kept, and lets those go who wait for it.
func (c *capture) pass() {
	c.keep, c.body = false, nil
	if c.flight != nil && c.status < http.StatusInternalServerError {
		c.store.giveUp(c.key, c.uri)
	}
	c.store.flights.land(c.flight, nil, false)
}

// reserve makes room for n bytes more. There is as much for what is on its way as for what is kept.
func (c *capture) reserve(n int64) bool {
	if c.store.filling.Add(n) > int64(c.store.memory.GetMaximum()) {
		c.store.filling.Add(-n)
		return false
	}
	c.reserved += n
	return true
}

// begin passes the header on.
func (c *capture) begin(as int) {
	h := c.to.Header()
	status := c.reason.passed
	if c.keep {
		status = c.reason.stored
	}
	for name, values := range c.sent {
		switch {
		case name == "Cache-Status":
			// Each cache on the way adds what it did (RFC 9211 section 2).
			status = append(values[:len(values):len(values)], status...)
		case c.stripTags && c.isTagHeader(name), strings.HasPrefix(name, http.TrailerPrefix):
		default:
			merge(h, name, values)
		}
	}
	h["Cache-Status"] = status
	if c.fill && c.status == http.StatusOK && has(c.request.Header, first(h["Etag"]), first(h["Last-Modified"])) {
		c.quiet = true
		unmodified(h)
		c.to.WriteHeader(http.StatusNotModified)
		return
	}
	c.to.WriteHeader(as)
}

// early passes on an answer before the last one.
func (c *capture) early(status int) {
	if c.to == nil {
		return
	}
	h := c.to.Header()
	mine := maps.Clone(h)
	clear(h)
	maps.Copy(h, c.Header())
	c.to.WriteHeader(status)
	clear(h)
	maps.Copy(h, mine)
}

// Write implements http.ResponseWriter. Its error says that nobody wants the rest.
func (c *capture) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if c.unmodified || c.failed {
		return 0, http.ErrBodyNotAllowed
	}
	switch {
	case c.held && c.hold(b):
		return len(b), nil
	case c.held:
		c.letGo()
	case c.keep && !c.hold(b):
		c.pass()
	}
	switch {
	case c.to != nil && !c.quiet:
		n, err := c.to.Write(b)
		c.lost = c.lost || err != nil
		return n, err
	case !c.keep:
		return 0, http.ErrBodyNotAllowed
	}
	return len(b), nil
}

// hold adds to the body that may be kept, and reports whether there is room for it.
func (c *capture) hold(b []byte) bool {
	size := len(c.body) + len(b)
	if size > c.maxBody || int64(size) > c.reserved && !c.reserve(int64(max(size, 2*cap(c.body)))-c.reserved) {
		return false
	}
	c.body = append(c.body, b...)
	return true
}

// FlushError is what http.ResponseController calls.
func (c *capture) FlushError() error {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if c.to == nil || c.quiet || c.unmodified || c.failed || c.held {
		return nil
	}
	return http.NewResponseController(c.to).Flush()
}

// Unwrap lets http.ResponseController reach the client's own writer.
func (c *capture) Unwrap() http.ResponseWriter { return c.to }

// end passes on what came after the body.
func (c *capture) end() {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if c.held {
		c.settle()
	}
	if c.unmodified || c.failed {
		return
	}
	announced := c.sent["Trailer"] != nil
	for name, values := range c.sent {
		if announced || strings.HasPrefix(name, http.TrailerPrefix) {
			if c.keep && !c.request.Call {
				c.pass()
			}
			if c.to != nil && !c.quiet && !(c.stripTags && c.isTagHeader(strings.TrimPrefix(name, http.TrailerPrefix))) {
				c.to.Header()[name] = values
			}
		}
	}
}

// whole reports whether all of the body came.
func (c *capture) whole() bool {
	if c.lost {
		return false
	}
	declared := first(c.header["Content-Length"])
	return declared == "" || declared == strconv.Itoa(len(c.body))
}

// forwarded is Cache-Status of answers that were not just there, for one reason.
type forwarded struct{ passed, stored, collapsed, revalidated []string }

func forwardedFor(reason string) *forwarded {
	fwd := cacheName + "; fwd=" + reason
	return &forwarded{[]string{fwd}, []string{fwd + "; stored"}, []string{fwd + "; collapsed"}, []string{fwd + "; fwd-status=304; stored"}}
}

// The reasons (RFC 9211 section 2.2).
var (
	fwdBypass  = forwardedFor("bypass")
	fwdMiss    = forwardedFor("uri-miss")
	fwdVary    = forwardedFor("vary-miss")
	fwdStale   = forwardedFor("stale")
	fwdRequest = forwardedFor("request")

	staleIfError = []string{cacheName + "; fwd=stale; detail=stale-if-error"}
)
