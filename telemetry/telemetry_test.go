package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a log that many may write to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t testing.TB, cfg config.Log, w io.Writer) *Telemetry {
	t.Helper()
	tel := New(cfg, w)
	t.Cleanup(tel.Close)
	return tel
}

// written returns the access log of one entry.
func written(cfg config.Log, e *AccessEntry) string {
	var out buffer
	tel := New(cfg, &out)
	tel.Access.Write(e)
	tel.Close()
	return out.String()
}

// scrape returns what /metrics answers.
func scrape(t *testing.T, tel *Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("/metrics answered %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func fullEntry() *AccessEntry {
	return &AccessEntry{
		Start:   time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.FixedZone("", 3600)),
		Latency: 1234567 * time.Nanosecond, RequestID: "abc", Client: netip.MustParseAddr("2001:db8::1"),
		Protocol: WebSocket, Method: "GET", Host: "shop.example", Path: "/v1/items", Status: 101,
		BytesIn: 12, BytesOut: 34, Route: "shop", Binding: "/v1/{name=items/*}", GRPC: "shop.v1.Catalog/GetItem",
		Upstream: "10.0.0.1:80", User: "ada", Reason: "too many requests", TraceID: "0af7651916cd43dd8448eb211c80319c",
	}
}

func TestAccessLogLine(t *testing.T) {
	const asJSON = `{"time":"2026-03-04T04:06:07.089Z","level":"INFO","msg":"request","request_id":"abc","client":"2001:db8::1",` +
		`"protocol":"websocket","method":"GET","host":"shop.example","path":"/v1/items","status":101,"latency_ms":1.234,` +
		`"bytes_in":12,"bytes_out":34,"route":"shop","binding":"/v1/{name=items/*}","grpc_method":"shop.v1.Catalog/GetItem",` +
		`"upstream":"10.0.0.1:80","user":"ada","reason":"too many requests","trace_id":"0af7651916cd43dd8448eb211c80319c"}` + "\n"
	const asText = `time=2026-03-04T04:06:07.089Z level=INFO msg=request request_id=abc client=2001:db8::1 ` +
		`protocol=websocket method=GET host=shop.example path=/v1/items status=101 latency_ms=1.234 ` +
		`bytes_in=12 bytes_out=34 route=shop binding="/v1/{name=items/*}" grpc_method=shop.v1.Catalog/GetItem ` +
		`upstream=10.0.0.1:80 user=ada reason="too many requests" trace_id=0af7651916cd43dd8448eb211c80319c` + "\n"
	for _, c := range []struct{ name, format, want string }{
		{"a JSON line has every field", "json", asJSON},
		{"a text line has every field, quoted where slog would quote it", "text", asText},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := written(config.Log{Format: c.format}, fullEntry()); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	t.Run("what is empty or unknown is left out", func(t *testing.T) {
		got := written(config.Log{}, &AccessEntry{BytesIn: -1, Status: 404})
		var fields map[string]any
		if err := json.Unmarshal([]byte(got), &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"client", "bytes_in", "route", "user", "reason", "trace_id", "request_id"} {
			if _, ok := fields[name]; ok {
				t.Errorf("%s is there: %s", name, got)
			}
		}
	})
}

var hostile = []struct{ name, value string }{
	{"a newline", "a\n{\"msg\":\"forged\"}"},
	{"a carriage return", "a\r\nb"},
	{"quotes that close the string", `","status":200,"x":"`},
	{"a backslash at the end", `a\`},
	{"an escaped quote", `a\"b`},
	{"NUL, escape and DEL", "a\x00\x1b[2J\x7fb"},
	{"every control character", "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0b\x0c\x0e\x0f\x10\x1f"},
	{"invalid UTF-8", "a\xff\xfe\xc3b"},
	{"UTF-8 that ends early", "a\xe2\x82"},
	{"a surrogate in UTF-8", "a\xed\xa0\x80b"},
	{"line separators of Unicode", "a\u2028b\u2029c"},
	{"a space and an equals sign", "a user=root"},
	{"text beyond ASCII", "Grüße, 世界 🌍"},
}

func TestAccessLogCannotBeInjected(t *testing.T) {
	for _, h := range hostile {
		e := fullEntry()
		for _, field := range []*string{&e.RequestID, &e.Method, &e.Host, &e.Path, &e.Route, &e.Binding, &e.GRPC, &e.Upstream, &e.User, &e.Reason, &e.Limit, &e.DryRun, &e.TraceID} {
			*field = h.value
		}
		t.Run(h.name+" stays inside its JSON string", func(t *testing.T) {
			got := written(config.Log{Format: "json"}, e)
			oneLine(t, got)
			d := json.NewDecoder(strings.NewReader(got))
			seen := map[string]bool{}
			if _, err := d.Token(); err != nil {
				t.Fatal(err)
			}
			for d.More() {
				key, err := d.Token()
				if err != nil {
					t.Fatalf("%v in %q", err, got)
				}
				if seen[key.(string)] {
					t.Errorf("the key %v is there twice: %s", key, got)
				}
				seen[key.(string)] = true
				if _, err := d.Token(); err != nil {
					t.Fatalf("%v in %q", err, got)
				}
			}
			var fields map[string]any
			if err := json.Unmarshal([]byte(got), &fields); err != nil {
				t.Fatalf("%v in %q", err, got)
			}
			if len(fields) != 22 || fields["status"] != 101.0 {
				t.Errorf("%d fields, status %v: %s", len(fields), fields["status"], got)
			}
			if user := fields["user"].(string); utf8.ValidString(h.value) && !strings.ContainsAny(h.value, "\u2028\u2029") && user != h.value {
				t.Errorf("the user reads %q, want %q", user, h.value)
			}
		})
		t.Run(h.name+" stays inside its text value", func(t *testing.T) {
			got := written(config.Log{Format: "text"}, e)
			oneLine(t, got)
			if n := strings.Count(outsideQuotes(got), " user="); n != 1 {
				t.Errorf("%d values for user in %q", n, got)
			}
		})
	}
}

func oneLine(t *testing.T, got string) {
	t.Helper()
	if !strings.HasSuffix(got, "\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("not one line: %q", got)
	}
	for _, r := range strings.TrimSuffix(got, "\n") {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			t.Errorf("%U is in the line as it is: %q", r, got)
		}
	}
	if strings.ToValidUTF8(got, "") != got {
		t.Errorf("not UTF-8: %q", got)
	}
}

// outsideQuotes drops what is between double quotes.
func outsideQuotes(s string) string {
	var b strings.Builder
	inside := false
	for i := 0; i < len(s); i++ {
		switch {
		case inside && s[i] == '\\':
			i++
		case s[i] == '"':
			inside = !inside
		case !inside:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func FuzzAccessLogLine(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.value)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := line{}
		l.entry(&AccessEntry{Path: s, User: s})
		oneLine(t, string(l.b))
		if !json.Valid(l.b) {
			t.Errorf("not JSON: %q", l.b)
		}
	})
}

func TestAccessLogWants(t *testing.T) {
	for _, c := range []struct {
		name, access string
		want         map[int]bool
	}{
		{"all requests have a line", "all", map[int]bool{200: true, 101: true, 399: true, 400: true, 503: true}},
		{"only those that ended in an error have a line", "errors", map[int]bool{200: false, 101: false, 399: false, 400: true, 503: true}},
		{"none has a line", "off", map[int]bool{200: false, 400: false, 503: false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tel := start(t, config.Log{}, io.Discard)
			tel.Configure(config.Log{Access: c.access})
			for status, want := range c.want {
				if got := tel.Access.Wants(status); got != want {
					t.Errorf("status %d: %v, want %v", status, got, want)
				}
			}
		})
	}
}

func TestAccessLogFlush(t *testing.T) {
	t.Run("a line is written within a second, and again after a pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var out buffer
			tel := New(config.Log{}, &out)
			defer tel.Close()
			for n := 1; n <= 3; n++ {
				tel.Access.Write(fullEntry())
				synctest.Wait()
				if got := strings.Count(out.String(), "\n"); got != n-1 {
					t.Errorf("%d lines before a second has passed, want %d", got, n-1)
				}
				<-time.After(accessFlush)
				synctest.Wait()
				if got := strings.Count(out.String(), "\n"); got != n {
					t.Errorf("%d lines after a second, want %d", got, n)
				}
				<-time.After(time.Hour)
			}
		})
	})
	t.Run("Close writes what is held back", func(t *testing.T) {
		if got := written(config.Log{}, fullEntry()); strings.Count(got, "\n") != 1 {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a full buffer is written at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var out buffer
			tel := New(config.Log{}, &out)
			defer tel.Close()
			for range accessBuffer/100 + 1 {
				tel.Access.Write(fullEntry())
			}
			if out.String() == "" {
				t.Error("nothing was written")
			}
		})
	})
	t.Run("concurrent writers lose no line and mix none", func(t *testing.T) {
		var out buffer
		tel := New(config.Log{}, &out)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 200 {
					tel.Access.Write(fullEntry())
				}
			})
		}
		all.Wait()
		tel.Close()
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 1600 {
			t.Errorf("%d lines, want 1600", len(lines))
		}
		for _, l := range lines {
			if !json.Valid([]byte(l)) {
				t.Fatalf("not JSON: %s", l)
			}
		}
	})
}

