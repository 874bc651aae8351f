package strict

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// listener gives net/http connections that are watched.
type listener struct {
	net.Listener
	stall time.Duration
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return New(c, l.stall), nil
}

// serve returns the address of a server of watched connections, and how many requests reached its handler.
func serve(t *testing.T, stall time.Duration) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handled atomic.Int64
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		handled.Add(1)
		fmt.Fprintf(w, "%s %s %q", r.Method, r.Host, body)
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener{l, stall}) }()
	t.Cleanup(func() { server.Close(); <-done })
	return l.Addr().String(), &handled
}

// say sends text, in two parts cut at every place of cuts, and returns all that comes until the server closes or has answered.
func say(t *testing.T, address string, parts ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if _, err := io.WriteString(c, part); err != nil {
			break
		}
	}
	answer, err := io.ReadAll(c)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("the connection stays open; so far %q", answer)
	}
	return string(answer)
}

const (
	get   = "GET / HTTP/1.1\r\nHost: a\r\n"
	post  = "POST / HTTP/1.1\r\nHost: a\r\n"
	last  = "Connection: close\r\n\r\n"
	other = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
)

func TestWhatTwoRecipientsMayReadDifferentlyIsRefused(t *testing.T) {
	address, handled := serve(t, time.Minute)
	for name, text := range map[string]string{
		"CL.TE":                           post + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
		"TE.CL":                           post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + other,
		"TE.TE":                           post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"the same length twice":           post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"two lengths":                     post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a list of lengths":               post + "Content-Length: 1, 1\r\n\r\na",
		"a length with a sign":            post + "Content-Length: +1\r\n\r\na",
		"a negative length":               post + "Content-Length: -1\r\n\r\na",
		"a length in hexadecimal":         post + "Content-Length: 0x1\r\n\r\na",
		"a length without digits":         post + "Content-Length:\r\n\r\n",
		"a length beyond all":             post + "Content-Length: 9223372036854775808\r\n\r\na",
		"a folded field":                  get + "X-A: b\r\n c\r\n\r\n",
		"a folded Transfer-Encoding":      post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"a folded first field":            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
		"space before a colon":            post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"a field without a name":          get + ": b\r\n\r\n",
		"a line without a colon":          get + "nothing\r\n\r\n",
		"LF alone after the request line": "GET / HTTP/1.1\nHost: a\r\n\r\n",
		"LF alone after a field":          "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
		"LF alone at the header's end":    get + "\n",
		"only LF":                         "GET / HTTP/1.1\nHost: a\n\n",
		"CR within a field":               get + "X-A: b\rTransfer-Encoding: chunked\r\n\r\n",
		"CR CR LF":                        get + "X-A: b\r\r\n\r\n",
		"NUL in a field":                  get + "X-A: \x00\r\n\r\n",
		"coding in HTTP/1.0":              "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"the target names another host":   "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"the target has a user":           "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
		"two Host fields":                 get + "Host: b\r\n\r\n",
		"no Host":                         "GET / HTTP/1.1\r\n\r\n",
		"an empty line first":             "\r\n" + get + "\r\n",
		"HTTP/0.9":                        "GET /\r\n\r\n",
		"HTTP/1.2":                        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
		"two spaces":                      "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a chunk's size ends with LF":     post + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
		"a chunk ends with LF":            post + "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
		"a chunk is longer than it says":  post + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
		"a chunk's size has a sign":       post + "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
		"a chunk's size has a prefix":     post + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
		"space after a chunk's size":      post + "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
		"a chunk's size is beyond all":    post + "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
		"a trailer that is a length":      post + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
		"a folded trailer":                post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n c\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			before := handled.Load()
			for cut := 0; cut < len(text); cut += max(1, len(text)/5) {
				answer := say(t, address, text[:cut], text[cut:]+other)
				if !strings.HasPrefix(answer, "HTTP/1.1 400 ") && !strings.HasPrefix(answer, "HTTP/1.0 400 ") || strings.Count(answer, "HTTP/1.") != 1 {
					t.Errorf("cut at %d: %q", cut, answer)
				}
			}
			if handled.Load() != before {
				t.Error("a handler has been called")
			}
		})
	}
}

func TestWhatIsRightPassesInOrder(t *testing.T) {
	address, _ := serve(t, time.Minute)
	text := get + "\r\n" +
		post + "Content-Length: 7\r\n\r\nGET / \r" +
		"POST / HTTP/1.1\r\nhost:a\r\ntransfer-ENCODING:\t Chunked \r\nTrailer: X-A\r\n\r\n3;x=\"y\"\r\n\r\n\r\r\n2\r\nab\r\n000\r\nX-A: b\r\n\r\n" +
		"GET http://A:80/path HTTP/1.1\r\nHost: a:80\r\n\r\n" +
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" +
		post + "Content-Length: 0\r\n\r\n" + get + last
	want := []string{`GET a ""`, `POST a "GET / \r"`, `POST a "\r\n\rab"`, `GET A:80 ""`, ``, `POST a ""`, `GET a ""`}
	for cut := range len(text) {
		if testing.Short() && cut%7 != 0 {
			continue
		}
		r := bufio.NewReader(strings.NewReader(say(t, address, text[:cut], text[cut:])))
		for i, body := range want {
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("cut at %d: answer %d: %v", cut, i, err)
			}
			got, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != http.StatusOK || string(got) != body {
				t.Fatalf("cut at %d: answer %d: %d %q, %v, want %q", cut, i, answer.StatusCode, got, err, body)
			}
		}
	}
}

