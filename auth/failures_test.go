package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

func TestWhoGivesNoAnswerIsCountedAndNamedInTheLog(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(broken.Close)
	var log lines
	tel := telemetry.New(config.Log{Format: "json"}, &log)
	t.Cleanup(tel.Close)
	opaque := introspected(broken.URL, nil)
	signed := config.AuthProvider{Name: "signed", JWT: jwtConfig(func(j *config.JWT) { j.JWKSURL = broken.URL })}
	issued := config.AuthProvider{Name: "issued", JWT: jwtConfig(func(j *config.JWT) { j.Issuer, j.Discovery = broken.URL, true })}
	providers, err := Compile([]config.AuthProvider{opaque, signed, issued}, Options{Telemetry: tel})
	if err != nil {
		t.Fatal(err)
	}
	const token = "a-token-that-nobody-may-read"
	for _, p := range providers.list {
		credential := token
		if p.config.JWT != nil {
			credential = sign(t, jwt.SigningMethodES256, p256(), claimsWith(map[string]any{"iss": p.config.JWT.Issuer}), map[string]any{"kid": "a"})
		}
		for range 2 {
			if _, err := verify(t.Context(), []*provider{p}, credential); err == nil {
				t.Errorf("%s: let in", p.name)
			}
		}
	}
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for name, kind := range map[string]string{"opaque": "introspection", "signed": "jwks", "issued": "jwks"} {
		if !strings.Contains(w.Body.String(), `crossgate_source_failures_total{kind="`+kind+`",name="`+name+`"} `) {
			t.Errorf("%s is not counted", name)
		}
		if strings.Count(log.String(), `"kind":"`+kind+`","name":"`+name+`"`) != 1 {
			t.Errorf("%s is not in the log once", name)
		}
	}
	for _, secret := range []string{clientSecret, token} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	providers.Close()
	w = httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if strings.Contains(w.Body.String(), "crossgate_source_failures_total{") {
		t.Error("series are left")
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
