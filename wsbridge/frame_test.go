package wsbridge

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

func TestFramesHaveTheHeaderOfTheirLength(t *testing.T) {
	for _, c := range []struct {
		size int
		head string
	}{
		{0, "\x81\x00"}, {125, "\x81\x7d"}, {126, "\x81\x7e\x00\x7e"}, {65535, "\x81\x7e\xff\xff"},
		{65536, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"},
	} {
		payload := strings.Repeat("x", c.size)
		if got := string(seal(append(newFrame(8), payload...), finText)); got != c.head+payload {
			t.Errorf("%d bytes begin with %x, want %x", c.size, got[:min(len(got), 10)], c.head)
		}
	}
}

func TestAFrameForManyIsEncodedOnce(t *testing.T) {
	text := `{"text":"` + strings.Repeat("x", 500) + `"}`
	if n := testing.AllocsPerRun(100, func() {
		p := payloadOf([]byte(text))
		messageFrame("room:1", p)
	}); n > 2 {
		t.Errorf("it takes %v allocations, want the payload's and the frame's", n)
	}
}

func TestWhatNobodyNeedsIsNotMadeOfABroadcast(t *testing.T) {
	s := &session{route: &Route{}}
	s.wire.stopped = true
	text := []byte(`"` + strings.Repeat("x", 5000) + `"`)
	if n := testing.AllocsPerRun(100, func() {
		m := broadcast{channel: "room:1", payload: payload{text, true}}
		for range 10 {
			m.to(s, false)
		}
	}); n > 1 {
		t.Errorf("it takes %v allocations for ten sessions, want the frame's", n)
	}
	s.deflates = true
	m := broadcast{channel: "room:1", payload: payload{text, true}}
	m.to(s, false)
	once := m.others.enveloped.deflated
	m.to(s, true)
	if again := m.others.enveloped.deflated; &once[0] != &again[0] || len(once) > len(text)/10 {
		t.Error("a broadcast is compressed for each session")
	}
}

func TestRequestsAreReadInPlace(t *testing.T) {
	frame := []byte(` { "id" : 17 , "type" : "message" , "route" : "a\u002eb" , "data" : { "x" : [ 1 , "}" , "\"]" ] } } `)
	r, err := parseRequest(frame)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.ID) != "17" || r.Type != "message" || r.Route != "a.b" || string(r.Data) != `{ "x" : [ 1 , "}" , "\"]" ] }` {
		t.Errorf("read as %+v", r)
	}
	for _, data := range []string{"0", "-1.5e9", "true", "null", `""`, "[]", "{}", `[[],{"a":{}}]`} {
		r, err := parseRequest([]byte(`{"data":` + data + `,"type":"message"}`))
		if err != nil || string(r.Data) != data || r.Type != "message" {
			t.Errorf("data %s is read as %s, %v", data, r.Data, err)
		}
	}
}

// FuzzRequest checks the parser against encoding/json.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"type":"message","route":"chat.send","data":{"a":[1,2,{"b":"}\""}]}}`, `{"type":"subscribe","channel":"room:1","epoch":"e","offset":7}`,
		`{"id":"x","type":"refresh","token":"a.b.c"}`, `{"data_base64":"AP8="}`, ` { } `, `{"\u0069d":1}`, `[]`, `{"id":`, `{"data":[[[[`, "{\"id\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if !utf8.Valid(frame) {
			return // such a frame closes the session before it is parsed
		}
		before := bytes.Clone(frame)
		r, err := parseRequest(frame)
		if !bytes.Equal(before, frame) {
			t.Fatal("the frame has changed")
		}
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(frame, &want); err != nil {
			t.Fatalf("%q is read, which is no JSON object: %v", frame, err)
		}
		if !bytes.Equal(r.ID, want["id"]) || !bytes.Equal(r.Data, want["data"]) {
			t.Fatalf("%q is read as %+v", frame, r)
		}
		for name, got := range map[string]string{"type": r.Type, "route": r.Route, "channel": r.Channel, "token": r.Token} {
			var s string
			if raw, ok := want[name]; ok {
				if err := json.Unmarshal(raw, &s); err != nil {
					t.Fatalf("%q: %s: %v", frame, name, err)
				}
			}
			if got != s {
				t.Fatalf("%q: %s is read as %q, want %q", frame, name, got, s)
			}
		}
		// What goes on to a service stays one valid envelope.
		m := bus.Inbound{V: bus.Version, Type: bus.Message, Route: r.Route, Data: r.Data, DataBase64: r.Bytes}
		if _, err := bus.ParseInbound(m.Append(nil)); err != nil {
			t.Fatalf("%q becomes %s: %v", frame, m.Append(nil), err)
		}
		if answer := errorFrame(r.ID, codeInvalidArgument, r.Route, 1); !json.Valid(answer[bytes.IndexByte(answer, '{'):]) {
			t.Fatalf("%q is answered with %s", frame, answer)
		}
	})
}
