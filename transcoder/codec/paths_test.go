package codec

import (
	"slices"
	"strings"
	"testing"
)

func TestPathsAreThoseOfTheFieldsThatABodyHas(t *testing.T) {
	md := message(t, "Item")
	for body, want := range map[string]string{
		``: "", `{}`: "", ` { } `: "", `null`: "", `[]`: "", `"x"`: "",
		`{"title":"a"}`:          "title",
		`{"title":null}`:         "title",
		`{"title":"","count":0}`: "count title",
		`{"tags":["a"],"labels":{"a":"b"},"owners":[{}]}`: "labels owners tags",
		`{"owner":{"id":"1","displayName":"x"}}`:          "owner.display_name owner.id",
		`{"owner":{"display_name":"x"}}`:                  "owner.display_name",
		`{"owner":{"boss":{"boss":{"id":""}}}}`:           "owner.boss.boss.id",
		`{"owner":{}}`:                                    "owner",
		`{"owner":{"boss":{ }}}`:                          "owner.boss",
		`{"owner":null}`:                                  "owner",
		`{"at":"2026-01-02T03:04:05Z","object":{"a":{"b":1}},"value":{"a":1},"list":[1],"any":{"@type":"x"},"empty":{}}`: "any at empty list object value",
		`{"nothing":{"title":1},"title":"a"}`:                      "title",
		"{ \"owner\" : { \"id\" : \"1\" } , \"t\\u0069tle\" : 1 }": "owner.id title",
		`{"title":"a"`: "", `{"title"`: "", `{"owner":{"id":"1"}`: "", `{"title":"a",}`: "", `{"title":x}`: "", `{,}`: "",
	} {
		got, err := Paths(md, []byte(body))
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q, %v, want %q", body, got, err, want)
		}
	}
}

func TestPathsAreBounded(t *testing.T) {
	md := message(t, "Item")
	for name, body := range map[string]string{
		"many levels": `{"owner":` + strings.Repeat(`{"boss":`, 100) + `{"id":""}` + strings.Repeat("}", 101),
		"many fields": `{` + strings.Repeat(`"title":"",`, 20000) + `"title":""}`,
	} {
		if got, err := Paths(md, []byte(body)); err == nil {
			t.Errorf("%s: %d paths", name, len(got))
		}
	}
}
