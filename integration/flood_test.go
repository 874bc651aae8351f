package integration

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// attacker is a client of HTTP/2 that writes frames by hand.
type attacker struct {
	net.Conn
	*http2.Framer
	ended  atomic.Pointer[http2.GoAwayFrame]
	closed chan struct{}
}

// attack connects, and reads what comes until the server closes.
func attack(t *testing.T, url string) *attacker {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	a := &attacker{Conn: c, Framer: http2.NewFramer(c, c), closed: make(chan struct{})}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when the server closes, or at the deadline
		defer close(a.closed)
		for {
			f, err := a.ReadFrame()
			if err != nil {
				return
			}
			if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
				a.ended.Store(&http2.GoAwayFrame{FrameHeader: g.FrameHeader, LastStreamID: g.LastStreamID, ErrCode: g.ErrCode})
			}
		}
	}()
	return a
}

// refused waits until the server has ended the connection, and returns why.
func (a *attacker) refused(t *testing.T) http2.ErrCode {
	t.Helper()
	select {
	case <-a.closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the connection is still open")
	}
	if g := a.ended.Load(); g != nil {
		return g.ErrCode
	}
	return http2.ErrCodeNo
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
	g := oneRoute(t, testserver.Start(t).Address, "", "")
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
			t.Logf("ended with %v", a.refused(t))
		})
	}
	if answer, _ := ask(t, "POST", g.URL+"/test/v1/scalars", "{}"); answer.StatusCode != 200 {
		t.Errorf("after the floods: %s", answer.Status)
	}
}

// TestABodyThatComesSlowlyIsNotWaitedForBeyondTheRoutesTimeout guards against clients that hold requests open with a byte
// now and then.
func TestABodyThatComesSlowlyIsNotWaitedForBeyondTheRoutesTimeout(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "timeout: 300ms")
	c, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "POST /test/v1/scalars HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 504") && !strings.HasPrefix(string(answer), "HTTP/1.1 408") {
		t.Errorf("%q, %v", answer, err)
	}
}