func TestObserveAndWriteAllocateNothing(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	route, entry := tel.Route("shop"), fullEntry()
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"observing a request", func() { route.Observe(REST, 200, time.Millisecond, 10, 20) }},
		{"counting a refusal", func() { route.Refused(RefusedLimit) }},
		{"counting a decision", func() { route.Decided("rule", Allowed, "") }},
		{"writing an access line", func() { tel.Access.Write(entry) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(500, c.do); n != 0 {
				t.Errorf("%v allocations, want 0", n)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	r := tel.Route("shop")
	r.Observe(REST, 200, 3*time.Millisecond, 10, 20)
	r.Observe(REST, 200, 3*time.Millisecond, -1, 5)
	r.Observe(GRPC, 7, time.Second, 0, 0)
	r.Refused(RefusedLimit)
	got := scrape(t, tel)
	for _, want := range []string{
		`crossgate_requests_total{code="200",protocol="rest",route="shop"} 2`,
		`crossgate_requests_total{code="500",protocol="grpc",route="shop"} 1`,
		`crossgate_request_bytes_total{route="shop"} 10`,
		`crossgate_response_bytes_total{route="shop"} 25`,
		`crossgate_request_duration_seconds_bucket{protocol="rest",route="shop",le="0.0025"} 0`,
		`crossgate_request_duration_seconds_bucket{protocol="rest",route="shop",le="0.005"} 2`,
		`crossgate_refusals_total{reason="limit_exceeded",route="shop"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if tel.Route("shop") != r {
		t.Error("the same name has other series")
	}
}

func TestWebSocketCloseCodesAreFew(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	r := tel.Route("chat")
	known := []int{1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4001, 4003, 4004, 4005, 4008, 4009, 4010}
	for code := 4101; code <= 4116; code++ { // of gRPC codes
		known = append(known, code)
	}
	for code := -1; code < 6000; code++ {
		r.WebSocketClosed(code)
	}
	got := scrape(t, tel)
	for _, code := range known {
		if want := `crossgate_websocket_closes_total{code="` + strconv.Itoa(code) + `",route="chat"} 1`; !strings.Contains(got, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if want := `crossgate_websocket_closes_total{code="other",route="chat"} ` + strconv.Itoa(6001-len(known)); !strings.Contains(got, want+"\n") {
		t.Errorf("no %s", want)
	}
	if n := strings.Count(got, "crossgate_websocket_closes_total{"); n != len(known)+1 {
		t.Errorf("%d series, want %d", n, len(known)+1)
	}
}

func TestRetain(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	for _, name := range []string{"kept", "gone", NoRoute} {
		r := tel.Route(name)
		r.Observe(REST, 200, time.Millisecond, 1, 1)
		r.Refused(RefusedNoRoute)
		sessions := r.Sessions(OverWebSocket)
		sessions.Open.Inc()
		sessions.In.Inc()
		r.WebSocketClosed(1000)
	}
	tel.Retain(map[string]bool{"kept": true})
	got := scrape(t, tel)
	if strings.Contains(got, `route="gone"`) {
		t.Error("the series of a route that is gone are still there")
	}
	for _, name := range []string{"kept", NoRoute} {
		if !strings.Contains(got, `crossgate_requests_total{code="200",protocol="rest",route="`+name+`"} 1`) {
			t.Errorf("the series of %s are gone", name)
		}
	}
	tel.Route("gone").Observe(REST, 200, time.Millisecond, 0, 0)
	if !strings.Contains(scrape(t, tel), `crossgate_requests_total{code="200",protocol="rest",route="gone"} 1`) {
		t.Error("a route that came back does not begin at zero")
	}
}

func TestEveryMetricIsDescribed(t *testing.T) {
	doc, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	tel := start(t, config.Log{}, io.Discard)
	names := make(chan *prometheus.Desc)
	go func() {
		tel.registry.Describe(names)
		close(names)
	}()
	known := map[string]bool{}
	for d := range names {
		// A Desc tells its name by its text only.
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		if strings.HasPrefix(name, "crossgate_") {
			known[name] = true
			if !strings.Contains(string(doc), "`"+name+"`") {
				t.Errorf("docs/metrics.md does not describe %s", name)
			}
		}
	}
	if len(known) < 16 {
		t.Errorf("%d metrics are registered, want 16 at least", len(known))
	}
	for word := range strings.FieldsFuncSeq(string(doc), func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
		word = strings.TrimSuffix(word, "_bucket")
		if strings.HasPrefix(word, "crossgate_") && !known[word] {
			t.Errorf("docs/metrics.md describes %s, which there is not", word)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Run("a new one is 32 hexadecimal digits, valid, and never the same", func(t *testing.T) {
		seen := map[string]bool{}
		for range 1000 {
			id := NewRequestID()
			if len(id) != 32 || !isHex(id) || !ValidRequestID(id) || seen[id] {
				t.Fatalf("got %q", id)
			}
			seen[id] = true
		}
	})
	for _, c := range []struct {
		name, id string
		want     bool
	}{
		{"a UUID is kept", "123e4567-e89b-12d3-a456-426614174000", true},
		{"an id of every kind of character is kept", "aZ09-_.:/+=", true},
		{"an id of 128 characters is kept", strings.Repeat("a", 128), true},
		{"an empty id is not", "", false},
		{"an id of 129 characters is not", strings.Repeat("a", 129), false},
		{"an id with a newline is not", "a\nb", false},
		{"an id with a space is not", "a b", false},
		{"an id with a quote is not", `a"b`, false},
		{"an id with a NUL is not", "a\x00", false},
		{"an id beyond ASCII is not", "é", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ValidRequestID(c.id); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTraceID(t *testing.T) {
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, c := range []struct{ name, header, want string }{
		{"version 00", "00-" + id + "-" + parent + "-01", id},
		{"flags that are not known yet", "00-" + id + "-" + parent + "-ff", id},
		{"a later version", "cc-" + id + "-" + parent + "-01", id},
		{"a later version with more", "cc-" + id + "-" + parent + "-01-what", id},
		{"a later version with more that is not set off", "cc-" + id + "-" + parent + "-01what", ""},
		{"version 00 with more", "00-" + id + "-" + parent + "-01-what", ""},
		{"version ff", "ff-" + id + "-" + parent + "-01", ""},
		{"no version", "zz-" + id + "-" + parent + "-01", ""},
		{"a trace id of zeros", "00-" + strings.Repeat("0", 32) + "-" + parent + "-01", ""},
		{"a parent id of zeros", "00-" + id + "-" + strings.Repeat("0", 16) + "-01", ""},
		{"upper case", "00-" + strings.ToUpper(id) + "-" + parent + "-01", ""},
		{"flags that are not hexadecimal", "00-" + id + "-" + parent + "-0g", ""},
		{"other separators", "00_" + id + "_" + parent + "_01", ""},
		{"a short header", "00-" + id + "-" + parent + "-0", ""},
		{"an empty header", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := TraceID(c.header); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func BenchmarkObserve(b *testing.B) {
	tel := start(b, config.Log{}, io.Discard)
	r := tel.Route("shop")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Observe(REST, 200, time.Millisecond, 10, 20)
		}
	})
}

func BenchmarkAccessLogWrite(b *testing.B) {
	tel := start(b, config.Log{}, io.Discard)
	e := fullEntry()
	b.ReportAllocs()
	for b.Loop() {
		tel.Access.Write(e)
	}
}