func TestACodingThatIsNotKnownIsNotImplemented(t *testing.T) {
	address, handled := serve(t, time.Minute)
	if answer := say(t, address, post+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"+other); !strings.HasPrefix(answer, "HTTP/1.1 501 ") || strings.Count(answer, "HTTP/1.") != 1 {
		t.Errorf("%q", answer)
	}
	if handled.Load() != 0 {
		t.Error("a handler has been called")
	}
}

func TestAClientThatTakesNothingIsDisconnectedAndASlowOneIsNot(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := New(ours, 50*time.Millisecond)
	defer c.Close()
	taken := make(chan int)
	go func() { // ends with the pipe
		total := 0
		for b := make([]byte, 8<<10); total < 1<<20; time.Sleep(time.Millisecond) {
			n, err := theirs.Read(b)
			if total += n; err != nil {
				break
			}
		}
		taken <- total
	}()
	if n, err := c.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
		t.Errorf("a slow client got %d bytes, %v", n, err)
	}
	if n := <-taken; n != 1<<20 {
		t.Errorf("a slow client took %d bytes", n)
	}
	if n, err := c.Write(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that takes nothing got %d bytes, %v", n, err)
	}
	if err := c.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := c.extend(); err != nil || c.until.Load() != 0 {
		t.Errorf("a deadline that was given is moved: %v", err)
	}
}

func TestHTTP2ByPriorKnowledgePasses(t *testing.T) {
	address, _ := serve(t, time.Minute)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Post("http://"+address+"/", "text/plain", strings.NewReader("a\nb"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s", answer.Proto, answer.Status)
	}
}

func TestWhatIsNoHTTPAnyMoreIsNotWatched(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	c := New(ours, 0)
	go io.WriteString(theirs, "\n\n")
	if raw := c.Raw(); raw != ours {
		t.Errorf("%v below", raw)
	}
	b := make([]byte, 9)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "\n\n" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// pieces is a connection whose bytes come in pieces of some size.
type pieces struct {
	net.Conn
	rest []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// ends returns where the requests in b end that net/http reads there.
func ends(r io.Reader, total func() int) []int {
	var at []int
	reader := bufio.NewReader(r)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return at
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return at
		}
		at = append(at, total()-reader.Buffered())
	}
}

// FuzzScanner holds the scanner to net/http: where net/http ends a request that was not refused, the scanner is at a new
// one, and past what was refused net/http reads nothing. How the bytes come makes no difference.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(get+"\r\n"+post+"Content-Length: 1\r\n\r\na"+other), byte(7))
	f.Add([]byte(post+"Transfer-Encoding: chunked\r\n\r\n1;a\r\na\r\n0\r\nX-A: b\r\n\r\n"+other), byte(1))
	f.Add([]byte(post+"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"), byte(3))
	f.Add([]byte("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), byte(9))
	f.Fuzz(func(t *testing.T, b []byte, size byte) {
		whole := scanner{}
		good := whole.scan(bytes.Clone(b))
		if whole.state == elsewhere {
			return
		}
		parts := scanner{}
		for i := 0; i < len(b); i += int(size) + 1 {
			if end := min(len(b), i+int(size)+1); parts.scan(b[i:end]) < end-i {
				if good == len(b) {
					t.Fatal("refused only in pieces")
				}
				break
			}
		}
		in := bytes.NewReader(b)
		for _, end := range ends(in, func() int { return len(b) - in.Len() }) {
			if end > good {
				break
			}
			s := scanner{}
			if s.scan(b[:end]); s.state != requestLine || len(s.line) > 0 {
				t.Fatalf("net/http ends a request at %d, the scanner is in state %d with %q", end, s.state, s.line)
			}
		}
		p := &pieces{rest: bytes.Clone(b), size: int(size) + 1}
		c, read := New(p, 0), 0
		counted := io.TeeReader(c, writer(func(b []byte) { read += len(b) }))
		for _, end := range ends(counted, func() int { return read }) {
			if end > good {
				t.Fatalf("a request ends at %d, and what is past %d is refused", end, good)
			}
		}
	})
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func BenchmarkRead(b *testing.B) {
	text := []byte("POST /v1/items?x=1 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: a browser of some kind (with a long name) 1.2.3\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip, br\r\nAuthorization: Bearer " + strings.Repeat("x", 300) +
		"\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n" + strings.Repeat("y", 40))
	var s scanner
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if s.scan(text) != len(text) {
			b.Fatal("refused")
		}
	}
}
