package unary

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestACallAndItsAnswer(t *testing.T) {
	c, p := connect(t)
	for i := range 3 { // the first fills the peer's header table, the others use it
		call := &Call{
			Method: "/t.T/Do", Metadata: []string{"x-a", "one", "x-b-bin", "\x00\xff"}, Deadline: time.Now().Add(time.Hour), Request: []byte("hello"),
		}
		var reply Reply
		ended := invoke(t.Context(), c, call, &reply)
		id, fields, request := p.request()
		for name, want := range map[string]string{
			":method": "POST", ":scheme": "http", ":path": "/t.T/Do", ":authority": "backend", "content-type": "application/grpc", "te": "trailers",
			"user-agent": "crossgate", "x-a": "one", "x-b-bin": "AP8", "grpc-timeout": fields["grpc-timeout"],
		} {
			if fields[name] != want {
				t.Errorf("call %d: %s is %q, want %q", i, name, fields[name], want)
			}
		}
		if fields["grpc-timeout"] == "" || string(request) != "hello" || int(id) != 2*i+1 {
			t.Errorf("call %d: stream %d, timeout %q, request %q", i, id, fields["grpc-timeout"], request)
		}
		p.sendHeader(id, false, append(okHeader, "x-c", "three", "x-d-bin", "AP8")...)
		if err := p.WriteData(id, false, message("world")); err != nil {
			t.Fatal(err)
		}
		p.sendHeader(id, true, "grpc-status", "0", "x-e", "five")
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if string(reply.Bytes()) != "world" || fmt.Sprint(reply.Header["x-c"], reply.Header["x-d-bin"], reply.Trailer["x-e"]) != "[three] [\x00\xff] [five]" {
			t.Errorf("%q, header %v, trailer %v", reply.Bytes(), len(reply.Header), len(reply.Trailer))
		}
	}
}

