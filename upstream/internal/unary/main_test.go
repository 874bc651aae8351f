package unary

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a backend that a test plays frame by frame.
type peer struct {
	*http2.Framer
	t       *testing.T
	socket  net.Conn
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
}

// connect returns a connection and the backend at its other end, which has sent its settings.
func connect(t *testing.T, settings ...http2.Setting) (*Conn, *peer) {
	t.Helper()
	c, p, err := tryConnect(t, func(p *peer) error { return p.WriteSettings(settings...) })
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

// tryConnect leaves the greeting to the test.
func tryConnect(t *testing.T, greet func(*peer) error) (*Conn, *peer, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	p := &peer{Framer: http2.NewFramer(other, other), t: t, socket: other}
	p.AllowIllegalWrites = true
	p.encoder = hpack.NewEncoder(&p.block)
	p.decoder = hpack.NewDecoder(4096, nil)
	greeted := make(chan error, 1)
	go func() {
		if _, err := io.ReadFull(other, make([]byte, len(preface))); err != nil {
			greeted <- err
			return
		}
		greeted <- greet(p)
	}()
	c, err := Open(within(t, time.Minute), socket, Options{Authority: "backend", UserAgent: "crossgate", MaxMessageSize: 1 << 20})
	if greetErr := <-greeted; greetErr != nil && err == nil {
		t.Fatal(greetErr)
	}
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, p, err
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// next returns the next frame of one kind, and passes over others.
func next[F http2.Frame](p *peer) F {
	p.t.Helper()
	for {
		f, err := p.ReadFrame()
		if err != nil {
			p.t.Fatal(err)
		}
		if h, ok := f.(*http2.HeadersFrame); ok && !h.HeadersEnded() {
			p.t.Fatal("a header block in several frames, which this test does not read")
		}
		if wanted, ok := f.(F); ok {
			return wanted
		}
	}
}

// request reads a whole call and returns its stream, header fields and message.
func (p *peer) request() (id uint32, fields map[string]string, message []byte) {
	p.t.Helper()
	fields = map[string]string{}
	for {
		f, err := p.ReadFrame()
		if err != nil {
			p.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			id = f.StreamID
			block := bytes.Clone(f.HeaderBlockFragment())
			for ended := f.HeadersEnded(); !ended; {
				c, err := p.ReadFrame()
				if err != nil {
					p.t.Fatal(err)
				}
				block = append(block, c.(*http2.ContinuationFrame).HeaderBlockFragment()...)
				ended = c.(*http2.ContinuationFrame).HeadersEnded()
			}
			decoded, err := p.decoder.DecodeFull(block)
			if err != nil {
				p.t.Fatal(err)
			}
			for _, h := range decoded {
				fields[h.Name] = h.Value
			}
		case *http2.DataFrame:
			message = append(message, f.Data()...)
			if f.StreamEnded() {
				return id, fields, message[prefixSize:]
			}
		}
	}
}

// header encodes a header block of names before their values.
func (p *peer) header(kv ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(kv); i += 2 {
		if err := p.encoder.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]}); err != nil {
			p.t.Fatal(err)
		}
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *peer) sendHeader(id uint32, end bool, kv ...string) {
	p.t.Helper()
	if err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.header(kv...), EndStream: end, EndHeaders: true}); err != nil {
		p.t.Fatal(err)
	}
}

func message(text string) []byte {
	n := len(text)
	return append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, text...)
}

var okHeader = []string{":status", "200", "content-type", "application/grpc"}

// answer sends a whole answer.
func (p *peer) answer(id uint32, text string) {
	p.t.Helper()
	p.sendHeader(id, false, okHeader...)
	if err := p.WriteData(id, false, message(text)); err != nil {
		p.t.Fatal(err)
	}
	p.sendHeader(id, true, "grpc-status", "0")
}

// invoke makes a call in a goroutine and returns how it ended.
func invoke(ctx context.Context, c *Conn, call *Call, reply *Reply) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- c.Invoke(ctx, call, reply) }()
	return ended
}

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }
