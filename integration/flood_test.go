package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// attacker is a client of HTTP/2 that writes frames by hand.
type attacker struct {
	net.Conn
	*http2.Framer
	closed chan error // gets what ended it
}

// attack connects, and reads what comes until the server closes.
func attack(t *testing.T, url string) *attacker {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(rig.Patience)); err != nil {
		t.Fatal(err)
	}
	a := &attacker{Conn: c, Framer: http2.NewFramer(c, c), closed: make(chan error, 1)}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when the server closes, or at the deadline
		for {
			if _, err := a.ReadFrame(); err != nil {
				a.closed <- err
				return
			}
		}
	}()
	return a
}

// refused waits until the server has ended the connection.
func (a *attacker) refused(t *testing.T) {
	t.Helper()
	if err := <-a.closed; err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Error("the connection is still open")
		}
	}
}

// headers returns a header block.
func headers(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // to a buffer
	}
	return b.Bytes()
}

// gone reports whether a write failed because the server has closed.
func gone(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

func TestFloodsOfHTTP2EndTheConnectionTheyComeBy(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "max_stream_resets: 10/s", "") // which a slow machine can exceed too
	block := headers(":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/test/v1/scalars")
	for name, flood := range map[string]func(a *attacker) error{
		// CVE-2023-44487: each stream is reset as soon as it is open.
		"streams that are reset": func(a *attacker) error {
			for id := uint32(1); id < 400_000; id += 2 {
				if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true}); err != nil {
					return err
				}
				if err := a.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
					return err
				}
			}
			return nil
		},
		// CVE-2023-45288: a header that does not end.
		"continuations": func(a *attacker) error {
			if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}); err != nil {
				return err
			}
			more := headers("x-a", strings.Repeat("b", 4000))
			for range 20_000 {
				if err := a.WriteContinuation(1, false, more); err != nil {
					return err
				}
			}
			return nil
		},
		// CVE-2019-9512 and its like: answers pile up, because nobody reads them.
		"settings": func(a *attacker) error {
			for range 2_000_000 {
				if err := a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2}); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := attack(t, g.URL)
			if err := flood(a); err != nil && !gone(err) {
				t.Fatal(err)
			}
			a.refused(t)
		})
	}
	if answer, _ := ask(t, "POST", g.URL+"/test/v1/scalars", "{}"); answer.StatusCode != 200 {
		t.Errorf("after the floods: %s", answer.Status)
	}
}

// TestABodyThatComesSlowlyIsNotWaitedForBeyondTheRoutesTimeout guards against clients that hold requests open with a byte
// now and then.
func TestABodyThatComesSlowlyIsNotWaitedForBeyondTheRoutesTimeout(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", `timeout: 300ms
    max_body_size: 2KiB
  - name: chat
    match: {path: /ws}
    websocket: {service: nobody, ping_timeout: 300ms}`)
	for name, c := range map[string]struct {
		path   string
		length int
		want   string
	}{
		"REST":                      {"/test/v1/scalars", 1000, "HTTP/1.1 408"},
		"REST, a stream of answers": {"/stream/v1/count", 1000, "HTTP/1.1 408"},
		"Connect":                   {testproto.Echo_EchoScalars_FullMethodName, 1000, "deadline_exceeded"},
		"the bridge":                {"/ws", 1000, "HTTP/1.1 408"},
		// What is refused before its body is looked at.
		"no route":  {"/nowhere", 1000, "HTTP/1.1 404"},
		"too large": {"/test/v1/scalars", 3000, "HTTP/1.1 413"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(rig.Patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nConnect-Protocol-Version: 1\r\nCrossgate-Session: a.b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", c.path, c.length); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.Contains(string(answer), c.want) {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
}

// TestAConnectionThatNobodyAsksOnDoesNotHoldUpTheEnd has a client as browsers are, which open connections ahead.
func TestAConnectionThatNobodyAsksOnDoesNotHoldUpTheEnd(t *testing.T) {
	g := rig.StartGatewayProcess(t, `
drain: {timeout: 4s}
routes: [{name: hello, match: {path: /}, respond: {body: hello}}]
`)
	for range 3 {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if answer, _ := ask(t, "GET", g.URL+"/", ""); answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status) // by now the others are accepted
	}
	if code, err := g.Terminate(20 * time.Second); code != 0 || err != nil {
		t.Errorf("exit %d, %v", code, err)
	}
}
