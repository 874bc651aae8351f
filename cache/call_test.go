package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/config"
)

// frameOf is a message as calls have it.
func frameOf(message string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// aCall is a request for an answer to a message, with metadata in pairs.
func aCall(message string, metadata ...string) *Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://shop.example/shop.Catalog/Get", http.NoBody)
	r.Header = http.Header{"Content-Type": {"application/grpc"}, "User-Agent": {"test"}, "Te": {"trailers"}}
	for i := 0; i < len(metadata); i += 2 {
		r.Header.Add(metadata[i], metadata[i+1])
	}
	return &Request{Request: r, Path: r.URL.Path, Message: frameOf(message), Call: true}
}

// aPost is the same in JSON.
func aPost(body, kind string) *Request {
	q := aCall("")
	q.Header = http.Header{"Content-Type": {kind}}
	q.Call, q.Message = false, []byte(body)
	return q
}

func TestMessagesAndMetadataTellRequestsApart(t *testing.T) {
	change := func(change func(*Request)) *Request {
		q := aCall("a")
		change(q)
		return q
	}
	with := func(c *config.Cache) { c.Key.Headers = []string{"X-Key"}; c.Key.IgnoreMetadata = []string{"x-trace"} }
	tests := []struct {
		name string
		a, b *Request
		same bool
	}{
		{"the same", aCall("a"), aCall("a"), true},
		{"another message", aCall("a"), aCall("b"), false},
		{"a message and none", aCall("a"), aCall(""), false},
		{"a message in two frames", aCall("a"), change(func(q *Request) { q.Message = append(frameOf("a"), frameOf("a")...) }), false},
		{"another method", aCall("a"), change(func(q *Request) { q.Path = "/shop.Catalog/Ge" }), false},
		{"a call, and a post of its frame", aCall("a"), aPost(string(frameOf("a")), "application/grpc"), false},
		{"a post, and a GET", aPost("", ""), change(func(q *Request) {
			q.Method, q.Call, q.Message, q.Header = http.MethodGet, false, nil, http.Header{"Content-Type": {""}}
		}), false},
		{"the same post", aPost("{}", "application/json"), aPost("{}", "application/json"), true},
		{"a post of another type", aPost("{}", "application/json"), aPost("{}", "application/x"), false},
		{"a post with what is in another's type", aPost("", "application/json{}"), aPost("{}", "application/json"), false},
		{"metadata and none", aCall("a", "X-Tenant", "1"), aCall("a"), false},
		{"metadata of another value", aCall("a", "X-Tenant", "1"), aCall("a", "X-Tenant", "2"), false},
		{"metadata by another name", aCall("a", "X-Tenant", "1"), aCall("a", "X-Tenand", "1"), false},
		{"two values that read as one", aCall("a", "X-A", "1", "X-A", "2"), aCall("a", "X-A", "1,2"), false},
		{"a name and value that run into each other", aCall("a", "X-A", "1X-B", "X-B", "2"), aCall("a", "X-A", "1", "X-B", "X-B2"), false},
		{"metadata in another order", aCall("a", "X-A", "1", "X-B", "2"), aCall("a", "X-B", "2", "X-A", "1"), true},
		{"a name of gRPC's that is none", aCall("a", "Grpc-Tenant", "1"), aCall("a"), false},
		{"what a proxy that is not trusted says", aCall("a", "X-Forwarded-Host", "evil.example"), aCall("a"), false},
		{"metadata that the key leaves out", aCall("a", "X-Trace", "1"), aCall("a", "X-Trace", "2"), true},
		{"how a call is made", aCall("a", "Grpc-Timeout", "1S", "Grpc-Accept-Encoding", "gzip", "Traceparent", "x", "X-Request-Id", "y", "Sec-Fetch-Mode", "cors", "Origin", "z"), aCall("a"), true},
	}
	for _, test := range tests {
		s := newScene(t, with)
		a, b := s.policy.appendKey(nil, test.a), s.policy.appendKey(nil, test.b)
		if bytes.Equal(a, b) != test.same {
			t.Errorf("%s: %q and %q", test.name, a, b)
		}
		if test.a.Call && bytes.Contains(a, []byte("X-Tenant")) {
			t.Errorf("%s: the key has the metadata itself: %q", test.name, a)
		}
	}
}

// ended has the origin answer a call with a header, a body, and trailers, each "Name: value | Name: value".
func (s *scene) ended(header, body, trailer string) {
	s.answer = func(w http.ResponseWriter, _ *http.Request) {
		_, h := parse(" | " + header)
		for name, values := range h {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusOK)
		if body != "" {
			_, _ = w.Write([]byte(body))
		}
		_, h = parse(" | " + trailer)
		for name, values := range h {
			w.Header()[http.TrailerPrefix+name] = values
		}
	}
}

