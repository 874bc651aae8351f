package gateway

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/config"
)

func TestTheEncodingIsWhatTheClientLikesBest(t *testing.T) {
	all := compileCompression(&config.Compression{})
	gzipFirst := compileCompression(&config.Compression{Encodings: []string{"gzip", "br"}})
	for _, c := range []struct {
		rules  *compression
		accept []string
		want   string
	}{
		{all, nil, ""},
		{all, []string{""}, ""},
		{all, []string{"gzip"}, "gzip"},
		{all, []string{"GZIP"}, "gzip"},
		{all, []string{"gzip, deflate, br, zstd"}, "zstd"},
		{all, []string{"gzip, deflate, br"}, "br"},
		{gzipFirst, []string{"gzip, deflate, br, zstd"}, "gzip"},
		{gzipFirst, []string{"zstd"}, ""},
		{all, []string{"gzip;q=0.9, br;q=0.8, zstd;q=0.1"}, "gzip"},
		{all, []string{"gzip;q=0.5", "br;q=0.6"}, "br"},
		{all, []string{"gzip;q=0"}, ""},
		{all, []string{"*"}, "zstd"},
		{all, []string{"*;q=0.5, zstd;q=0"}, "br"},
		{all, []string{"*;q=0"}, ""},
		{all, []string{"identity, gzip;q=0.5"}, ""},
		{all, []string{"identity;q=0.5, gzip;q=0.5"}, ""},
		{all, []string{"identity;q=0.5, gzip"}, "gzip"},
		{all, []string{"identity;q=0, gzip"}, "gzip"},
		{all, []string{"deflate"}, ""},
	} {
		got := ""
		if e := c.rules.choose(c.accept); e != nil {
			got = e.name
		}
		if got != c.want {
			t.Errorf("Accept-Encoding %q: %q, want %q", c.accept, got, c.want)
		}
	}
	if compileCompression(&config.Compression{Encodings: []string{"none"}}) != nil {
		t.Error("none is an encoding")
	}
}

// answer serves one answer through a recorder.
func answer(rules *compression, accept string, serve func(http.ResponseWriter)) *httptest.ResponseRecorder {
	client := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", accept)
	w := &recorder{ResponseWriter: client}
	w.compress.ask(rules, r)
	serve(w)
	w.end()
	return client
}

func TestOnlyWhatIsWorthItIsCompressed(t *testing.T) {
	rules := compileCompression(&config.Compression{MinSize: 1000})
	long := []byte(strings.Repeat("x", 2000))
	for _, c := range []struct {
		name   string
		header map[string]string
		status int
		body   []byte
		want   string // Content-Encoding
		vary   string
	}{
		{"JSON", map[string]string{"Content-Type": "application/json", "Content-Length": "2000"}, 200, long, "gzip", "Accept-Encoding"},
		{"an error", map[string]string{"Content-Type": "application/problem+json"}, 404, long, "gzip", "Accept-Encoding"},
		{"text", map[string]string{"Content-Type": "text/html; charset=utf-8"}, 200, long, "gzip", "Accept-Encoding"},
		{"what varies anyway", map[string]string{"Content-Type": "text/css", "Vary": "Origin"}, 200, long, "gzip", "Origin,Accept-Encoding"},
		{"a small answer", map[string]string{"Content-Type": "application/json"}, 200, long[:999], "", "Accept-Encoding"},
		{"an empty answer", map[string]string{"Content-Type": "application/json"}, 200, nil, "", "Accept-Encoding"},
		{"an image", map[string]string{"Content-Type": "image/png"}, 200, long, "", ""},
		{"what is compressed already", map[string]string{"Content-Type": "text/css", "Content-Encoding": "br"}, 200, long, "br", ""},
		{"what nobody may change", map[string]string{"Content-Type": "text/css", "Cache-Control": "no-transform"}, 200, long, "", "Accept-Encoding"},
		{"no content", nil, 204, nil, "", ""},
		{"a part", map[string]string{"Content-Type": "text/css"}, 206, long, "", ""},
		{"a stream", map[string]string{"Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"}, 200, long, "", "Accept-Encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := answer(rules, "gzip", func(w http.ResponseWriter) {
				for name, value := range c.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.status)
				if c.body != nil {
					_, _ = w.Write(c.body)
				}
			})
			h := got.Result().Header
			if got.Code != c.status || h.Get("Content-Encoding") != c.want || strings.Join(h["Vary"], ",") != c.vary {
				t.Errorf("%d, %v; want %q, %q", got.Code, h, c.want, c.vary)
			}
			if compressed := c.want == "gzip"; compressed == slices.Equal(got.Body.Bytes(), c.body) || compressed && h.Get("Content-Length") != "" {
				t.Errorf("%d bytes, %v", got.Body.Len(), h)
			}
		})
	}
}

func TestACompressedAnswersTagIsWeak(t *testing.T) {
	rules := compileCompression(&config.Compression{})
	got := answer(rules, "gzip", func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/css")
		w.Header().Set("Etag", `"abc"`)
		_, _ = w.Write([]byte("body"))
	})
	if tag := got.Result().Header.Get("Etag"); tag != `W/"abc"` {
		t.Errorf("%s", tag)
	}
}

func TestHeadAndRangeRequestsAreNotCompressed(t *testing.T) {
	for _, r := range []*http.Request{httptest.NewRequest("HEAD", "/", nil), httptest.NewRequest("GET", "/", nil)} {
		r.Header.Set("Accept-Encoding", "gzip")
		if r.Method == "GET" {
			r.Header.Set("Range", "bytes=0-1")
		}
		var c compressor
		if c.ask(compileCompression(&config.Compression{}), r); c.rules != nil {
			t.Errorf("%s is compressed", r.Method)
		}
	}
}

// nothing is a response writer that does nothing.
type nothing struct{ header http.Header }

func (n nothing) Header() http.Header         { return n.header }
func (n nothing) Write(b []byte) (int, error) { return len(b), nil }
func (n nothing) WriteHeader(int)             {}

func TestAnAnswerThatIsNotCompressedAllocatesNothing(t *testing.T) {
	rules := compileCompression(&config.Compression{MinSize: 1000})
	body := []byte(strings.Repeat("x", 100))
	contentType := []string{"application/json"}
	for name, accept := range map[string]string{"not asked for": "", "too small": "gzip, br;q=0.5"} {
		r := httptest.NewRequest("GET", "/", nil)
		if accept != "" {
			r.Header.Set("Accept-Encoding", accept)
		}
		client := nothing{http.Header{}}
		w := new(recorder)
		if n := testing.AllocsPerRun(100, func() {
			clear(client.header)
			client.header["Content-Type"] = contentType
			*w = recorder{ResponseWriter: client}
			w.compress.ask(rules, r)
			w.WriteHeader(200)
			_, _ = w.Write(body)
			w.end()
		}); n > 1 { // client, which becomes an interface
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
