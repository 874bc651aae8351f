package transcoder

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFramingIsWhatAcceptLikesBest(t *testing.T) {
	for _, c := range []struct {
		accept string
		route  Framing
		want   Framing
	}{
		{"", Lines, Lines},
		{"", Array, Array},
		{"*/*", Lines, Lines},
		{"*/*", Events, Events},
		{"text/event-stream", Lines, Events},
		{"Text/Event-Stream", Lines, Events},
		{"application/json", Lines, Array},
		{"application/json", Results, Results},
		{"application/x-ndjson", Array, Lines},
		{"application/x-ndjson", Results, Results},
		{"application/jsonl", Array, Lines},
		{"application/json, text/plain, */*", Lines, Array},
		{"application/json, text/event-stream", Lines, Events},
		{"application/json, text/event-stream;q=0.9", Lines, Array},
		{"application/json;q=0.5, application/x-ndjson;q=0.6", Lines, Lines},
		{"text/event-stream;q=0, */*", Lines, Lines},
		{"text/event-stream;q=2", Lines, Lines},
		{"text/html,application/xhtml+xml,*/*;q=0.8", Lines, Lines},
		{"text/html", Array, Array},
	} {
		r := &http.Request{Header: http.Header{"Accept": {c.accept}}}
		if got := (&StreamOptions{Framing: c.route}).framing(r); got != c.want {
			t.Errorf("Accept %q where the route's is %d: %d, want %d", c.accept, c.route, got, c.want)
		}
	}
}

func TestWeightsAreThoseOfTheHeader(t *testing.T) {
	var got []string
	for value, weight := range Weighted([]string{"gzip;q=1.0, br ; q=0.75;x=y,, identity; Q=0.5", "*;q=0", "a;q=1.001", "b;q=x", "c;q=0.1234", "d;q="}) {
		got = append(got, fmt.Sprint(value, " ", weight))
	}
	if want := []string{"gzip 1000", "br 750", "identity 500", "* 0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFramings(t *testing.T) {
	const abortedStatus = `{"code":10,"message":"no \u003cluck\u003e","details":[{"@type":"type.googleapis.com/shop.Detail","why":"because"},` +
		`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.300s"},{"@type":"type.googleapis.com/no.Such","value":"AQI="}]}`
	for _, f := range []struct {
		name                             string
		framing                          Framing
		contentType                      string
		two, none, failed, failedAtFirst string
	}{
		{"lines", Lines, "application/x-ndjson", "{}\n{\"count\":1}\n", "", "{}\n{\"error\":" + abortedStatus + "}\n", abortedStatus + "\n"},
		{"results", Results, "application/json", "{\"result\":{}}\n{\"result\":{\"count\":1}}\n", "",
			"{\"result\":{}}\n{\"error\":" + abortedStatus + "}\n", abortedStatus + "\n"},
		{"an array", Array, "application/json", "[{}\n,{\"count\":1}\n]\n", "[]\n", "[{}\n,{\"error\":" + abortedStatus + "}\n]\n", abortedStatus + "\n"},
		{"events", Events, "text/event-stream", "id: 1\ndata: {}\n\nid: 2\ndata: {\"count\":1}\n\n", "",
			"id: 1\ndata: {}\n\nevent: error\ndata: " + abortedStatus + "\n\n", abortedStatus + "\n"},
	} {
		t.Run(f.name, func(t *testing.T) {
			s := startShop(t, func(o *Options) { o.Streams.Framing = f.framing })
			for _, c := range []struct {
				name, line  string
				status      int
				contentType string
				want        string
			}{
				{"two messages", "GET /v1/watch?page_size=2", 200, f.contentType, f.two},
				{"no message", "GET /v1/watch", 200, f.contentType, f.none},
				{"an error after a message", "GET /v1/watch?page_size=1&name=fail", 200, f.contentType, f.failed},
				{"an error before the first message", "GET /v1/watch?name=fail", 409, "application/json", f.failedAtFirst},
			} {
				answer, text := s.do(c.line, "")
				if answer.StatusCode != c.status || answer.Header.Get("Content-Type") != c.contentType || text != c.want {
					t.Errorf("%s: status %d, %s: %q\nwant %q", c.name, answer.StatusCode, answer.Header.Get("Content-Type"), text, c.want)
				}
			}
		})
	}
}

// An answer that cannot be printed fails the stream, in an array too.
func TestAMessageThatHasNoJSONEndsTheArray(t *testing.T) {
	f := framer{framing: Array}
	if got := string(f.failure(nil, []byte(`{}`))); got != "[{\"error\":{}}\n]\n" {
		t.Errorf("%q", got)
	}
}

func TestAStreamsStatusIsATrailer(t *testing.T) {
	s := startShop(t, nil)
	for _, two := range []bool{false, true} {
		for path, want := range map[string][]string{
			"/v1/watch?page_size=1":           {"0", "", "7"},
			"/v1/watch":                       {"0", "", "7"},
			"/v1/watch?page_size=1&name=fail": {"10", "no <luck>", "7"},
		} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", s.gateway.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Te", "trailers")
			answer, err := testClient(t, two).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = readAll(t, answer)
			if got := []string{answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message"), answer.Trailer.Get("Grpc-Trailer-X-Cost")}; !slices.Equal(got, want) {
				t.Errorf("HTTP/2 %v, %s: trailers %q, want %q", two, path, got, want)
			}
		}
	}
	t.Run("on HTTP/2 without being asked", func(t *testing.T) {
		answer, err := testClient(t, true).Get(s.gateway.URL + "/v1/watch?page_size=1")
		if err != nil {
			t.Fatal(err)
		}
		_ = readAll(t, answer)
		if got := answer.Trailer.Get("Grpc-Status"); got != "0" {
			t.Errorf("grpc-status %q", got)
		}
	})
	t.Run("on HTTP/1.1 only for who asks", func(t *testing.T) {
		answer, err := testClient(t, false).Get(s.gateway.URL + "/v1/watch?page_size=1")
		if err != nil {
			t.Fatal(err)
		}
		_ = readAll(t, answer)
		if len(answer.Trailer) > 0 {
			t.Errorf("trailers %v", answer.Trailer)
		}
	})
}

