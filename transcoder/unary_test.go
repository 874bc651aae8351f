package transcoder

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// sameJSON compares two JSON texts as values.
func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("no JSON: %v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestBindings says what the backend is sent.
func TestBindings(t *testing.T) {
	s := startShop(t, nil)
	for _, c := range []struct{ name, line, body, want string }{
		{"a variable of many segments", "GET /v1/shelves/1/items/2", "", `{"name":"shelves/1/items/2"}`},
		{"a variable and a query", "GET /v1/shelves/1/items/2?deep=true", "", `{"name":"shelves/1/items/2","deep":true}`},
		{"a nested variable", "GET /v1/owners/ada/items/x", "", `{"owner":{"id":"ada"},"name":"x"}`},
		{"a variable of all the rest", "GET /v1/all/a/b/c", "", `{"name":"a/b/c"}`},
		{"escapes in a variable", "GET /v1/owners/a%20b%2Fc/items/%C3%A9", "", `{"owner":{"id":"a b/c"},"name":"é"}`},
		{"variables that are no strings", "GET /v1/kinds/BOOK/at/2026-01-02T03:04:05Z", "", `{"kind":"BOOK","at":"2026-01-02T03:04:05Z"}`},
		{"an enum by number", "GET /v1/kinds/2/at/2026-01-02T03:04:05Z", "", `{"kind":"TOOL","at":"2026-01-02T03:04:05Z"}`},
		{"a custom verb", "REPORT /v1/report?name=x", "", `{"name":"x"}`},
		{"a body that is a field", "POST /v1/shelves/1/items", `{"title":"a"}`, `{"parent":"shelves/1","item":{"title":"a"}}`},
		{"a body that is a field, and a query", "POST /v1/shelves/1/items?deep=1", `{"title":"a"}`, `{"parent":"shelves/1","item":{"title":"a"},"deep":true}`},
		{"a variable inside the body's field", "PATCH /v1/shelves/1/items/2?mask=title,owner.displayName", `{"title":"a"}`,
			`{"item":{"name":"shelves/1/items/2","title":"a"},"mask":"title,owner.displayName"}`},
		{"a variable wins over the body", "PUT /v1/shelves/1/items/2", `{"name":"mine","deep":true}`, `{"name":"shelves/1/items/2","deep":true}`},
		{"a body that is a list", "PUT /v1/tags", `["a","b"]`, `{"tags":["a","b"]}`},
		{"an empty body", "PUT /v1/shelves/1/items/2", ``, `{"name":"shelves/1/items/2"}`},
		{"DELETE", "DELETE /v1/shelves/1/items/2", "", `{"name":"shelves/1/items/2"}`},
		{"a verb after a colon", "POST /v1/shelves/1/items/2:move", `{"pageSize":3}`, `{"name":"shelves/1/items/2","pageSize":3}`},
		{"the method's own path", "POST /shop.Shop/Search", `{"page_size":3}`, `{"pageSize":3}`},
		{"the method's own path without a body", "POST /shop.Shop/Search", ``, `{}`},
		{"a query by JSON names", "GET /v1/search?pageSize=3&item.owner.displayName=Ada", "", `{"pageSize":3,"item":{"owner":{"displayName":"Ada"}}}`},
		{"a query by proto names", "GET /v1/search?page_size=3&item.owner.display_name=Ada", "", `{"pageSize":3,"item":{"owner":{"displayName":"Ada"}}}`},
		{"a repeated field", "GET /v1/search?tags=a&tags=b&kinds=BOOK&kinds=2", "", `{"tags":["a","b"],"kinds":["BOOK","TOOL"]}`},
		{"two fields of one nested message", "GET /v1/search?owner.id=1&owner.boss.id=2&owner.display_name=x", "", `{"owner":{"id":"1","displayName":"x","boss":{"id":"2"}}}`},
		{"escapes in a query", "GET /v1/search?name=a+b%26c%3Dd&owner%2Eid=%C3%A9", "", `{"name":"a b&c=d","owner":{"id":"é"}}`},
		{"a value with an equals sign", "GET /v1/search?name=a=b", "", `{"name":"a=b"}`},
		{"empty pairs", "GET /v1/search?&&name=a&", "", `{"name":"a"}`},
		{"bytes, both alphabets", "GET /v1/search?raw=-_8", "", `{"raw":"+/8="}`},
		{"a member of a oneof", "GET /v1/search?left=a", "", `{"left":"a"}`},
		{"a body on a binding without one is not read", "DELETE /v1/shelves/1/items/2", `{"broken`, `{"name":"shelves/1/items/2"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, text := s.do(c.line, c.body)
			if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, %v: %s", answer.StatusCode, answer.Header, text)
			}
			var seen struct{ Request string }
			if err := json.Unmarshal([]byte(text), &seen); err != nil {
				t.Fatal(err)
			}
			sameJSON(t, seen.Request, c.want)
		})
	}
}

func TestRequestsRefused(t *testing.T) {
	s := startShop(t, func(o *Options) { o.MaxBodySize = 1000 })
	for _, c := range []struct {
		name, line, body string
		status           int
		message          string // contained
		field            string // of the BadRequest detail
	}{
		{"an unknown parameter", "GET /v1/search?nope=1", "", 400, `nope: query: shop.Request has no field "nope"`, "nope"},
		{"an unknown nested parameter", "GET /v1/search?owner.nope=1", "", 400, `has no field "nope"`, "owner.nope"},
		{"a parameter below a scalar", "GET /v1/search?name.x=1", "", 400, "is no message", "name.x"},
		{"a parameter below a list", "GET /v1/search?items.title=1", "", 400, "is a repeated message", "items.title"},
		{"a parameter for a message", "GET /v1/search?owner=1", "", 400, "is a message", "owner"},
		{"a parameter for a map", "GET /v1/search?labels=1", "", 400, "is a map", "labels"},
		{"a parameter for a map, with a key", "GET /v1/search?labels[a]=1", "", 400, "is a map", "labels[a]"},
		{"a parameter below a map", "GET /v1/search?labels.a=1", "", 400, "is a map", "labels.a"},
		{"a parameter for a nested map", "GET /v1/search?item.labels[a]=1", "", 400, "is a map", "item.labels[a]"},
		{"a parameter with brackets for what is no map", "GET /v1/search?tags[]=1", "", 400, "has no field", "tags[]"},
		{"a parameter for a repeated message", "GET /v1/search?items=1", "", 400, "is a repeated message", "items"},
		{"two values for one field", "GET /v1/search?name=a&name=b", "", 400, "takes one value", "name"},
		{"two values for one field by both its names", "GET /v1/search?page_size=1&pageSize=2", "", 400, "takes one value", "pageSize"},
		{"two members of a oneof", "GET /v1/search?left=a&right=b", "", 400, "oneof choice", "right"},
		{"two members of a nested oneof", "GET /v1/search?item.left=a&item.right=b", "", 400, "oneof choice", "item.right"},
		{"a field that the path gives", "GET /v1/shelves/1/items/2?name=x", "", 400, "comes with the path or the body", "name"},
		{"a field inside the body's", "POST /v1/shelves/1/items?item.title=x", `{}`, 400, "comes with the path or the body", "item.title"},
		{"a query besides a body that is everything", "POST /v1/echo?title=x", `{}`, 400, "the body is the whole message", "title"},
		{"a bad number", "GET /v1/search?page_size=x", "", 400, `pageSize: expected a whole number of 32 bits, got "x"`, "pageSize"},
		{"a bad variable", "GET /v1/fail/x", "", 400, "pageSize: expected a whole number", "pageSize"},
		{"a bad escape", "GET /v1/search?name=%zz", "", 400, "invalid URL escape", ""},
		{"broken JSON", "POST /v1/echo", `{"title":`, 400, "ends too early", ""},
		{"a bad field in the body", "POST /v1/echo", `{"owner":{"id":1}}`, 400, "owner.id: expected string, got 1 (line 1, column 16)", "owner.id"},
		{"an unknown field in the body", "POST /v1/echo", `{"nope":1}`, 400, `unknown field "nope"`, ""},
		{"a body that is too large", "POST /v1/echo", `{"title":"` + strings.Repeat("x", 1000) + `"}`, 413, "max_body_size", ""},
		{"a path too deep", "GET /v1/search?owner" + strings.Repeat(".boss", 70) + ".id=1", "", 400, "deep", "owner" + strings.Repeat(".boss", 70) + ".id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := s.calls.Load()
			answer, text := s.do(c.line, c.body)
			if answer.StatusCode != c.status || answer.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, c.status, text)
			}
			var body struct {
				Code    int
				Message string
				Details []struct {
					FieldViolations []struct{ Field, Description string }
				}
			}
			if err := json.Unmarshal([]byte(text), &body); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if !strings.Contains(body.Message, c.message) {
				t.Errorf("message %q, want one with %q", body.Message, c.message)
			}
			field := ""
			for _, detail := range body.Details {
				if len(detail.FieldViolations) > 0 {
					field = detail.FieldViolations[0].Field
				}
			}
			if field != c.field {
				t.Errorf("field %q, want %q", field, c.field)
			}
			if s.calls.Load() != calls {
				t.Error("the backend was called")
			}
		})
	}
}

func TestContentTypes(t *testing.T) {
	s := startShop(t, nil)
	for contentType, want := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200, "application/vnd.shop+json": 200, "": 200,
		"text/plain": 415, "application/x-www-form-urlencoded": 415, "application/xml": 415, "multipart/form-data; boundary=x": 415, "image/svg+json": 415,
	} {
		t.Run(contentType, func(t *testing.T) {
			if answer, text := s.do("POST /v1/echo", `{"title":"a"}`, "Content-Type", contentType); answer.StatusCode != want {
				t.Errorf("status %d, want %d: %s", answer.StatusCode, want, text)
			}
		})
	}
	if answer, _ := s.do("POST /v1/echo", "{}", "Content-Encoding", "gzip"); answer.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a compressed body: status %d", answer.StatusCode)
	}
	if answer, _ := s.do("POST /v1/echo", "", "Content-Type", "text/plain"); answer.StatusCode != http.StatusOK {
		t.Errorf("an empty body of another type: status %d", answer.StatusCode)
	}
}

func TestAnswers(t *testing.T) {
	const body = `{"title":"a","big":"7","kind":"BOOK","owner":{"displayName":"Ada"}}`
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"only what is set", nil, body},
		{"proto names and numbers of enums", func(o *Options) { o.JSON = codec.Options{ProtoNames: true, EnumNumbers: true} },
			`{"title":"a","big":"7","kind":1,"owner":{"display_name":"Ada"}}`},
		{"integers of 64 bits as numbers", func(o *Options) { o.JSON.Int64Numbers = true }, strings.Replace(body, `"7"`, "7", 1)},
		{"everything", func(o *Options) { o.JSON.EmitUnpopulated = true },
			`{"name":"","title":"a","count":0,"big":"7","kind":"BOOK","owner":{"id":"","displayName":"Ada","boss":null},"tags":[],"labels":{},"owners":[],"at":null,"raw":""}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startShop(t, c.change)
			_, text := s.do("POST /v1/echo", body)
			sameJSON(t, text, c.want)
		})
	}
	s := startShop(t, nil)
	if _, text := s.do("GET /v1/items", ""); text != `[{"title":"a"},{"title":"b"}]` {
		t.Errorf("response_body: %s", text)
	}
	long := `{"title":"` + strings.Repeat("x", 100_000) + `"}`
	answer, text := s.do("POST /v1/echo", long)
	if text != long || answer.ContentLength != int64(len(long)) {
		t.Errorf("a long answer: %d bytes, declared %d", len(text), answer.ContentLength)
	}
	if answer, text = s.do("HEAD /v1/items", ""); answer.StatusCode != http.StatusOK || text != "" {
		t.Errorf("HEAD: %d %s", answer.StatusCode, text)
	}
}

func TestAMalformedAnswerIsNeverHalfWritten(t *testing.T) {
	s := startShop(t, nil)
	answer, text := s.do("GET /v1/broken", "")
	if answer.StatusCode != http.StatusInternalServerError || !strings.Contains(text, `"code":13`) {
		t.Errorf("status %d: %s", answer.StatusCode, text)
	}
}

func TestIgnoredQueryParametersAreSkippedWhateverTheMessageHas(t *testing.T) {
	s := startShop(t, func(o *Options) { o.IgnoredQuery = []string{"alt", "name", "utm_*"} })
	for _, line := range []string{"GET /v1/search?alt=json&deep=true", "GET /v1/search?name=a&name=b&deep=true", "GET /v1/search?utm_=1&utm_source=x&%75tm_id=2&deep=true"} {
		_, text := s.do(line, "")
		var seen struct{ Request string }
		if err := json.Unmarshal([]byte(text), &seen); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		sameJSON(t, seen.Request, `{"deep":true}`)
	}
	if answer, text := s.do("POST /v1/echo?alt=json", `{}`); answer.StatusCode != 200 {
		t.Errorf("besides a body that is everything: status %d: %s", answer.StatusCode, text)
	}
	for _, line := range []string{"GET /v1/search?alternative=1", "GET /v1/search?utm=1", "GET /v1/search?Alt=1"} {
		if answer, _ := s.do(line, ""); answer.StatusCode != 400 {
			t.Errorf("%s: status %d, want 400", line, answer.StatusCode)
		}
	}
}

func TestUnknownQueryIgnored(t *testing.T) {
	s := startShop(t, func(o *Options) { o.IgnoreUnknownQuery = true })
	for _, line := range []string{
		"GET /v1/search?nope=1&name=x", "GET /v1/search?name=x&name.y=1", "GET /v1/search?utm_source=a&name=x",
	} {
		_, text := s.do(line, "")
		var seen struct{ Request string }
		if err := json.Unmarshal([]byte(text), &seen); err != nil {
			t.Fatal(err)
		}
		sameJSON(t, seen.Request, `{"name":"x"}`)
	}
	if answer, text := s.do("POST /v1/echo?title=x", `{}`); answer.StatusCode != 200 || text != "{}" {
		t.Errorf("status %d: %s", answer.StatusCode, text)
	}
	if answer, _ := s.do("GET /v1/search?page_size=x", ""); answer.StatusCode != 400 {
		t.Errorf("a bad value of a known field: status %d", answer.StatusCode)
	}
}