func TestAnswersThatEndACall(t *testing.T) {
	details, err := proto.Marshal(&spb.Status{Code: 5, Message: "with details"})
	if err != nil {
		t.Fatal(err)
	}
	data := func(b []byte, end bool) func(*peer, uint32) {
		return func(p *peer, id uint32) {
			p.sendHeader(id, false, okHeader...)
			if err := p.WriteData(id, end, b); err != nil {
				t.Fatal(err)
			}
			if !end {
				p.sendHeader(id, true, "grpc-status", "0")
			}
		}
	}
	header := func(end bool, kv ...string) func(*peer, uint32) {
		return func(p *peer, id uint32) { p.sendHeader(id, end, kv...) }
	}
	reset := func(code http2.ErrCode) func(*peer, uint32) {
		return func(p *peer, id uint32) {
			if err := p.WriteRSTStream(id, code); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		answer func(*peer, uint32)
		code   codes.Code
		text   string
	}{
		{"a status in trailers only", header(true, append(okHeader, "grpc-status", "7", "grpc-message", "no%20%zz%e4%bd%a0")...), codes.PermissionDenied, "no %zz你"},
		{"a status with details", header(true, append(okHeader, "grpc-status", "5", "grpc-message", "x", "grpc-status-details-bin", b64(details))...), codes.NotFound, "with details"},
		{"details that are none", header(true, append(okHeader, "grpc-status", "5", "grpc-message", "x", "grpc-status-details-bin", "/w")...), codes.NotFound, "x"},
		{"a status that is no number", header(true, append(okHeader, "grpc-status", "many")...), codes.Unknown, ""},
		{"a message that is no UTF-8", header(true, append(okHeader, "grpc-status", "2", "grpc-message", "%ff")...), codes.Unknown, "\ufffd"},
		{"an HTTP error", header(true, ":status", "503", "content-type", "text/html"), codes.Unavailable, "HTTP status 503"},
		{"an HTTP error with a body", func(p *peer, id uint32) {
			p.sendHeader(id, false, ":status", "404", "content-type", "text/html")
			_ = p.WriteData(id, true, []byte("<html>"))
		}, codes.Unimplemented, "HTTP status 404"},
		{"another content type", func(p *peer, id uint32) {
			p.sendHeader(id, false, ":status", "200", "content-type", "text/html")
			_ = p.WriteData(id, true, []byte("<html>"))
		}, codes.Unknown, "not gRPC"},
		{"no status", data(message("x"), true), codes.Internal, "without a status"},
		{"no message", header(true, append(okHeader, "grpc-status", "0")...), codes.Internal, "without an answer"},
		{"half a message", data(message("xyz")[:6], false), codes.Internal, "without an answer"},
		{"half a prefix", data(message("xyz")[:3], false), codes.Internal, "without an answer"},
		{"two messages", data(append(message("x"), message("y")...), false), codes.Internal, "more than one"},
		{"a message that was compressed", data([]byte{1, 0, 0, 0, 1, 'x'}, false), codes.Internal, "compressed"},
		{"a message that is too large", data([]byte{0, 0xff, 0, 0, 0}, false), codes.Internal, "max_message_size"},
		{"data before headers", func(p *peer, id uint32) { _ = p.WriteData(id, false, message("x")) }, codes.Internal, "before headers"},
		{"headers twice", func(p *peer, id uint32) {
			p.sendHeader(id, false, okHeader...)
			p.sendHeader(id, false, okHeader...)
		}, codes.Internal, "twice"},
		{"headers that are too large", func(p *peer, id uint32) {
			kv := append([]string{}, okHeader...)
			for range 100 { // each after the first is one byte
				kv = append(kv, "x-large", strings.Repeat("x", 3000))
			}
			p.sendHeader(id, true, kv...)
		}, codes.Internal, "too large"},
		{"a reset", reset(http2.ErrCodeInternal), codes.Internal, "reset"},
		{"a reset that cancels", reset(http2.ErrCodeCancel), codes.Canceled, "canceled"},
		{"a reset that asks for calm", reset(http2.ErrCodeEnhanceYourCalm), codes.ResourceExhausted, "too much"},
		{"a reset for want of security", reset(http2.ErrCodeInadequateSecurity), codes.PermissionDenied, "security"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, p := connect(t)
			var reply Reply
			ended := invoke(t.Context(), conn, &Call{Method: "/t.T/Do", Request: []byte("x")}, &reply)
			id, _, _ := p.request()
			p.t = t
			c.answer(p, id)
			err := <-ended
			if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.text) {
				t.Errorf("%v, want %v with %q", err, c.code, c.text)
			}
			// The connection goes on.
			again := invoke(t.Context(), conn, &Call{Method: "/t.T/Do"}, new(Reply))
			id, _, _ = p.request()
			p.answer(id, "")
			if err := <-again; err != nil {
				t.Errorf("the call after it: %v", err)
			}
		})
	}
}

func TestAPeerThatBreaksTheProtocolLosesTheConnection(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*peer, uint32) error
	}{
		{"a frame that is too large", func(p *peer, id uint32) error { return p.WriteData(id, false, make([]byte, defaultMaxFrame+1)) }},
		{"a push", func(p *peer, id uint32) error {
			return p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
		}},
		{"a stream that was never opened", func(p *peer, _ uint32) error { return p.WriteData(99, false, []byte("x")) }},
		{"a stream of the peer's own", func(p *peer, _ uint32) error { return p.WriteRSTStream(2, 0) }},
		{"a header block that is none", func(p *peer, id uint32) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}},
		{"another frame inside a header block", func(p *peer, id uint32) error {
			if err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.header(okHeader...)}); err != nil {
				return err
			}
			return p.WritePing(false, [8]byte{})
		}},
		{"a continuation of nothing", func(p *peer, id uint32) error { return p.WriteContinuation(id, true, nil) }},
		{"a header block that does not end", func(p *peer, id uint32) error {
			if err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0}}); err != nil {
				return err
			}
			for {
				if err := p.WriteContinuation(id, false, make([]byte, 1<<14)); err != nil {
					return nil //nolint:nilerr // the connection is gone, as it should be
				}
			}
		}},
		{"padding larger than its frame", func(p *peer, id uint32) error {
			return p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, id, []byte{9, 1})
		}},
		{"a window that overflows", func(p *peer, _ uint32) error { return p.WriteWindowUpdate(0, 1<<31-1) }},
		{"an initial window that is too large", func(p *peer, _ uint32) error {
			return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}},
		{"frames that may be small only", func(p *peer, _ uint32) error {
			return p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 100})
		}},
		{"settings of a wrong size", func(p *peer, _ uint32) error { return p.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 7)) }},
		{"a ping of a wrong size", func(p *peer, _ uint32) error { return p.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }},
		{"a reset of a wrong size", func(p *peer, id uint32) error { return p.WriteRawFrame(http2.FrameRSTStream, 0, id, make([]byte, 3)) }},
		{"a window update of a wrong size", func(p *peer, id uint32) error {
			return p.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 3))
		}},
		{"a GOAWAY of a wrong size", func(p *peer, _ uint32) error { return p.WriteRawFrame(http2.FrameGoAway, 0, 0, make([]byte, 3)) }},
		{"the end", func(p *peer, _ uint32) error { return p.socket.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, p := connect(t)
			ended := invoke(t.Context(), conn, &Call{Method: "/t.T/Do"}, new(Reply))
			id, _, _ := p.request()
			if err := c.do(p, id); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; status.Code(err) != codes.Unavailable {
				t.Errorf("%v, want Unavailable", err)
			}
			<-conn.Done()
			if conn.Usable() || !NotSent(conn.Invoke(t.Context(), &Call{Method: "/t.T/Do"}, new(Reply))) {
				t.Error("the connection still takes calls")
			}
		})
	}
}

