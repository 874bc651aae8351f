package transcoder

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// multipartBody puts parts, each its header and its content with an empty line between, into one body.
func multipartBody(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		header, content, _ := strings.Cut(p, "\n\n")
		b.WriteString("--x\r\nContent-Disposition: form-data; " + strings.ReplaceAll(header, "\n", "\r\n") + "\r\n\r\n" + content + "\r\n")
	}
	return b.String() + "--x--\r\n"
}

const multipartType = "multipart/form-data; boundary=x"

func TestFormsBecomeRequestMessages(t *testing.T) {
	for name, c := range map[string]codec.Codec{"wire": new(codec.Wire), "reference": codec.Reference} {
		t.Run(name, func(t *testing.T) {
			s := startShop(t, func(o *Options) { o.Codec, o.Forms = c, AcceptForms })
			for _, c := range []struct{ name, line, contentType, body, want string }{
				{"fields by both names, nested and repeated", "PUT /v1/shelves/1/items/2", urlencodedForm,
					"pageSize=3&deep=true&owner.display_name=Ada+L%26&tags=a&tags=b&kind=BOOK",
					`{"name":"shelves/1/items/2","pageSize":3,"deep":true,"owner":{"displayName":"Ada L&"},"tags":["a","b"],"kind":"BOOK"}`},
				{"a variable of the path wins", "PUT /v1/shelves/1/items/2", urlencodedForm + "; charset=utf-8", "name=mine", `{"name":"shelves/1/items/2"}`},
				{"an empty form", "PUT /v1/shelves/1/items/2", urlencodedForm, "", `{"name":"shelves/1/items/2"}`},
				{"a body that is a field, beside the query", "POST /v1/shelves/1/items?deep=1", urlencodedForm, "title=a&owner.id=1",
					`{"parent":"shelves/1","deep":true,"item":{"title":"a","owner":{"id":"1"}}}`},
				{"a field inside the body that the path gives", "PATCH /v1/shelves/1/items/2", urlencodedForm, "title=a", `{"item":{"name":"shelves/1/items/2","title":"a"}}`},
				{"an update mask", "PATCH /v1/shelves/1/items/2:revise", urlencodedForm, "title=a&owner.displayName=b&tags=1&tags=2",
					`{"item":{"name":"shelves/1/items/2","title":"a","owner":{"displayName":"b"},"tags":["1","2"]},"updateMask":"owner.displayName,tags,title"}`},
				{"parts", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=deep\n\ntrue", "name=\"owner.id\"\n\n7", "name=tags\n\na", "name=tags\n\nb\r\nc"),
					`{"name":"shelves/1/items/2","deep":true,"owner":{"id":"7"},"tags":["a","b\r\nc"]}`},
				{"bytes as a file and as text", "PUT /v1/shelves/1/items/2", multipartType,
					multipartBody("name=raw; filename=a.bin\nContent-Type: application/octet-stream\n\n\x00\xff"), `{"name":"shelves/1/items/2","raw":"AP8="}`},
				{"bytes as text", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=raw\n\naGk="), `{"name":"shelves/1/items/2","raw":"aGk="}`},
				{"parts of JSON beside others", "PUT /v1/shelves/1/items/2", "Multipart/Form-Data; boundary=\"x\"",
					multipartBody("name=item\nContent-Type: application/json; charset=utf-8\n\n{\"title\":\"a\"}", "name=items\nContent-Type: application/json\n\n[{\"title\":\"b\"}]", "name=item.count\n\n5", "name=left\nContent-Type: application/json\n\ntext"),
					`{"name":"shelves/1/items/2","item":{"title":"a","count":5},"items":[{"title":"b"}],"left":"text"}`},
				{"an update mask of parts", "PATCH /v1/shelves/1/items/2:revise", multipartType,
					multipartBody("name=owner\nContent-Type: application/json\n\n{\"id\":\"1\"}", "name=title\n\na"),
					`{"item":{"name":"shelves/1/items/2","title":"a","owner":{"id":"1"}},"updateMask":"owner.id,title"}`},
				{"JSON still", "PUT /v1/shelves/1/items/2", "application/json", `{"deep":true}`, `{"name":"shelves/1/items/2","deep":true}`},
			} {
				t.Run(c.name, func(t *testing.T) {
					answer, text := s.do(c.line, c.body, "Content-Type", c.contentType)
					var seen struct{ Request string }
					if err := json.Unmarshal([]byte(text), &seen); err != nil || answer.StatusCode != http.StatusOK {
						t.Fatalf("status %d, %v: %s", answer.StatusCode, err, text)
					}
					sameJSON(t, seen.Request, c.want)
				})
			}
			t.Run("a file that is an HttpBody", func(t *testing.T) {
				_, text := s.do("POST /v1/files/a", multipartBody("name=content; filename=b.png\nContent-Type: image/png\n\n\x89PNG", "name=note\n\nn"), "Content-Type", multipartType)
				sameJSON(t, text, `{"name":"a","note":"n","content":{"contentType":"image/png","data":"iVBORw=="}}`)
			})
		})
	}
}

