package rpc

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

// hasty is a backend that refuses a call without having read it.
type hasty struct{ body io.ReadCloser }

func (h *hasty) RoundTrip(r *http.Request) (*http.Response, error) {
	h.body = r.Body
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody,
		Header: http.Header{"Content-Type": {"application/grpc"}, "Grpc-Status": {"7"}}}, nil
}

func TestAMessageIsNotReadOnceItsCallIsOver(t *testing.T) {
	backend := new(hasty)
	h := NewUndescribed(Options{Backend: backend, MaxMessage: 1 << 20, MaxAnswer: 1 << 20})
	r := httptest.NewRequest(http.MethodPost, "/shop.v1.Catalog/GetItem", strings.NewReader("one client's"))
	r.Header.Set("Content-Type", "application/proto")
	if code := h.Serve(httptest.NewRecorder(), r, Connect); code != codes.PermissionDenied {
		t.Fatalf("the call ends with %v", code)
	}
	// The buffer is another call's by now.
	if text, err := io.ReadAll(backend.body); len(text) > 0 || err == nil {
		t.Errorf("a transport that is late reads %q, %v", text, err)
	}
}
