package telemetry

import (
	"io"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/crossgate/crossgate/config"
)

const (
	// accessBuffer is how much of the access log is held back to save writes.
	accessBuffer = 32 << 10
	// accessBound is how much is held back while a write does not end. What comes then is lost, and counted in the log:
	// a log that stands still must not hold up requests.
	accessBound = 1 << 20
	// accessFlush is the longest that a line is held back.
	accessFlush = time.Second
)

// AccessEntry is one line of the access log. Empty fields are left out. It has no query string and no header: both
// may hold credentials.
type AccessEntry struct {
	Start     time.Time
	Latency   time.Duration
	RequestID string
	Client    netip.Addr
	Protocol  Protocol
	Method    string
	Host      string
	Path      string
	Status    int
	BytesIn   int64 // -1 for unknown
	BytesOut  int64
	Route     string
	Binding   string
	GRPC      string // the full gRPC method called
	Upstream  string
	Variant   string // of the route's release
	User      string
	Decision  string // what the route's authorisation rules made of it
	Rule      string // and the one that decided
	WouldDeny string // a rule that only reports, and would have refused it
	Reason    string // why it was refused
	Limit     string // the limit that refused it
	DryRun    string // a limit that would have
	TraceID   string
}

// AccessLog writes a line for each request, as log/slog's JSON handler (or text handler) would.
type AccessLog struct {
	which atomic.Int32 // config.Log.Access
	text  bool
	out   io.Writer

	mu     sync.Mutex // held to append, never to write
	buf    []byte
	lost   int64 // lines, since the last flush
	closed bool

	writing sync.Mutex // held to write, before mu
	batch   []byte     // being written

	kick chan struct{} // something waits to be flushed
	stop chan struct{}
	done chan struct{}
}

const (
	accessAll = iota
	accessErrors
	accessOff
)

