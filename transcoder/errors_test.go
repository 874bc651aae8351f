package transcoder

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/upstream"
)

// TestErrors compares the HTTP status of every code with grpc-gateway's.
func TestErrors(t *testing.T) {
	s := startShop(t, nil)
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			if HTTPStatus(code) != runtime.HTTPStatusFromCode(code) {
				t.Errorf("status %d, want %d", HTTPStatus(code), runtime.HTTPStatusFromCode(code))
			}
			answer, text := s.do(fmt.Sprintf("GET /v1/fail/%d", code), "")
			if answer.StatusCode != HTTPStatus(code) || answer.Header.Get("Content-Type") != "application/json" {
				t.Errorf("status %d, %v", answer.StatusCode, answer.Header)
			}
			sameJSON(t, text, fmt.Sprintf(`{"code":%d,"message":"no <luck>","details":[
				{"@type":"type.googleapis.com/shop.Detail","why":"because"},
				{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.300s"},
				{"@type":"type.googleapis.com/no.Such","value":"AQI="}]}`, code))
			if got := answer.Header.Get("Retry-After"); got != "3" {
				t.Errorf("Retry-After %q", got)
			}
			if challenge := answer.Header.Get("WWW-Authenticate"); (challenge != "") != (code == codes.Unauthenticated) {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
		})
	}
	if got := HTTPStatus(codes.Code(99)); got != http.StatusInternalServerError {
		t.Errorf("an unknown code: %d", got)
	}
}

func TestWriteError(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("WWW-Authenticate", `Bearer realm="shop"`)
	WriteError(w, httptest.NewRequest("GET", "/", nil), status.Error(codes.Unauthenticated, "who \"are\" you \xff"))
	if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != `Bearer realm="shop"` {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	sameJSON(t, w.Body.String(), `{"code":16,"message":"who \"are\" you \ufffd","details":[]}`)

	w = httptest.NewRecorder()
	WriteError(w, httptest.NewRequest("HEAD", "/", nil), status.Error(codes.NotFound, "no"))
	if w.Code != http.StatusNotFound || w.Body.Len() > 0 {
		t.Errorf("HEAD: %d %q", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	WriteError(w, httptest.NewRequest("GET", "/", nil), fault.New(fault.MethodNotAllowed, "no"))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d", w.Code)
	}
}

func TestDeadlines(t *testing.T) {
	s := startShop(t, func(o *Options) { o.Timeout = 5 * time.Second })
	for _, c := range []struct {
		header      string
		least, most time.Duration
	}{
		{"", 4 * time.Second, 5 * time.Second},
		{"2S", time.Second, 2 * time.Second},
		{"1H", 4 * time.Second, 5 * time.Second},
		{"99999999H", 4 * time.Second, 5 * time.Second},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"Grpc-Timeout", c.header}
		}
		s.do("GET /v1/search", "", headers...)
		if got := time.Duration(s.deadline.Load()); got < c.least || got > c.most {
			t.Errorf("grpc-timeout %q: the backend has %v", c.header, got)
		}
	}
	start := time.Now()
	answer, text := s.do("GET /v1/hang", "", "Grpc-Timeout", "50m")
	if answer.StatusCode != http.StatusGatewayTimeout || !strings.Contains(text, `"code":4`) || time.Since(start) > 3*time.Second {
		t.Errorf("status %d after %v: %s", answer.StatusCode, time.Since(start), text)
	}
	<-s.ended
	for _, bad := range []string{"x", "1", "S", "-1S", "1.5S", "123456789S", "1s"} {
		if answer, text := s.do("GET /v1/search", "", "Grpc-Timeout", bad); answer.StatusCode != 400 || !strings.Contains(text, "grpc-timeout") {
			t.Errorf("grpc-timeout %q: status %d: %s", bad, answer.StatusCode, text)
		}
	}
	s = startShop(t, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	if answer, _ := s.do("GET /v1/hang", ""); answer.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("the route's timeout: status %d", answer.StatusCode)
	}
	<-s.ended
}

func TestATimeoutIsReadAsItIsSent(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1: "1n", time.Millisecond: "1000000n", 2 * time.Second: "2000000u", 10 * time.Minute: "600000m", 30 * time.Hour: "108000S", 40_000 * time.Hour: "2400000M",
	} {
		if got := upstream.FormatTimeout(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
		back, err := CallTimeout(http.Header{"Grpc-Timeout": {want}}, 0)
		if err != nil || back != d {
			t.Errorf("%s is %v, %v, want %v", want, back, err, d)
		}
	}
}

func TestAClientThatGoesAwayEndsTheCall(t *testing.T) {
	s := startShop(t, nil)
	for _, two := range []bool{false, true} {
		for _, target := range []string{"/v1/hang", "/v1/watch?name=hang&page_size=1"} {
			ctx, cancel := context.WithCancel(context.Background())
			before := s.calls.Load()
			go func() {
				for s.calls.Load() == before {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			r, err := http.NewRequestWithContext(ctx, "GET", s.gateway.URL+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if answer, err := testClient(t, two).Do(r); err == nil {
				answer.Body.Close()
			}
			select {
			case err := <-s.ended:
				if err != context.Canceled {
					t.Errorf("HTTP/2 %v, %s: the backend's context ended with %v", two, target, err)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("HTTP/2 %v, %s: the backend goes on", two, target)
			}
			cancel()
		}
	}
}

func TestABackendThatIsGoneIs503(t *testing.T) {
	s := startShop(t, nil)
	s.server.Stop()
	answer, text := s.do("GET /v1/search", "")
	if answer.StatusCode != http.StatusServiceUnavailable || strings.Contains(text, "127.0.0.1") {
		t.Errorf("status %d: %s", answer.StatusCode, text)
	}
}