func TestAPeerThatDoesNotGreetIsGivenUp(t *testing.T) {
	if _, _, err := tryConnect(t, func(p *peer) error { return p.WritePing(false, [8]byte{}) }); err == nil {
		t.Error("a ping was taken for a greeting")
	}
	if _, _, err := tryConnect(t, func(p *peer) error { return p.socket.Close() }); err == nil {
		t.Error("the end was taken for a greeting")
	}
	if _, _, err := tryConnect(t, func(p *peer) error {
		_, err := p.socket.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		return err
	}); err == nil {
		t.Error("HTTP/1.1 was taken for a greeting")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, silent, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's end", err)
	}
}

func TestCallsThatABackendDidNotBeginWithMayGoElsewhere(t *testing.T) {
	t.Run("a refused stream", func(t *testing.T) {
		c, p := connect(t)
		ended := invoke(t.Context(), c, &Call{Method: "/t.T/Do"}, new(Reply))
		id, _, _ := p.request()
		if err := p.WriteRSTStream(id, http2.ErrCodeRefusedStream); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !NotSent(err) {
			t.Error(err)
		}
	})
	t.Run("streams after the last one of a GOAWAY", func(t *testing.T) {
		c, p := connect(t)
		var reply Reply
		first := invoke(t.Context(), c, &Call{Method: "/t.T/Do"}, &reply)
		id, _, _ := p.request()
		second := invoke(t.Context(), c, &Call{Method: "/t.T/Do"}, new(Reply))
		p.request()
		if err := p.WriteGoAway(id, http2.ErrCodeNo, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-second; !NotSent(err) {
			t.Error(err)
		}
		if err := c.Invoke(t.Context(), &Call{Method: "/t.T/Do"}, new(Reply)); !NotSent(err) {
			t.Error(err)
		}
		p.answer(id, "late")
		if err := <-first; err != nil || string(reply.Bytes()) != "late" {
			t.Errorf("the call before it: %v", err)
		}
		<-c.Done()
	})
}

func TestThePeersLimitsAreKept(t *testing.T) {
	t.Run("streams at a time", func(t *testing.T) {
		c, p := connect(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		first := invoke(t.Context(), c, &Call{Method: "/t.T/First"}, new(Reply))
		id, _, _ := p.request()
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := c.Invoke(short, &Call{Method: "/t.T/None"}, new(Reply)); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the call that found no place: %v", err)
		}
		second := invoke(t.Context(), c, &Call{Method: "/t.T/Second"}, new(Reply))
		p.answer(id, "")
		if err := <-first; err != nil {
			t.Error(err)
		}
		id, fields, _ := p.request()
		if fields[":path"] != "/t.T/Second" {
			t.Errorf("then came %v", fields[":path"])
		}
		p.answer(id, "")
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
	t.Run("windows", func(t *testing.T) {
		c, p := connect(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		request := strings.Repeat("0123456789", 20_000)
		var reply Reply
		ended := invoke(t.Context(), c, &Call{Method: "/t.T/Do", Request: []byte(request)}, &reply)
		id := next[*http2.HeadersFrame](p).StreamID
		var got []byte
		for {
			f := next[*http2.DataFrame](p)
			got = append(got, f.Data()...)
			if len(f.Data()) > defaultMaxFrame {
				t.Errorf("a frame of %d bytes", len(f.Data()))
			}
			if f.StreamEnded() {
				break
			}
			n := uint32(30_000)
			if len(got) == 10 && p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5}) != nil { // the window is -5 now
				t.Fatal("settings")
			}
			if p.WriteWindowUpdate(id, n) != nil || p.WriteWindowUpdate(0, n) != nil {
				t.Fatal("window update")
			}
		}
		if string(got[prefixSize:]) != request {
			t.Errorf("%d bytes came of %d", len(got)-prefixSize, len(request))
		}
		p.answer(id, "")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("a header table", func(t *testing.T) {
		c, p := connect(t)
		for i, size := range []uint32{4096, 0, 0, 1 << 20, 100} {
			if err := p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size}); err != nil {
				t.Fatal(err)
			}
			for acked := false; !acked; {
				acked = next[*http2.SettingsFrame](p).IsAck()
			}
			if i == 0 {
				for acked := false; !acked; { // of the greeting
					acked = next[*http2.SettingsFrame](p).IsAck()
				}
			}
			p.decoder.SetAllowedMaxDynamicTableSize(size)
			ended := invoke(t.Context(), c, &Call{Method: "/t.T/Do"}, new(Reply))
			id, fields, _ := p.request()
			if fields[":authority"] != "backend" || fields["te"] != "trailers" {
				t.Errorf("with a table of %d: %v", size, len(fields))
			}
			p.answer(id, "")
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("metadata", func(t *testing.T) {
		c, p := connect(t, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 100_000})
		if err := c.Invoke(t.Context(), &Call{Method: "/t.T/Do", Metadata: []string{"x-large", strings.Repeat("x", 200_000)}}, new(Reply)); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("too much of it: %v", err)
		}
		large := strings.Repeat("y", 50_000)
		ended := invoke(t.Context(), c, &Call{Method: "/t.T/Do", Metadata: []string{"x-large", large}}, new(Reply))
		id, fields, _ := p.request()
		if fields["x-large"] != large || fields["te"] != "trailers" {
			t.Errorf("%d bytes came", len(fields["x-large"]))
		}
		p.answer(id, "")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestOddAnswersThatAreAllowed(t *testing.T) {
	c, p := connect(t)
	var reply Reply
	ended := invoke(t.Context(), c, &Call{Method: "/t.T/Do"}, &reply)
	id, _, _ := p.request()
	p.sendHeader(id, false, ":status", "103", "link", "</x>")
	block := p.header(append(okHeader, "x-a", "b")...)
	if p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:3], PadLength: 9, Priority: http2.PriorityParam{Weight: 3}}) != nil ||
		p.WriteContinuation(id, false, block[3:5]) != nil || p.WriteContinuation(id, true, block[5:]) != nil {
		t.Fatal("headers")
	}
	text := message("in pieces")
	for i := range text {
		if err := p.WriteDataPadded(id, false, text[i:i+1], make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
	}
	if p.WriteData(id, false, nil) != nil || p.WritePriority(id, http2.PriorityParam{}) != nil || p.WriteRawFrame(0xbe, 0xff, 3, []byte("?")) != nil {
		t.Fatal("frames")
	}
	p.sendHeader(id, true, "grpc-status", "0")
	if err := <-ended; err != nil || string(reply.Bytes()) != "in pieces" || len(reply.Header) != 1 {
		t.Errorf("%q, %v, header %v", reply.Bytes(), err, reply.Header)
	}
	if err := p.WritePing(false, [8]byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	if f := next[*http2.PingFrame](p); !f.IsAck() || f.Data != [8]byte{1, 2} {
		t.Error("the ping was not answered")
	}
}

func TestACallerThatGoesAwayResetsItsStream(t *testing.T) {
	c, p := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := invoke(ctx, c, &Call{Method: "/t.T/Do"}, new(Reply))
	id, _, _ := p.request()
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	if f := next[*http2.RSTStreamFrame](p); f.StreamID != id || f.ErrCode != http2.ErrCodeCancel {
		t.Errorf("stream %d was reset with %v", f.StreamID, f.ErrCode)
	}
	p.answer(id, "too late")
	// Long enough for the request to be sent before, or there would be none.
	ended = invoke(t.Context(), c, &Call{Method: "/t.T/Do", Deadline: time.Now().Add(2 * time.Second)}, new(Reply))
	p.request()
	if err := <-ended; status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	if err := c.Invoke(t.Context(), &Call{Method: "/t.T/Do", Deadline: time.Now().Add(-1)}, new(Reply)); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

func TestABackendWhoseClockIsAheadOfADeadlineHasMissedItToo(t *testing.T) {
	c, p := connect(t)
	for left, want := range map[time.Duration]codes.Code{2 * time.Second: codes.DeadlineExceeded, time.Hour: codes.Canceled} {
		deadline := time.Now().Add(left)
		ended := invoke(t.Context(), c, &Call{Method: "/t.T/Do", Deadline: deadline}, new(Reply))
		id, _, _ := p.request()
		if want == codes.DeadlineExceeded {
			time.Sleep(time.Until(deadline) - deadlineSlack/2)
		}
		if err := p.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; status.Code(err) != want {
			t.Errorf("%v before the deadline: %v, want %v", left, err, want)
		}
	}
}

func TestALargeAnswerOpensWindowsAgain(t *testing.T) {
	c, p := connect(t)
	var reply Reply
	ended := invoke(t.Context(), c, &Call{Method: "/t.T/Do"}, &reply)
	id, _, _ := p.request()
	p.sendHeader(id, false, okHeader...)
	text := message(strings.Repeat("z", 1<<20))
	for b := text; len(b) > 0; {
		n := min(len(b), defaultMaxFrame)
		if err := p.WriteData(id, false, b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	if f := next[*http2.WindowUpdateFrame](p); f.StreamID != 0 && f.Increment < streamWindow/2 {
		t.Errorf("the window was opened by %d", f.Increment)
	}
	p.sendHeader(id, true, "grpc-status", "0")
	if err := <-ended; err != nil || len(reply.Bytes()) != 1<<20 {
		t.Errorf("%d bytes, %v", len(reply.Bytes()), err)
	}
	reply.Reset()
	if cap(reply.body) > keepable {
		t.Errorf("%d bytes are kept", cap(reply.body))
	}
}

// TestManyCallersOfARealServer has net/http's server at the other end, and callers of which some give up.
func TestManyCallersOfARealServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 20}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, r.ContentLength+1<<20)
		n := 0
		for {
			m, err := r.Body.Read(b[n:])
			if n += m; err != nil {
				break
			}
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(b[:n])
		w.Header().Set("Grpc-Status", "0")
	})}
	go server.Serve(l)
	defer server.Close()
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(within(t, time.Minute), socket, Options{Authority: "backend", UserAgent: "crossgate", MaxMessageSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var callers sync.WaitGroup
	for n := range 50 {
		callers.Go(func() {
			var reply Reply
			for i := range 40 {
				request := strings.Repeat(string(rune('a'+n%26)), (n*i*i)%50_000)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if i%10 == 9 {
					cancel()
				}
				err := c.Invoke(ctx, &Call{Method: "/t.T/Echo", Request: []byte(request)}, &reply)
				cancel()
				if i%10 != 9 && (err != nil || string(reply.Bytes()) != request) {
					t.Errorf("%d bytes came back of %d: %v", len(reply.Bytes()), len(request), err)
				}
				reply.Reset()
			}
		})
	}
	callers.Wait()
}

func TestTimeouts(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "1n", 0: "1n", 99_999_999: "99999999n", 100_000_000: "100000u", 100_000_001: "100001u", 5 * time.Second: "5000000u",
		time.Hour: "3600000m", 1<<63 - 1: "2562048H",
	} {
		if b := AppendTimeout(nil, d); string(b) != want {
			t.Errorf("%d ns is %q, want %q", d, b, want)
		}
	}
}