func newAccessLog(cfg config.Log, w io.Writer) *AccessLog {
	a := &AccessLog{
		text: cfg.Format == "text",
		out:  w,
		buf:  make([]byte, 0, accessBuffer+4<<10),
		kick: make(chan struct{}, 1),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	a.configure(cfg)
	go a.flushLoop()
	return a
}

func (a *AccessLog) configure(cfg config.Log) {
	which := int32(accessAll)
	switch cfg.Access {
	case "errors":
		which = accessErrors
	case "off":
		which = accessOff
	}
	a.which.Store(which)
}

// Wants reports whether a request that ended with status gets a line.
func (a *AccessLog) Wants(status int) bool {
	switch a.which.Load() {
	case accessAll:
		return true
	case accessErrors:
		return status >= 400
	}
	return false
}

// Write adds a line. It returns at once, but for one caller at a time that writes a full buffer.
func (a *AccessLog) Write(e *AccessEntry) {
	a.mu.Lock()
	if len(a.buf) >= accessBound {
		a.lost++
		a.mu.Unlock()
		return
	}
	first := len(a.buf) == 0
	l := line{b: a.buf, text: a.text}
	l.entry(e)
	a.buf = l.b
	full, closed := len(a.buf) >= accessBuffer, a.closed
	a.mu.Unlock()
	switch {
	case closed:
		a.writing.Lock()
		a.flush()
		a.writing.Unlock()
	case full && a.writing.TryLock():
		a.flush()
		a.writing.Unlock()
	case first:
		select {
		case a.kick <- struct{}{}:
		default:
		}
	}
}

// flush writes what is held back. The caller holds writing, so that lines keep their order. A log that cannot be
// written is no reason to fail requests.
func (a *AccessLog) flush() {
	a.mu.Lock()
	a.buf, a.batch = a.batch[:0], a.buf
	lost := a.lost
	a.lost = 0
	a.mu.Unlock()
	if lost > 0 {
		l := line{b: a.batch, text: a.text}
		l.loss(lost)
		a.batch = l.b
	}
	if len(a.batch) > 0 {
		_, _ = a.out.Write(a.batch)
	}
}

// flushLoop writes held-back lines within accessFlush. It sleeps while there are none, and ends with close.
func (a *AccessLog) flushLoop() {
	defer close(a.done)
	timer := time.NewTimer(accessFlush)
	defer timer.Stop()
	for {
		select {
		case <-a.kick:
		case <-a.stop:
			return
		}
		timer.Reset(accessFlush)
		select {
		case <-timer.C:
		case <-a.stop:
			return
		}
		a.writing.Lock()
		a.flush()
		a.writing.Unlock()
	}
}

// close may be called again. A line that comes after it is written at once.
func (a *AccessLog) close() {
	a.mu.Lock()
	again := a.closed
	a.closed = true
	a.mu.Unlock()
	if again {
		return
	}
	close(a.stop)
	<-a.done
	a.writing.Lock()
	a.flush()
	a.writing.Unlock()
}

// line builds one line without allocating.
type line struct {
	b     []byte
	text  bool
	fresh bool
}

func (l *line) begin(at time.Time, level, msg string) {
	if !l.text {
		l.b = append(l.b, '{')
	}
	l.fresh = true
	l.key("time")
	if !l.text {
		l.b = append(l.b, '"')
	}
	l.b = at.UTC().AppendFormat(l.b, "2006-01-02T15:04:05.000Z")
	if !l.text {
		l.b = append(l.b, '"')
	}
	l.str("level", level)
	l.str("msg", msg)
}

func (l *line) end() {
	if !l.text {
		l.b = append(l.b, '}')
	}
	l.b = append(l.b, '\n')
}

// loss says that lines are missing.
func (l *line) loss(lines int64) {
	l.begin(time.Now(), "WARN", "the access log fell behind")
	l.num("lines_lost", lines)
	l.end()
}

func (l *line) entry(e *AccessEntry) {
	l.begin(e.Start, "INFO", "request")
	l.str("request_id", e.RequestID)
	if e.Client.IsValid() {
		l.key("client")
		if !l.text {
			l.b = append(l.b, '"')
		}
		l.b = e.Client.AppendTo(l.b)
		if !l.text {
			l.b = append(l.b, '"')
		}
	}
	l.str("protocol", e.Protocol.String())
	l.str("method", e.Method)
	l.str("host", e.Host)
	l.str("path", e.Path)
	l.num("status", int64(e.Status))
	l.key("latency_ms")
	l.b = strconv.AppendFloat(l.b, float64(e.Latency.Microseconds())/1000, 'f', 3, 64)
	if e.BytesIn >= 0 {
		l.num("bytes_in", e.BytesIn)
	}
	l.num("bytes_out", e.BytesOut)
	l.str("route", e.Route)
	l.str("binding", e.Binding)
	l.str("grpc_method", e.GRPC)
	l.str("upstream", e.Upstream)
	l.str("variant", e.Variant)
	l.str("user", e.User)
	l.str("decision", e.Decision)
	l.str("rule", e.Rule)
	l.str("would_deny", e.WouldDeny)
	l.str("reason", e.Reason)
	l.str("limit", e.Limit)
	l.str("dry_run", e.DryRun)
	l.str("trace_id", e.TraceID)
	l.end()
}

func (l *line) key(name string) {
	if !l.fresh {
		if l.text {
			l.b = append(l.b, ' ')
		} else {
			l.b = append(l.b, ',')
		}
	}
	l.fresh = false
	if l.text {
		l.b = append(append(l.b, name...), '=')
		return
	}
	l.b = append(append(append(l.b, '"'), name...), `":`...)
}

func (l *line) num(name string, n int64) {
	l.key(name)
	l.b = strconv.AppendInt(l.b, n, 10)
}

func (l *line) str(name, value string) {
	if value == "" {
		return
	}
	l.key(name)
	if l.text && plain(value) {
		l.b = append(l.b, value...)
		return
	}
	l.b = appendQuoted(l.b, value)
}

// plain reports whether slog's text handler would leave s without quotes.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\' {
			return false
		}
	}
	return true
}

// appendQuoted appends s as a JSON string. Control characters and line separators are escaped, so that no value can
// begin a line of its own or speak to a terminal, and invalid UTF-8 becomes U+FFFD.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r < 0xa0 || r == '\u2028' || r == '\u2029' {
			b = append(append(b, s[from:i]...), '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			from = i + size
		}
		i += size
	}
	return append(append(b, s[from:]...), '"')
}