func TestEventsCanBeResumed(t *testing.T) {
	t.Run("by a running number", func(t *testing.T) {
		s := startShop(t, nil)
		_, text := s.do("GET /v1/watch?page_size=2", "", "Accept", "text/event-stream", "Last-Event-ID", "41")
		if want := "id: 42\ndata: {}\n\nid: 43\ndata: {\"count\":1}\n\n"; text != want {
			t.Errorf("%q, want %q", text, want)
		}
		if got := (<-s.received).Get("last-event-id"); !slices.Equal(got, []string{"41"}) {
			t.Errorf("the backend got last-event-id %q", got)
		}
	})
	t.Run("by a field", func(t *testing.T) {
		s := startShop(t, func(o *Options) { o.Streams.EventID = "count" })
		_, text := s.do("GET /v1/watch?page_size=2", "", "Accept", "text/event-stream", "Last-Event-ID", "41")
		if want := "id: 0\ndata: {}\n\nid: 1\ndata: {\"count\":1}\n\n"; text != want {
			t.Errorf("%q, want %q", text, want)
		}
	})
	t.Run("by a text, which cannot break its line", func(t *testing.T) {
		s := startShop(t, func(o *Options) { o.Streams.EventID = "owner.id" })
		_, text := s.do("POST /v1/chat", `{"owner":{"id":"a-1"}} {} {"owner":{"id":"x\ndata: evil"}}`, "Accept", "text/event-stream")
		if want := "id: a-1\ndata: {\"owner\":{\"id\":\"a-1\"}}\n\ndata: {}\n\ndata: {\"owner\":{\"id\":\"x\\ndata: evil\"}}\n\n"; text != want {
			t.Errorf("%q, want %q", text, want)
		}
	})
	t.Run("but not by what is no line of text", func(t *testing.T) {
		for _, field := range []string{"tags", "owner", "raw", "owner.boss"} {
			_, err := CompileRPC(methods(t)["Watch"], Options{Streams: StreamOptions{EventID: field}})
			if err == nil || !strings.Contains(err.Error(), "event_id") {
				t.Errorf("%s: %v", field, err)
			}
		}
		if _, err := CompileRPC(methods(t)["Watch"], Options{Streams: StreamOptions{EventID: "no.such"}}); err != nil {
			t.Errorf("a field that the message does not have: %v", err)
		}
	})
}

func TestASilentStreamOfEventsGetsComments(t *testing.T) {
	s := startShop(t, func(o *Options) { o.Streams.KeepAlive = 20 * time.Millisecond })
	for _, path := range []string{"/v1/watch?name=hang&page_size=1", "/v1/watch?name=hang"} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		r, err := http.NewRequestWithContext(ctx, "GET", s.gateway.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		answer, err := testClient(t, false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		comments := 0
		for lines := bufio.NewScanner(answer.Body); comments < 3 && lines.Scan(); {
			if lines.Text() == ":" {
				comments++
			}
		}
		if comments < 3 || answer.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s: %d comments, %s", path, comments, answer.Header.Get("Content-Type"))
		}
		cancel()
		answer.Body.Close()
		<-s.ended
	}
}

func readAll(t testing.TB, answer *http.Response) string {
	t.Helper()
	defer answer.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(answer.Body).WriteTo(&b); err != nil {
		t.Error(err)
	}
	return b.String()
}
