package transcoder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestServerStreams(t *testing.T) {
	const abortedStatus = `{"code":10,"message":"no \u003cluck\u003e","details":[{"@type":"type.googleapis.com/shop.Detail","why":"because"},` +
		`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.300s"},{"@type":"type.googleapis.com/no.Such","value":"AQI="}]}`
	s := startShop(t, func(o *Options) { o.JSON.ProtoNames = true })
	for _, c := range []struct {
		name, line, body, accept string
		status                   int
		contentType, want        string
	}{
		{"a line for each message", "GET /v1/watch?page_size=3", "", "", 200, "application/x-ndjson", "{}\n{\"count\":1}\n{\"count\":2}\n"},
		{"a stream without messages", "GET /v1/watch", "", "", 200, "application/x-ndjson", ""},
		{"a request in the body", "POST /v1/watch", `{"pageSize":2}`, "", 200, "application/x-ndjson", "{}\n{\"count\":1}\n"},
		{"events", "GET /v1/watch?page_size=2", "", "text/event-stream", 200, "text/event-stream", "id: 1\ndata: {}\n\nid: 2\ndata: {\"count\":1}\n\n"},
		{"an error before the first message", "GET /v1/watch?name=fail", "", "", 409, "application/json", abortedStatus + "\n"},
		{"an error before the first event", "GET /v1/watch?name=fail", "", "text/event-stream", 409, "application/json", abortedStatus + "\n"},
		{"a bad request", "GET /v1/watch?nope=1", "", "", 400, "application/json", ""},
		{"a bad body", "POST /v1/watch", `{"nope":1}`, "", 400, "application/json", ""},
		{"the method's own path", "POST /shop.Shop/Watch", `{"page_size":1}`, "", 200, "application/x-ndjson", "{}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, text := s.do(c.line, c.body, "Accept", c.accept)
			if answer.StatusCode != c.status || answer.Header.Get("Content-Type") != c.contentType {
				t.Fatalf("status %d, %v: %s", answer.StatusCode, answer.Header, text)
			}
			if c.status != 400 && text != c.want {
				t.Errorf("got  %q\nwant %q", text, c.want)
			}
		})
	}
}

// TestEachMessageIsFlushed reads a message of a stream that goes on.
func TestEachMessageIsFlushed(t *testing.T) {
	s := startShop(t, nil)
	for _, two := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		r, err := http.NewRequestWithContext(ctx, "GET", s.gateway.URL+"/v1/watch?name=hang&page_size=2", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := testClient(t, two).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(answer.Body)
		for _, want := range []string{`{}`, `{"count":1}`} {
			if !lines.Scan() || lines.Text() != want {
				t.Errorf("line %q, %v, want %q", lines.Text(), lines.Err(), want)
			}
		}
		cancel()
		answer.Body.Close()
		<-s.ended
	}
}

func TestAStreamEndsAtTheRoutesTimeout(t *testing.T) {
	s := startShop(t, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	answer, text := s.do("GET /v1/watch?name=hang&page_size=1", "")
	if answer.StatusCode != 200 || !strings.HasPrefix(text, "{}\n{\"error\":{\"code\":4,") {
		t.Errorf("status %d: %q", answer.StatusCode, text)
	}
	<-s.ended
}

func TestClientStreams(t *testing.T) {
	s := startShop(t, func(o *Options) { o.MaxBodySize = 1000 })
	big := `{"title":"` + strings.Repeat("x", 900) + `"}`
	for _, c := range []struct {
		name, line, body string
		status           int
		want             string // contained
	}{
		{"lines", "POST /v1/upload", "{}\n{\"title\":\"a\"}\n{}\n", 200, `"request":"+++"`},
		{"values without space between them", "POST /v1/upload", `{}{}`, 200, `"request":"++"`},
		{"no values", "POST /v1/upload", "", 200, `{}`},
		{"a body of many messages, each below the limit", "POST /v1/upload", strings.Repeat(big, 50), 200, strings.Repeat("+", 50)},
		{"one message above the limit", "POST /v1/upload", big + `{"title":"` + strings.Repeat("x", 5000) + `"}`, 413, "max_body_size"},
		{"a broken first message", "POST /v1/upload", `{"title":`, 400, "one after the other"},
		{"a first message of the wrong kind", "POST /v1/upload", `{"count":"x"}`, 400, "count: expected int32"},
		{"a broken later message", "POST /v1/upload", `{} {"count":"x"}`, 400, "count: expected int32"},
		{"text after the messages", "POST /v1/upload", `{} nonsense`, 400, "one after the other"},
		{"an error of the backend", "POST /v1/upload", `{"title":"fail"}`, 409, "luck"},
		{"an end without an answer", "POST /v1/upload", `{"title":"stop"}`, 500, `"code":13`},
		{"a chat", "POST /v1/chat", `{"title":"a"} {"title":"b"}`, 200, "{\"title\":\"a\"}\n{\"title\":\"b\"}\n"},
		{"a chat without messages", "POST /v1/chat", ``, 200, ""},
		{"a chat that fails at once", "POST /v1/chat", `{"title":"fail"}`, 409, "luck"},
		{"a chat that fails later", "POST /v1/chat", `{"title":"a"} {"title":"fail"}`, 200, "{\"title\":\"a\"}\n{\"error\":{\"code\":10,"},
		{"a chat that ends early", "POST /v1/chat", `{"title":"stop"} {"title":"b"}`, 200, ""},
		{"a chat at the method's own path", "POST /shop.Shop/Chat", `{"title":"a"}`, 200, "{\"title\":\"a\"}\n"},
		{"a query besides the body", "POST /v1/chat?title=a", `{}`, 400, "the body is the whole message"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, text := s.do(c.line, c.body)
			if answer.StatusCode != c.status || !strings.Contains(text, c.want) {
				t.Errorf("status %d: %.300q, want %d with %q", answer.StatusCode, text, c.status, c.want)
			}
		})
	}
	if answer, _ := s.do("POST /v1/upload", "{}", "Content-Type", "text/plain"); answer.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("another type: status %d", answer.StatusCode)
	}
}