func TestWhatAnAnswerToACallSaysDecidesWhetherItIsKept(t *testing.T) {
	const good, ok = "Cache-Control: max-age=10", "Grpc-Status: 0"
	message := string(frameOf("answer"))
	tests := []struct {
		name, header, body, trailer string
		kept                        bool
	}{
		{"all is well", good, message, ok, true},
		{"an empty message", good, string(frameOf("")), ok, true},
		{"it says for how long in the end", "X: y", message, ok + " | " + good, true},
		{"it says no in the end", good, message, ok + " | Cache-Control: no-store", false},
		{"it is private in the end", good, message, ok + " | Cache-Control: private", false},
		{"it varies by anything in the end", good, message, ok + " | Vary: *", false},
		{"a cookie in the end", good, message, ok + " | Set-Cookie: a=b", false},
		{"nothing says for how long", "X: y", message, ok, false},
		{"an error", good, "", "Grpc-Status: 3", false},
		{"an error after a message", good, message, "Grpc-Status: 13", false},
		{"what is not there", good, "", "Grpc-Status: 5", true},
		{"what is not there, with a message", good, message, "Grpc-Status: 5", false},
		{"an error alone", good + " | Grpc-Status: 3", "", "", false},
		{"a status that is none", good, message, "Grpc-Status: x", false},
		{"no status", good, message, "X: y", false},
		{"no message", good, "", ok, false},
		{"two messages", good, message + message, ok, false},
		{"half a message", good, message[:7], ok, false},
		{"a compressed message", good, "\x01" + message[1:], ok, false},
		{"a message that is too large", good, string(frameOf(strings.Repeat("x", 1<<16))), ok, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t, nil)
			s.ended(test.header, test.body, test.trailer)
			var first, second *httptest.ResponseRecorder
			for _, w := range []**httptest.ResponseRecorder{&first, &second} {
				*w = httptest.NewRecorder()
				if e := s.policy.Serve(*w, aCall("a", "Grpc-Accept-Encoding", "gzip"), s); e != nil {
					t.Fatal(e)
				}
			}
			if kept := s.fetches() == 1; kept != test.kept {
				t.Errorf("%d fetches", s.fetches())
			}
			if s.asked.Get("Grpc-Accept-Encoding") != "" {
				t.Error("the answer may be compressed")
			}
			for i, w := range []*httptest.ResponseRecorder{first, second} {
				h := w.Result()
				_, trailer := parse(" | " + test.trailer)
				if got := h.Trailer.Get("Grpc-Status"); w.Code != 200 || w.Body.String() != test.body || got != trailer.Get("Grpc-Status") {
					t.Errorf("client %d: %d %.20q, status %q", i, w.Code, w.Body, got)
				}
			}
		})
	}
}

func TestAStaleAnswerStandsInForACallThatFails(t *testing.T) {
	for code, standsIn := range map[string]bool{"14": true, "13": true, "2": true, "4": true, "8": false, "5": false, "1": false} {
		s := newScene(t, nil)
		call := func() string {
			w := httptest.NewRecorder()
			if e := s.policy.Serve(w, aCall("a"), s); e != nil {
				t.Fatal(e)
			}
			return w.Result().Trailer.Get("Grpc-Status")
		}
		s.ended("Cache-Control: max-age=0, stale-if-error=10", string(frameOf("answer")), "Grpc-Status: 0")
		call()
		s.ended("", "", "Grpc-Status: "+code)
		if got := call(); (got == "0") != standsIn {
			t.Errorf("a call that failed with %s was answered with %s", code, got)
		}
	}
}

func TestAPurgeByURLForgetsTheAnswersToAllMessages(t *testing.T) {
	s := newScene(t, nil)
	s.ended("Cache-Control: max-age=10", string(frameOf("answer")), "Grpc-Status: 0")
	const messages = 50
	ask := func() {
		for i := range messages {
			if e := s.policy.Serve(httptest.NewRecorder(), aCall(strings.Repeat("x", i)), s); e != nil {
				t.Fatal(e)
			}
		}
	}
	ask()
	ask()
	if n := s.fetches(); n != messages {
		t.Fatalf("%d fetches", n)
	}
	if n, err := s.store.Purge(t.Context(), Purge{URLs: []string{"https://shop.example/shop.Catalog/Get"}}); n != messages || err != nil {
		t.Errorf("%d forgotten, %v", n, err)
	}
	s.store.memory.CleanUp()
	s.store.index.mu.Lock()
	left := len(s.store.index.keys)
	s.store.index.mu.Unlock()
	if left != 0 {
		t.Errorf("the index has %d URLs", left)
	}
	if ask(); s.fetches() != 2*messages {
		t.Errorf("%d fetches", s.fetches())
	}
}
