package bus_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

func TestKeysAreThoseOfTheContract(t *testing.T) {
	k := bus.Keys{Prefix: "cg:"}
	for got, want := range map[string]string{
		k.In("chat"):         "cg:in:chat",
		k.Queue("chat"):      "cg:queue:chat",
		k.Node("n1"):         "cg:out:node:n1",
		k.User("ann"):        "cg:out:user:ann",
		k.Channel("room:42"): "cg:out:channel:room:42",
		k.All():              "cg:out:all",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestInboundEnvelopesAreThoseOfTheContract(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC)
	tests := []struct {
		name string
		m    bus.Inbound
		want string
	}{
		{
			"a message", bus.Inbound{V: 1, ID: "c-2", Type: bus.Message, Connection: "c", User: "ann", Claims: json.RawMessage(`{"sub":"ann"}`),
				Route: "chat.send", Data: json.RawMessage(`{"text":"hi"}`), ReplyTo: "cg:out:node:n", Time: at},
			`{"v":1,"id":"c-2","type":"message","connection":"c","user":"ann","claims":{"sub":"ann"},"route":"chat.send",` +
				`"data":{"text":"hi"},"reply_to":"cg:out:node:n","time":"2026-05-01T12:00:00.123456Z"}`,
		},
		{
			"bytes", bus.Inbound{V: 1, ID: "c-3", Type: bus.Message, Connection: "c", DataBase64: []byte{0, 255}, ReplyTo: "r", Time: at},
			`{"v":1,"id":"c-3","type":"message","connection":"c","data_base64":"AP8=","reply_to":"r","time":"2026-05-01T12:00:00.123456Z"}`,
		},
		{
			"no bytes at all", bus.Inbound{V: 1, ID: "c-3", Type: bus.Message, Connection: "c", DataBase64: []byte{}, ReplyTo: "r", Time: at},
			`{"v":1,"id":"c-3","type":"message","connection":"c","data_base64":"","reply_to":"r","time":"2026-05-01T12:00:00.123456Z"}`,
		},
		{
			"a disconnect", bus.Inbound{V: 1, ID: "c-4", Type: bus.Disconnect, Connection: "c", Code: 1006, ReplyTo: "r", Time: at},
			`{"v":1,"id":"c-4","type":"disconnect","connection":"c","code":1006,"reply_to":"r","time":"2026-05-01T12:00:00.123456Z"}`,
		},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			got := string(c.m.Append(nil))
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			back, err := bus.ParseInbound([]byte(got))
			if err != nil || !reflect.DeepEqual(*back, c.m) {
				t.Errorf("read back as %+v, %v", back, err)
			}
		})
	}
}

func TestHostileNamesStayInsideTheirStrings(t *testing.T) {
	for _, name := range []string{`"},"v":2,"x":{"`, "a\\", "new\nline", "\x00", "\xff\xfe", "snow ☃", "<script>", strings.Repeat("x", 9000)} {
		m := bus.Inbound{V: 1, Type: bus.Message, User: name, Route: name}
		back, err := bus.ParseInbound(m.Append(nil))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if want := strings.ToValidUTF8(name, "\uFFFD"); back.Route != want && back.Route != "\uFFFD\uFFFD" || back.User != back.Route {
			t.Errorf("%q came back as %q", name, back.Route)
		}
	}
}

func TestEnvelopesThatAreNotUnderstoodAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":                   `{`,
		"another version":           `{"v":2,"type":"message"}`,
		"no version":                `{"type":"message"}`,
		"a string for the version":  `{"v":"1"}`,
		"base64 that is not base64": `{"v":1,"data_base64":"*"}`,
	} {
		if _, err := bus.ParseInbound([]byte(text)); err == nil {
			t.Errorf("%s is read as an inbound envelope", name)
		}
	}
	for name, text := range map[string]string{
		"no JSON":                   `x`,
		"no connection":             `{"data":1}`,
		"an array":                  `[]`,
		"base64 that is not base64": `{"connection":"c","data_base64":"*"}`,
	} {
		if _, err := bus.ParseOutbound([]byte(text)); err == nil {
			t.Errorf("%s is read as an outbound envelope", name)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"id":"c-2","type":"message","connection":"c","user":"a","claims":{},"route":"r","data":[1],"reply_to":"n","time":"2026-05-01T12:00:00Z"}`,
		`{"v":1,"type":"disconnect","code":1006,"time":"2026-05-01T12:00:00.5+02:00"}`,
		`{"v":1,"data_base64":"AP8="}`, `{"connection":"c","in_reply_to":"i","error":{"code":"x","message":"y"}}`, `{`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = bus.ParseOutbound(raw)
		m, err := bus.ParseInbound(raw)
		if err != nil {
			return
		}
		again, err := bus.ParseInbound(m.Append(nil))
		if err != nil {
			t.Fatalf("%s was read, but %s is not: %v", raw, m.Append(nil), err)
		}
		if first, second := string(m.Append(nil)), string(again.Append(nil)); first != second {
			t.Fatalf("%s became %s", first, second)
		}
	})
}