// TestAChatIsHeldWhileTheBodyIsSent sends each message after the answer to the one before.
func TestAChatIsHeldWhileTheBodyIsSent(t *testing.T) {
	s := startShop(t, nil)
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", two), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			body, send := io.Pipe()
			r, err := http.NewRequestWithContext(ctx, "POST", s.gateway.URL+"/v1/chat", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-ndjson")
			go io.WriteString(send, `{"count":1}`)
			answer, err := testClient(t, two).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			lines := bufio.NewScanner(answer.Body)
			for i := 1; i <= 3; i++ {
				if !lines.Scan() || lines.Text() != fmt.Sprintf(`{"count":%d}`, i) {
					t.Fatalf("line %q, %v", lines.Text(), lines.Err())
				}
				if i < 3 {
					fmt.Fprintf(send, `{"count":%d}`, i+1)
				}
			}
			send.Close()
			if lines.Scan() || lines.Err() != nil {
				t.Errorf("after the end: %q, %v", lines.Text(), lines.Err())
			}
			if err := <-s.ended; err != io.EOF {
				t.Errorf("the backend's stream ended with %v", err)
			}
		})
	}
}

// TestAChatThatTheBackendEndsDoesNotWaitForTheClient leaves the body open.
func TestAChatThatTheBackendEndsDoesNotWaitForTheClient(t *testing.T) {
	s := startShop(t, nil)
	for _, path := range []string{"/v1/chat", "/v1/upload"} {
		for _, two := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			body, send := io.Pipe()
			r, err := http.NewRequestWithContext(ctx, "POST", s.gateway.URL+path, body)
			if err != nil {
				t.Fatal(err)
			}
			go io.WriteString(send, `{"title":"fail"}`)
			answer, err := testClient(t, two).Do(r)
			if err != nil {
				t.Fatalf("%s, HTTP/2 %v: %v", path, two, err)
			}
			if answer.StatusCode != http.StatusConflict {
				t.Errorf("%s, HTTP/2 %v: status %d", path, two, answer.StatusCode)
			}
			send.Close()
			answer.Body.Close()
			cancel()
		}
	}
}

func TestAClientThatStopsSendingEndsTheChat(t *testing.T) {
	s := startShop(t, nil)
	for _, two := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		body, send := io.Pipe()
		r, err := http.NewRequestWithContext(ctx, "POST", s.gateway.URL+"/v1/chat", body)
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(send, `{"title":"a"}`)
		answer, err := testClient(t, two).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		send.CloseWithError(errors.New("gone"))
		cancel()
		answer.Body.Close()
		select {
		case err := <-s.ended:
			if err == io.EOF {
				t.Errorf("HTTP/2 %v: a broken body was taken for a complete one", two)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("HTTP/2 %v: the backend goes on", two)
		}
	}
}

// TestTheBackendOfAChatMaySpeakFirst sends nothing before the backend's first message.
func TestTheBackendOfAChatMaySpeakFirst(t *testing.T) {
	s := startShop(t, nil)
	for _, two := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		body, send := io.Pipe()
		r, err := http.NewRequestWithContext(ctx, "POST", s.gateway.URL+"/v1/chat", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Grpc-Metadata-X-Greet", "1")
		answer, err := testClient(t, two).Do(r)
		if err != nil {
			t.Fatalf("HTTP/2 %v: %v", two, err)
		}
		if line, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil || line != "{\"title\":\"hello\"}\n" {
			t.Errorf("HTTP/2 %v: %q, %v", two, line, err)
		}
		send.Close()
		answer.Body.Close()
		cancel()
		<-s.ended
	}
}
