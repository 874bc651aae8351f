package transcoder

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// talkRaw sends a head and a first piece of a chunked body over HTTP/1.1 to handler, and returns the connection.
func talkRaw(t *testing.T, handler http.HandlerFunc, piece string) (net.Conn, *bufio.Reader) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(piece), piece)
	return conn, bufio.NewReader(conn)
}

func TestABodyIsReadWhileItsAnswerIsWritten(t *testing.T) {
	conn, in := talkRaw(t, func(w http.ResponseWriter, r *http.Request) {
		body, w := NewDuplexBody(w, r)
		defer body.End()
		buf := make([]byte, 2)
		for {
			n, err := body.Read(buf)
			if _, err := w.Write(buf[:n]); err != nil {
				t.Error(err)
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			if err != nil {
				return
			}
		}
	}, "one")
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != "one" {
		t.Fatalf("%q, %v", got, err)
	}
	fmt.Fprintf(conn, "4\r\ntwo!\r\n0\r\n\r\n")
	if rest, err := io.ReadAll(answer.Body); err != nil || string(rest) != "two!" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestClosingABodyEndsAReadThatWaitsForTheClient(t *testing.T) {
	_, in := talkRaw(t, func(w http.ResponseWriter, r *http.Request) {
		body, w := NewDuplexBody(w, r)
		defer body.End()
		if _, err := io.ReadFull(body, make([]byte, 3)); err != nil {
			t.Error(err)
		}
		read := make(chan error)
		go func() {
			_, err := body.Read(make([]byte, 1))
			read <- err
		}()
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("the read ended with %v", err)
		}
		fmt.Fprint(w, "early")
	}, "one")
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "early" || !answer.Close {
		t.Errorf("%q, %v, closing %v", text, err, answer.Close)
	}
}

func TestAnEarlyAnswerReachesAClientThatIsStillSending(t *testing.T) {
	conn, in := talkRaw(t, func(w http.ResponseWriter, r *http.Request) {
		body, w := NewDuplexBody(w, r)
		defer body.End()
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}, "one")
	for range 3 {
		piece := strings.Repeat("x", 100<<10)
		if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", len(piece), piece); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("%v, %v", answer, err)
	}
}

func TestAConnectionIsKeptWhereTheRequestWasReadToItsEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, w := NewDuplexBody(w, r)
		defer body.End()
		_, _ = io.Copy(io.Discard, body)
		fmt.Fprint(w, r.RemoteAddr)
	}))
	defer server.Close()
	var from string
	for range 3 {
		answer, err := http.Post(server.URL, "text/plain", io.MultiReader(strings.NewReader("a"), strings.NewReader("b"))) // chunked
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || from != "" && string(text) != from {
			t.Errorf("from %s, before %s, %v", text, from, err)
		}
		from = string(text)
	}
	http.DefaultClient.CloseIdleConnections()
}
