package codec

import (
	"strings"
	"testing"
)

func TestParamText(t *testing.T) {
	md := message(t, "Item")
	for _, c := range []struct{ param, want string }{
		{"ok=true", `{"ok":true}`}, {"ok=1", `{"ok":true}`}, {"ok=T", `{"ok":true}`}, {"ok=0", `{"ok":false}`},
		{"count=-7", `{"count":-7}`}, {"count=2147483647", `{"count":2147483647}`},
		{"big=-9223372036854775808", `{"big":"-9223372036854775808"}`},
		{"small=4294967295", `{"small":4294967295}`}, {"huge=18446744073709551615", `{"huge":"18446744073709551615"}`},
		{"ratio=0.25", `{"ratio":0.25}`}, {"exact=1e300", `{"exact":1e300}`}, {"exact=Infinity", `{"exact":"Infinity"}`},
		{"title=a b=c", `{"title":"a b=c"}`}, {"title=", `{}`},
		{"raw=aGk=", `{"raw":"aGk="}`}, {"raw=aGk", `{"raw":"aGk="}`}, {"raw=-_8", `{"raw":"+/8="}`}, {"raw=+/8=", `{"raw":"+/8="}`},
		{"kind=BOOK", `{"kind":"BOOK"}`}, {"kind=2", `{"kind":"TOOL"}`}, {"kinds=TOOL", `{"kinds":["TOOL"]}`},
		{"at=2026-01-02T03:04:05.678Z", `{"at":"2026-01-02T03:04:05.678Z"}`}, {"at=2026-01-02T03:04:05+01:00", `{"at":"2026-01-02T02:04:05Z"}`},
		{"wait=1.5s", `{"wait":"1.5s"}`}, {"wait=-0.000000001s", `{"wait":"-0.000000001s"}`}, {"wait=315576000000s", `{"wait":"315576000000s"}`},
		{"wait=1m30s", `{"wait":"90s"}`},
		{"mask=owner.displayName,title", `{"mask":"owner.displayName,title"}`}, {"mask=owner.display_name", `{"mask":"owner.displayName"}`}, {"mask=", `{"mask":""}`},
		{"wrapped=7", `{"wrapped":"7"}`}, {"wrapped=0", `{"wrapped":"0"}`}, {"text=", `{"text":""}`}, {"flag=false", `{"flag":false}`}, {"wrapped_raw=-_8=", `{"wrappedRaw":"+/8="}`},
		{`object={"a":[1]}`, `{"object":{"a":[1]}}`}, {`value="x"`, `{"value":"x"}`}, {"value=null", `{"value":null}`}, {`list=[1,"a"]`, `{"list":[1,"a"]}`},
		{"empty=", `{"empty":{}}`}, {"empty={}", `{"empty":{}}`},
		{"times=2026-01-02T03:04:05Z", `{"times":["2026-01-02T03:04:05Z"]}`},
		{"maybe=0", `{"maybe":0}`}, {"number=0", `{"number":0}`},
	} {
		t.Run(c.param, func(t *testing.T) {
			r, err := Reference.CompileRequest(md, "", Options{})
			if err != nil {
				t.Fatal(err)
			}
			wire, err := r.AppendWire(nil, nil, params(t, md, []string{c.param}))
			if err != nil {
				t.Fatal(err)
			}
			same(t, md, wire, c.want)
		})
	}
}

func TestParamTextRefused(t *testing.T) {
	md := message(t, "Item")
	for _, c := range []struct{ param, reason string }{
		{"ok=yes", "expected true or false"}, {"ok=", "expected true or false"},
		{"count=2147483648", "32 bits"}, {"count=1.0", "32 bits"}, {"count=", "32 bits"}, {"count= 1", "32 bits"}, {"count=0x10", "32 bits"},
		{"big=9223372036854775808", "64 bits"}, {"small=-1", "not negative"}, {"huge=-1", "not negative"},
		{"ratio=1e39", "a number of 32 bits"}, {"exact=0x1p4", "a number of 64 bits"}, {"exact=1_0", "a number of 64 bits"}, {"exact=x", "a number"},
		{"raw=***", "base64"}, {"raw=-/8=", "base64"},
		{"kind=CAR", "a value of the enum test.Kind"}, {"kind=99", "a value of the enum test.Kind"}, {"kind=", "a value of the enum"},
		{"at=2026-01-02", "RFC 3339"}, {"at=", "RFC 3339"}, {"at=9999-12-31T23:59:59-01:00", "RFC 3339"},
		{"wait=1", "seconds with s"}, {"wait=", "seconds with s"}, {"wait=315576000001s", "seconds with s"},
		{"mask=a,,b", "field paths"}, {"text=\xff", "UTF-8"}, {"wrapped=x", "64 bits"}, {"object=[]", "JSON for a google.protobuf.Struct"},
		{"empty=x", "nothing"}, {"any=x", "is a message"},
		{"count=" + strings.Repeat("9", 1000), "…"},
	} {
		t.Run(c.param[:min(len(c.param), 20)], func(t *testing.T) {
			r, err := Reference.CompileRequest(md, "", Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.AppendWire(nil, nil, params(t, md, []string{c.param}))
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %v, want one with %q", err, c.reason)
			}
			if err != nil && len(err.Error()) > 200 {
				t.Errorf("the error repeats %d bytes", len(err.Error()))
			}
		})
	}
}
