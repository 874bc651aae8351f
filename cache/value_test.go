package cache

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"slices"
	"testing"
	"time"
)

// sealed gives what follows the version its version and checksum.
func sealed(body []byte) []byte {
	b := append([]byte(valueVersion), body...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func anEntry() *entry {
	return &entry{
		status: 200, received: time.UnixMilli(1e12), freshness: freshness{age: 3 * time.Second}, shared: position{5, 6}, tags: []string{"a", "b"},
		header: []field{{"Cache-Control", []string{"max-age=10"}}, {"X", []string{"1", ""}}}, body: []byte("body"),
		trailer: []field{{statusTrailer, []string{"0"}}},
	}
}

func TestAValueIsWhatWasKept(t *testing.T) {
	k, err := decodeValue(encodeValue([]byte("key"), "h/a", anEntry()))
	if err != nil {
		t.Fatal(err)
	}
	if string(k.key) != "key" || k.uri != "h/a" || k.began != (position{5, 6}) || k.status != 200 || !k.received.Equal(time.UnixMilli(1e12)) || k.age != 3*time.Second ||
		!slices.Equal(k.tags, []string{"a", "b"}) || !slices.Equal(k.header["X"], []string{"1", ""}) || k.header.Get("Cache-Control") != "max-age=10" || string(k.body) != "body" ||
		len(k.trailer) != 1 || k.trailer[0].name != statusTrailer || !slices.Equal(k.trailer[0].values, []string{"0"}) {
		t.Errorf("%+v", k)
	}
}

func TestAHostileValueIsRefused(t *testing.T) {
	good := encodeValue([]byte("key"), "h/a", anEntry())
	with := func(change func(*entry)) []byte {
		e := anEntry()
		change(e)
		return encodeValue(nil, "", e)
	}
	tests := map[string][]byte{
		"nothing":                    nil,
		"another version":            append([]byte("cg-answer-1\n"), good[len(valueVersion):]...),
		"one bit":                    func() []byte { b := bytes.Clone(good); b[len(b)/2] ^= 1; return b }(),
		"half of it":                 good[:len(good)/2],
		"more than all":              sealed(append(bytes.Clone(good[len(valueVersion):len(good)-4]), 0)),
		"a length beyond its end":    sealed([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}),
		"a number without an end":    sealed(bytes.Repeat([]byte{0xff}, 20)),
		"a split answer":             with(func(e *entry) { e.header = []field{{"X", []string{"a\r\nSet-Cookie: b"}}} }),
		"a header's name":            with(func(e *entry) { e.header = []field{{"X: y\r\nZ", []string{"a"}}} }),
		"a length of its own":        with(func(e *entry) { e.header = []field{{"Content-Length", []string{"1"}}} }),
		"a framing of its own":       with(func(e *entry) { e.header = []field{{"Transfer-Encoding", []string{"chunked"}}} }),
		"a trailer that is a header": with(func(e *entry) { e.trailer = []field{{"Grpc-Status", []string{"0"}}} }),
		"a split trailer":            with(func(e *entry) { e.trailer = []field{{statusTrailer, []string{"0\r\n\r\n"}}} }),
		"a trailer's framing":        with(func(e *entry) { e.trailer = []field{{http.TrailerPrefix + "Content-Length", []string{"1"}}} }),
		"a name in another case":     with(func(e *entry) { e.header = []field{{"set-cookie", []string{"a"}}} }),
		"a status of four digits":    with(func(e *entry) { e.status = 2000 }),
	}
	for name, value := range tests {
		if k, err := decodeValue(value); err == nil {
			t.Errorf("%s is read as %+v", name, k)
		}
	}
}

func TestWhatIsReadByTheRulesOfAnAnswerIsRefusedByThem(t *testing.T) {
	s := newScene(t, nil)
	for name, h := range map[string]http.Header{
		"private":      {"Cache-Control": {"private, max-age=10"}},
		"a cookie":     {"Cache-Control": {"max-age=10"}, "Set-Cookie": {"session=evil"}},
		"says nothing": {},
	} {
		l := &lookup{Policy: s.policy, request: &Request{Request: &http.Request{Method: "GET", Header: http.Header{}}}}
		if e, err := l.admit(&keptValue{status: 200, header: h, received: birth}); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestAnAnswerInRedisToACallIsForCallsAlone(t *testing.T) {
	s := newScene(t, nil)
	get := &Request{Request: &http.Request{Method: "GET", Header: http.Header{}}}
	status := func(code string) []field { return []field{{statusTrailer, []string{code}}} }
	for name, test := range map[string]struct {
		request *Request
		body    string
		trailer []field
		good    bool
	}{
		"a call":                  {aCall("a"), string(frameOf("b")), status("0"), true},
		"a call without an end":   {aCall("a"), string(frameOf("b")), nil, false},
		"a call that failed":      {aCall("a"), "", status("3"), false},
		"a call and two messages": {aCall("a"), string(frameOf("b")) + string(frameOf("c")), status("0"), false},
		"a GET":                   {get, "b", nil, true},
		"a GET with an end":       {get, "b", status("0"), false},
	} {
		l := &lookup{Policy: s.policy, request: test.request}
		e, err := l.admit(&keptValue{status: 200, header: http.Header{"Cache-Control": {"max-age=10"}}, trailer: test.trailer, body: []byte(test.body), received: birth})
		if (err == nil) != test.good {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func FuzzAValueIsReadOrRefused(f *testing.F) {
	good := encodeValue([]byte("key"), "h/a", anEntry())
	f.Add(good[len(valueVersion) : len(good)-4])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		k, err := decodeValue(sealed(body))
		if err != nil {
			return
		}
		for name, values := range k.header {
			if !goodField(name, values) {
				t.Errorf("%q: %q", name, values)
			}
		}
	})
}