func TestFormsRefused(t *testing.T) {
	s := startShop(t, func(o *Options) { o.Forms = AcceptForms })
	for _, c := range []struct {
		name, line, contentType, body string
		status                        int
		want                          string
	}{
		{"an unknown field", "PUT /v1/shelves/1/items/2", urlencodedForm, "nope=1", 400, `form: shop.Request has no field`},
		{"an unknown part", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=nope\n\n1"), 400, `form: shop.Request has no field`},
		{"a value of another kind", "PUT /v1/shelves/1/items/2", urlencodedForm, "pageSize=x", 400, "pageSize: expected a whole number"},
		{"a map", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=labels\n\n1"), 400, "form: is a map"},
		{"a message without JSON", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=owner\n\n1"), 400, "form: is a message"},
		{"two values for one field", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=left\n\n1", "name=left\n\n2"), 400, "form: takes one value"},
		{"two parts of JSON for one field", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=item\nContent-Type: application/json\n\n{}", "name=item\nContent-Type: application/json\n\n{}"), 400, "duplicate"},
		{"JSON that adds another field", "PUT /v1/shelves/1/items/2", multipartType, multipartBody("name=item\nContent-Type: application/json\n\n{},\"deep\":true"), 400, "not valid JSON"},
		{"a part that is cut off", "PUT /v1/shelves/1/items/2", multipartType, "--x\r\nContent-Disposition: form-data; name=left\r\n\r\nab", 400, "form: "},
		{"no boundary", "PUT /v1/shelves/1/items/2", "multipart/form-data", "x", 415, "boundary"},
		{"more parts than a query may have parameters", "PUT /v1/shelves/1/items/2", multipartType, multipartBody(strings.Split(strings.Repeat("name=tags\n\n1|", 1001), "|")[:1001]...), 400, "more than 1000"},
		{"a body that is no message", "PATCH /v1/note", urlencodedForm, "a=b", 415, "expected application/json"},
		{"a client stream", "POST /v1/upload", urlencodedForm, "title=b", 400, "JSON"},
		{"the method's own path", "POST /shop.Shop/Echo", urlencodedForm, "title=b", 415, "expected application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := s.calls.Load()
			answer, text := s.do(c.line, c.body, "Content-Type", c.contentType)
			if answer.StatusCode != c.status || !strings.Contains(text, c.want) {
				t.Errorf("status %d: %s", answer.StatusCode, text)
			}
			if s.calls.Load() != calls {
				t.Error("the backend was called")
			}
		})
	}
	s = startShop(t, func(o *Options) { o.Forms, o.JSON.DiscardUnknown = AcceptForms, true })
	for contentType, body := range map[string]string{urlencodedForm: "nope=1&title=a", multipartType: multipartBody("name=nope\n\n1", "name=title\n\na")} {
		if _, text := s.do("POST /v1/echo", body, "Content-Type", contentType); text != `{"title":"a"}` {
			t.Errorf("%s with an unknown field that is ignored: %s", contentType, text)
		}
	}
}

func TestFormsOfOtherOriginsAreRefusedWhereOnlyOneOriginMay(t *testing.T) {
	s := startShop(t, func(o *Options) { o.Forms = SameOriginForms })
	for _, c := range []struct {
		name   string
		header []string
		status int
	}{
		{"no browser", nil, 200},
		{"a page of this origin", []string{"Sec-Fetch-Site", "same-origin", "Origin", s.gateway.URL}, 200},
		{"a page of this origin, in an old browser", []string{"Origin", s.gateway.URL}, 200},
		{"a page of another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"a page of another origin of the site", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a page of another origin, in an old browser", []string{"Origin", "https://evil.example"}, 403},
		{"a page that hides its origin", []string{"Origin", "null"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			for contentType, body := range map[string]string{urlencodedForm: "title=a", multipartType: multipartBody("name=title\n\na")} {
				if answer, text := s.do("POST /v1/echo", body, append(c.header, "Content-Type", contentType)...); answer.StatusCode != c.status {
					t.Errorf("%s: status %d: %s", contentType, answer.StatusCode, text)
				}
			}
			if answer, text := s.do("POST /v1/echo", `{"title":"a"}`, c.header...); answer.StatusCode != 200 {
				t.Errorf("JSON: status %d: %s", answer.StatusCode, text)
			}
		})
	}
}
