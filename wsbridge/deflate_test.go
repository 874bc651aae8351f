package wsbridge_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// deflated compresses a message as RFC 7692 section 7.2.1 has it. final ends it with a block that is the last.
func deflated(t *testing.T, text, window string, final bool) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, flate.BestCompression, []byte(window))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if final {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String() + "\x00"
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inflated is deflated backwards, for a receiver that keeps no window.
func inflated(t *testing.T, payload string) string {
	t.Helper()
	text, err := io.ReadAll(flate.NewReader(strings.NewReader(payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	if err != nil {
		t.Fatalf("the payload %q does not inflate: %v", payload, err)
	}
	return string(text)
}

const deflateSection = "compression: {min_size: 1KiB}, max_message_size: 64KiB, channels: [{pattern: c, subscribe: anyone}]"

func TestCompressionIsAgreedOnAsOffered(t *testing.T) {
	off, _ := start(t, "")
	on, _ := start(t, deflateSection)
	takeover, _ := start(t, "compression: {context_takeover: true}")
	for _, row := range []struct {
		on          *gateway
		offer, want string
	}{
		{off, "permessage-deflate", ""},
		{on, "", ""},
		{on, "permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"}, // Chromium's
		{on, "permessage-deflate", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
		{on, "permessage-deflate; server_max_window_bits=9", ""},
		{on, "permessage-deflate; server_max_window_bits=9, permessage-deflate", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
		{on, "permessage-deflate; nonsense", ""},
		{on, "x-webkit-deflate-frame", ""},
		{takeover, "permessage-deflate", "permessage-deflate; server_no_context_takeover"},
		{takeover, "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
	} {
		_, answer := row.on.shakeHands(t, "Sec-WebSocket-Extensions: "+row.offer+"\r\n", "")
		got := ""
		for line := range strings.SplitSeq(answer, "\r\n") {
			if value, ok := strings.CutPrefix(line, "Sec-Websocket-Extensions: "); ok {
				got = value
			}
		}
		if got != row.want {
			t.Errorf("%q is answered by %q, want %q", row.offer, got, row.want)
		}
	}
}

func TestCompressedMessagesOfClients(t *testing.T) {
	off, _ := start(t, "max_message_size: 64KiB")
	on, _ := start(t, deflateSection)
	takeover, _ := start(t, "compression: {context_takeover: true}, max_message_size: 64KiB")
	const text, binary, more, ping = 0x81, 0x82, 0x80, 0x89
	const rsv1, rsv2, rsv3, unfinished = 0x40, 0x20, 0x10, 0x80
	frame := `{"id":1,"type":"ping"}`
	padded := frame + strings.Repeat(" ", 60_000)
	z := deflated(t, frame, "", false)
	type f struct {
		first   byte
		payload string
	}
	for name, row := range map[string]struct {
		on     *gateway
		frames []f
		code   int // 0 for as many pongs
		pongs  int
	}{
		"compressed":                          {on, []f{{text | rsv1, z}}, 0, 1},
		"one after the other":                 {on, []f{{text | rsv1, z}, {text, frame}, {text | rsv1, z}}, 0, 3},
		"well compressed":                     {on, []f{{text | rsv1, deflated(t, padded, "", false)}}, 0, 1},
		"in pieces":                           {on, []f{{text ^ unfinished | rsv1, z[:5]}, {0, ""}, {0, z[5:6]}, {ping, ""}, {more, z[6:]}}, 0, 1},
		"with empty blocks":                   {on, []f{{text | rsv1, z + "\x00\x00\xff\xff\x00\x00\x00\xff\xff"}}, 0, 1},
		"stored":                              {on, []f{{text | rsv1, "\x00" + string([]byte{byte(len(frame)), 0, byte(^len(frame)), 0xff}) + frame + "\x00"}}, 0, 1},
		"with a final block":                  {on, []f{{text | rsv1, deflated(t, frame, "", true)}}, 0, 1},
		"after a final block, a limit":        {on, []f{{text | rsv1, deflated(t, frame, "", true)}, {text | rsv1, z}}, 1007, 1},
		"by a window that is kept":            {takeover, []f{{text | rsv1, z}, {text | rsv1, deflated(t, frame, frame, false)}}, 0, 2},
		"by one that is not":                  {on, []f{{text | rsv1, z}, {text | rsv1, deflated(t, frame, frame, false)}}, 1007, 1},
		"of nothing":                          {on, []f{{text | rsv1, ""}}, 0, 0},
		"binary":                              {on, []f{{binary | rsv1, z}}, 1003, 0},
		"not agreed on":                       {off, []f{{text | rsv1, z}}, 1002, 0},
		"a continuation that says so again":   {on, []f{{text ^ unfinished | rsv1, z[:5]}, {more | rsv1, z[5:]}}, 1002, 0},
		"a ping that says so":                 {on, []f{{ping | rsv1, ""}}, 1002, 0},
		"another reserved bit":                {on, []f{{text | rsv1 | rsv2, z}}, 1002, 0},
		"the third reserved bit":              {on, []f{{text | rsv3, frame}}, 1002, 0},
		"what is not compressed at all":       {on, []f{{text | rsv1, frame}}, 1007, 0},
		"a block of no kind":                  {on, []f{{text | rsv1, "\x07\x07"}}, 1007, 0},
		"a stored block of a false length":    {on, []f{{text | rsv1, "\x00\x05\x00\x00\x00hello"}}, 1007, 0},
		"a distance before the beginning":     {on, []f{{text | rsv1, "\x4b\x04\x42\x02\x22"}}, 1007, 0},
		"what is no UTF-8":                    {on, []f{{text | rsv1, deflated(t, "\"\xff\"", "", false)}}, 1007, 0},
		"a byte more than is allowed":         {on, []f{{text | rsv1, deflated(t, strings.Repeat(" ", 64<<10+1), "", false)}}, 1009, 0},
		"a bomb":                              {on, []f{{text | rsv1, deflated(t, strings.Repeat("\x00", 8<<20), "", false)}}, 1009, 0},
		"a bomb with a window":                {takeover, []f{{text | rsv1, deflated(t, strings.Repeat("\x00", 8<<20), "", false)}}, 1009, 0},
		"plain text longer than is allowed":   {on, []f{{text, strings.Repeat(" ", 64<<10+1)}}, 1009, 0},
		"a new message within another":        {on, []f{{text ^ unfinished | rsv1, z[:5]}, {text | rsv1, z}}, 1002, 0},
		"a continuation of nothing, with it":  {on, []f{{more | rsv1, z}}, 1002, 0},
		"a frame with a text that is to come": {on, []f{{text ^ unfinished, frame[:5]}, {more, frame[5:]}}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := row.on.shakeHands(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n", "")
			go func() {
				for _, f := range row.frames {
					if _, err := c.Write(maskedFrame(f.first, f.payload)); err != nil {
						return // the rest may come too late
					}
				}
			}()
			for range row.pongs {
				if first, payload := c.readMessage(); first != 0x81 || payload != `{"id":1,"type":"pong"}` {
					t.Fatalf("%x %q", first, payload)
				}
			}
			if row.code != 0 {
				c.wantCloseFrame(row.code)
				return
			}
			if row.pongs == 0 {
				if _, payload := c.readMessage(); !strings.Contains(payload, "invalid_argument") {
					t.Fatal(payload)
				}
			}
			c.frame(text, `{"id":2,"type":"ping"}`)
			if _, payload := c.readMessage(); payload != `{"id":2,"type":"pong"}` {
				t.Fatalf("afterwards comes %q", payload)
			}
		})
	}
}

// maskedFrame is a frame of a client, with a mask of zeroes.
func maskedFrame(first byte, payload string) []byte {
	b := []byte{first, 0x80 | 127, 0, 0, 0, 0, byte(len(payload) >> 24), byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload))}
	switch n := len(payload); {
	case n < 126:
		b = []byte{first, 0x80 | byte(n)}
	case n < 1<<16:
		b = []byte{first, 0x80 | 126, byte(n >> 8), byte(n)}
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// readMessage returns the next frame that is no pong of the protocol's own.
func (c *rawConn) readMessage() (first byte, payload string) {
	c.t.Helper()
	for {
		if first, payload = c.read(); first != 0x8a {
			return first, payload
		}
	}
}

func TestABroadcastIsCompressedForThoseWhoCan(t *testing.T) {
	g, rdb := start(t, deflateSection)
	const offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	var able []*rawConn
	for range 6 {
		c, _ := g.shakeHands(t, offer, "")
		able = append(able, c)
	}
	other := g.dialRaw(t)
	for _, c := range append(able, other) {
		c.frame(0x81, `{"id":1,"type":"subscribe","channel":"c"}`)
		if first, payload := c.read(); first != 0x81 || payload != `{"id":1,"type":"ok","channel":"c"}` {
			t.Fatalf("what is small comes as %x %q", first, payload)
		}
	}
	for _, size := range []int{10, 2000, 300_000} {
		payload := `"` + strings.Repeat("abcdefgh", size/8) + `"`
		want := `{"type":"message","channel":"c","data":` + payload + `}`
		publish(t, rdb, "cg:out:channel:c", payload)
		for i, c := range able {
			first, got := c.read()
			if compressed := first == 0xc1; compressed != (size >= 2000) {
				t.Fatalf("%d bytes come with %x", size, first)
			} else if compressed {
				if len(got) > len(want)/10 {
					t.Errorf("%d bytes are compressed to %d", len(want), len(got))
				}
				got = inflated(t, got)
			}
			if got != want {
				t.Fatalf("client %d gets %.100s", i, got)
			}
		}
		if first, got := other.read(); first != 0x81 || got != want {
			t.Fatalf("who cannot gets %x %.100s", first, got)
		}
	}
}

func TestRawMessagesAreCompressedToo(t *testing.T) {
	g, rdb := start(t, "mode: raw, compression: {min_size: 1}")
	inbox := envelopes(t, rdb)
	c := g.dial(t, &websocket.DialOptions{CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: 1})
	nextEnvelope(t, inbox, bus.Connect)
	raw := strings.Repeat("\xff\x00", 2000)
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte(raw)); err != nil {
		t.Fatal(err)
	}
	if m := nextEnvelope(t, inbox, bus.Message); string(m.DataBase64) != raw {
		t.Errorf("%d bytes arrive of %d", len(m.DataBase64), len(raw))
	}
	for kind, payload := range map[websocket.MessageType]string{websocket.MessageBinary: raw, websocket.MessageText: `["` + strings.Repeat("x", 3000) + `"]`} {
		publish(t, rdb, "cg:out:all", payload)
		if got, text, err := c.next(); err != nil || got != kind || text != payload {
			t.Errorf("%v: %d bytes come, want %v of %d: %v", got, len(text), kind, len(payload), err)
		}
	}
}

func TestTheLibrarysClientTalksCompressed(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		for _, section := range []string{"context_takeover: true, min_size: 1", "min_size: 1"} {
			g, rdb := start(t, "compression: {"+section+"}, channels: [{pattern: c, subscribe: anyone}]")
			c := g.dial(t, &websocket.DialOptions{Subprotocols: []string{wsbridge.Subprotocol}, CompressionMode: mode, CompressionThreshold: 1})
			c.send(`{"id":1,"type":"subscribe","channel":"c"}`)
			c.want(`{"id":1,"type":"ok","channel":"c"}`)
			for i := range 60 {
				payload := fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat("the same again ", i))
				publish(t, rdb, "cg:out:channel:c", payload)
				c.send(`{"type":"ping","id":"` + strings.Repeat("x", i%60) + `"}`)
				pong, message := `{"id":"`+strings.Repeat("x", i%60)+`","type":"pong"}`, `{"type":"message","channel":"c","data":`+payload+`}`
				_, first, _ := c.next()
				_, second, _ := c.next()
				if first != pong || second != message {
					if first != message || second != pong {
						t.Fatalf("%.200s and %.200s", first, second)
					}
				}
			}
		}
	}
}
