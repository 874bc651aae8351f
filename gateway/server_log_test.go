package gateway

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAPanicOverARequestIsLogged(t *testing.T) {
	var text bytes.Buffer
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }))
	s.Config.ErrorLog = newServerLog(slog.New(slog.NewTextHandler(&text, nil)))
	s.Start()
	if _, err := http.Get(s.URL); err == nil {
		t.Error("there is an answer")
	}
	s.Close() // waits for the connection, whose end has been logged then
	if !strings.Contains(text.String(), "level=ERROR") || !strings.Contains(text.String(), "boom") {
		t.Errorf("logged: %s", text.String())
	}
	newServerLog(slog.New(slog.NewTextHandler(&text, nil))).Print("http: TLS handshake error")
	if strings.Contains(text.String(), "handshake") {
		t.Error("what clients do is no news")
	}
}
