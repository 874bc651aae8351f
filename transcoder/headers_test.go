package transcoder

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestRequestHeadersBecomeMetadata(t *testing.T) {
	s := startShop(t, func(o *Options) { o.ForwardHeaders = []string{"X-Shop", "x-tenant-*", "Cookie", "Connection"} })
	_, text := s.do("GET /v1/search", "",
		"Traceparent", "00-1-2-01", "Tracestate", "a=b", "X-Request-Id", "r1", "Accept-Language", "de", "User-Agent", "browser/1",
		"X-Shop", "s", "X-Tenant-Name", "acme", "X-Other", "no", "Authorization", "Bearer secret", "Cookie", "session=1",
		"Grpc-Metadata-Color", "red", "Grpc-Metadata-Raw-Bin", "AP8=", "Grpc-Metadata-Grpc-Timeout", "1S", "Grpc-Metadata-Te", "x",
		"Grpc-Metadata-X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "1.2.3.4", "X-Tenant-Bad", "caf\xe9", "Grpc-Metadata-B!d", "x",
	)
	md := <-s.received
	for key, want := range map[string]string{
		"traceparent": "00-1-2-01", "tracestate": "a=b", "x-request-id": "r1", "accept-language": "de", "grpcgateway-user-agent": "browser/1",
		"x-shop": "s", "x-tenant-name": "acme", "cookie": "session=1", "color": "red", "raw-bin": "\x00\xff", "x-forwarded-for": "1.2.3.4, 127.0.0.1",
		"x-forwarded-host": strings.TrimPrefix(s.gateway.URL, "http://"),
	} {
		if got := md.Get(key); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"x-other", "authorization", "grpc-timeout", "connection", "x-tenant-bad", "b!d", "grpc-metadata-color"} {
		if got := md.Get(key); len(got) > 0 {
			t.Errorf("%s was handed on: %q", key, got)
		}
	}
	if got := md.Get("te"); slices.Contains(got, "x") {
		t.Errorf("te: %q", got)
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestCredentialsAreForwardedOnlyByName(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  bool
	}{{nil, false}, {[]string{"*"}, false}, {[]string{"Auth*"}, false}, {[]string{"authorization"}, true}, {[]string{"*", "authorization"}, true}} {
		s := startShop(t, func(o *Options) { o.ForwardHeaders = c.names })
		s.do("GET /v1/search", "", "Authorization", "Bearer secret")
		md := <-s.received
		if got := md.Get("authorization"); (len(got) > 0) != c.want || len(got) > 1 {
			t.Errorf("forward_headers %q: %q", c.names, got)
		}
	}
}

func TestABinaryHeaderThatIsNoBase64IsRefused(t *testing.T) {
	s := startShop(t, nil)
	answer, text := s.do("GET /v1/search", "", "Grpc-Metadata-Raw-Bin", "***")
	if answer.StatusCode != http.StatusBadRequest || !strings.Contains(text, "raw-bin") {
		t.Errorf("status %d: %s", answer.StatusCode, text)
	}
}

func TestMetadataBecomesResponseHeaders(t *testing.T) {
	s := startShop(t, func(o *Options) { o.ReturnHeaders = []string{"X-Tenant", "x-cost", "content-type", "connection"} })
	for _, line := range []string{"GET /v1/search", "GET /v1/fail/5", "GET /v1/watch?page_size=1", "POST /v1/upload"} {
		t.Run(line, func(t *testing.T) {
			body := ""
			if strings.HasPrefix(line, "POST") {
				body = `{"title":"a"}`
			}
			answer, _ := s.do(line, body)
			h := answer.Header
			if h.Get("X-Tenant") != "acme" || h.Get("Grpc-Metadata-X-Tenant") != "" {
				t.Errorf("a returned header: %v", h)
			}
			if h.Get("Grpc-Metadata-X-Hidden") != "h" || h.Get("X-Hidden") != "" {
				t.Errorf("another header: %v", h)
			}
			if h.Get("Grpc-Metadata-X-Raw-Bin") != "AP8" {
				t.Errorf("a binary header: %q", h.Get("Grpc-Metadata-X-Raw-Bin"))
			}
			if strings.HasPrefix(line, "GET /v1/watch") {
				return
			}
			if h.Get("X-Cost") != "7" {
				t.Errorf("a returned trailer: %v", h)
			}
		})
	}
}

func TestTrailersGoToClientsThatTakeThem(t *testing.T) {
	s := startShop(t, nil)
	for _, c := range []struct{ line, body string }{
		{"GET /v1/search", ""}, {"POST /v1/echo", `{"title":"` + strings.Repeat("x", 5000) + `"}`}, {"GET /v1/watch?page_size=2", ""}, {"POST /v1/upload", "{}"},
	} {
		answer, _ := s.do(c.line, c.body, "TE", "trailers")
		if got := answer.Trailer.Get("Grpc-Trailer-X-Cost"); got != "7" {
			t.Errorf("%s: trailers %v", c.line, answer.Trailer)
		}
		if answer, _ = s.do(c.line, c.body); len(answer.Trailer) > 0 || answer.Header.Get("Grpc-Trailer-X-Cost") != "" {
			t.Errorf("%s: trailers unasked: %v", c.line, answer.Trailer)
		}
	}
}

func TestEncodeMessage(t *testing.T) {
	for in, want := range map[string]string{"plain text": "plain text", "100%": "100%25", "a\r\nb": "a%0D%0Ab", "é": "%C3%A9", "": ""} {
		if got := encodeMessage(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
