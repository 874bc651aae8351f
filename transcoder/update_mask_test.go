package transcoder

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/transcoder/codec"
)

func TestAnEmptyUpdateMaskIsFilledFromTheFieldsInTheBody(t *testing.T) {
	for name, c := range map[string]codec.Codec{"wire": new(codec.Wire), "reference": codec.Reference} {
		t.Run(name, func(t *testing.T) {
			s := startShop(t, func(o *Options) { o.Codec = c })
			for _, c := range []struct{ name, line, body, want string }{
				{"fields, nested ones too", "PATCH /v1/shelves/1/items/2:revise", `{"title":"a","owner":{"displayName":"b"}}`,
					`{"item":{"name":"shelves/1/items/2","title":"a","owner":{"displayName":"b"}},"updateMask":"owner.displayName,title"}`},
				{"a field that becomes its default", "PATCH /v1/shelves/1/items/2:revise", `{"title":"","count":0}`,
					`{"item":{"name":"shelves/1/items/2"},"updateMask":"count,title"}`},
				{"lists, maps and well-known types whole", "PATCH /v1/shelves/1/items/2:revise", `{"owners":[{"id":"1"}],"labels":{"a":"b"},"at":null}`,
					`{"item":{"name":"shelves/1/items/2","owners":[{"id":"1"}],"labels":{"a":"b"}},"updateMask":"at,labels,owners"}`},
				{"an empty mask given", "PATCH /v1/shelves/1/items/2:revise?updateMask=", `{"title":"a"}`,
					`{"item":{"name":"shelves/1/items/2","title":"a"},"updateMask":"title"}`},
				{"a mask given", "PATCH /v1/shelves/1/items/2:revise?updateMask=count", `{"title":"a"}`,
					`{"item":{"name":"shelves/1/items/2","title":"a"},"updateMask":"count"}`},
				{"a mask given by its paths", "PATCH /v1/shelves/1/items/2:revise?update_mask.paths=count", `{"title":"a"}`,
					`{"item":{"name":"shelves/1/items/2","title":"a"},"updateMask":"count"}`},
				{"an empty object", "PATCH /v1/shelves/1/items/2:revise", `{}`, `{"item":{"name":"shelves/1/items/2"}}`},
				{"no body", "PATCH /v1/shelves/1/items/2:revise", ``, `{"item":{"name":"shelves/1/items/2"}}`},
				{"another verb", "PUT /v1/shelves/1/items/2:revise", `{"title":"a"}`, `{"item":{"name":"shelves/1/items/2","title":"a"}}`},
				{"a body that is the whole request", "PATCH /v1/revise", `{"item":{"title":"a"}}`, `{"item":{"title":"a"}}`},
				{"a body that is no message", "PATCH /v1/note", `"a"`, `{"note":"a"}`},
				{"a mask by another name", "PATCH /v1/shelves/1/items/2", `{"title":"a"}`, `{"item":{"name":"shelves/1/items/2","title":"a"}}`},
			} {
				t.Run(c.name, func(t *testing.T) {
					answer, text := s.do(c.line, c.body)
					var seen struct{ Request string }
					if err := json.Unmarshal([]byte(text), &seen); err != nil || answer.StatusCode != http.StatusOK {
						t.Fatalf("status %d, %v: %s", answer.StatusCode, err, text)
					}
					sameJSON(t, seen.Request, c.want)
				})
			}
			if answer, text := s.do("PATCH /v1/shelves/1/items/2:revise", `{"title":`); answer.StatusCode != http.StatusBadRequest || strings.Contains(text, "updateMask") {
				t.Errorf("broken JSON: status %d: %s", answer.StatusCode, text)
			}
			deep := `{"owner":` + strings.Repeat(`{"boss":`, 100) + `{"id":"x"}` + strings.Repeat("}", 101)
			if answer, text := s.do("PATCH /v1/shelves/1/items/2:revise", deep); answer.StatusCode != http.StatusBadRequest || !strings.Contains(text, "updateMask: ") {
				t.Errorf("a body that is too deep for a mask: status %d: %s", answer.StatusCode, text)
			}
		})
	}
}

func TestAnUpdateMaskIsLeftAloneWhereTheMethodSaysSo(t *testing.T) {
	s := startShop(t, func(o *Options) { o.KeepUpdateMask = true })
	_, text := s.do("PATCH /v1/shelves/1/items/2:revise", `{"title":"a"}`)
	if strings.Contains(text, "updateMask") {
		t.Error(text)
	}
}
