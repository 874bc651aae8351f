package transcoder

import (
	"errors"
	"net/http/httptest"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
)

func TestProblemsAreForClientsThatPreferThem(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                         false,
		"*/*":                      false,
		"application/*":            false,
		"application/json":         false,
		"application/problem+json": true,
		"Application/Problem+JSON": true,
		"application/json, application/problem+json":              true,
		"application/problem+json;q=0.5, application/json":        false,
		"application/problem+json; q=0.5, application/json;q=0.4": true,
		"application/problem+json;q=0":                            false,
		"application/problem+json;q=x":                            false,
		"application/problem+json;q=2":                            false,
		"application/problem+json;q=NaN":                          false,
		"application/problem+json;charset=utf-8":                  true,
		"text/html, application/problem+json;q=0.1, */*;q=0.9":    true,
		",,;;=,application/problem+jsonx":                         false,
	} {
		if got := prefersProblem([]string{accept}); got != want {
			t.Errorf("Accept: %s: %v, want %v", accept, got, want)
		}
	}
	if !prefersProblem([]string{"application/json;q=0.1", "application/problem+json"}) {
		t.Error("two Accept lines are not one list")
	}
}

func TestAProblemHasTheMembersOfRFC9457AndThoseOfTheStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		want   string
	}{
		{"of the gateway", fault.New(fault.MethodNotAllowed, `no "x"`), 405, `{"type":"tag:crossgate,2026:METHOD_NOT_ALLOWED",
			"title":"The path does not take this method","status":405,"detail":"no \"x\"","instance":"tag:crossgate,2026:request:a%2Fb",
			"code":12,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"METHOD_NOT_ALLOWED","domain":"crossgate"}]}`},
		{"of a backend", status.Error(codes.NotFound, "no item"), 404, `{"type":"about:blank","title":"Not Found","status":404,
			"detail":"no item","instance":"tag:crossgate,2026:request:a%2Fb","code":5,"details":[]}`},
		{"of a backend that gave up", status.Error(codes.Canceled, "no"), 499, `{"type":"about:blank","title":"Client Closed Request","status":499,
			"detail":"no","instance":"tag:crossgate,2026:request:a%2Fb","code":1,"details":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept", "application/problem+json")
			w := httptest.NewRecorder()
			w.Header().Set("X-Request-Id", "a/b")
			WriteError(w, r, c.err)
			if w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Vary") != "Accept" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
			sameJSON(t, w.Body.String(), c.want)
		})
	}
}

func TestTheCauseOfAFaultIsNotShown(t *testing.T) {
	f := fault.New(fault.ValidationFailed, "no", &errdetails.BadRequest{})
	f.Cause = errors.New("dial tcp 192.0.2.1:443: refused")
	w := httptest.NewRecorder()
	WriteError(w, httptest.NewRequest("GET", "/", nil), f)
	sameJSON(t, w.Body.String(), `{"code":3,"message":"no","details":[
		{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"VALIDATION_FAILED","domain":"crossgate"},
		{"@type":"type.googleapis.com/google.rpc.BadRequest"}]}`)
}
