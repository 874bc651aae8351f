package routing

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseTemplate(t *testing.T) {
	for _, text := range []string{
		"/v1/shelves", "/v1/*", "/v1/**", "/**", "/v1/{name}", "/v1/{a.b.c}", "/v1/{name=shelves/*/books/**}",
		"/v1/{name=shelves/*}:cancel", "/v1/shelves:list", "/v1/{book.name=shelves/*/books/*}", "/v1/{a}/{b}/{c=**}",
		"/v1/caf%C3%A9", "/v1/{name=*}", "/v1/{name=**}:get", "/v1/a.b/c",
	} {
		t.Run(text, func(t *testing.T) {
			parsed, err := ParseTemplate(text)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.String() != text {
				t.Errorf("String() = %q", parsed)
			}
		})
	}
	got, err := ParseTemplate("/v1/{a.b}/{c=x/*}:do")
	if err != nil || !slices.Equal(got.Fields(), []string{"a.b", "c"}) || got.verb != "do" {
		t.Errorf("fields %v, verb %q, error %v", got.Fields(), got.verb, err)
	}
}

func TestParts(t *testing.T) {
	got, err := ParseTemplate("/v1/caf%C3%A9/*/{a=x/*}/{b.c}/{d=**}:do%20it")
	if err != nil {
		t.Fatal(err)
	}
	want := []Part{
		{Literal: "v1"}, {Literal: "café"}, {Single: true}, {Literal: "x", Field: "a"}, {Single: true, Field: "a"},
		{Single: true, Field: "b.c"}, {Multi: true, Field: "d"},
	}
	if !slices.Equal(got.Parts(), want) || got.Verb() != "do it" {
		t.Errorf("got %+v, verb %q", got.Parts(), got.Verb())
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	for _, c := range []struct {
		text   string
		column int
		reason string
	}{
		{"", 1, "begins with a slash"},
		{"v1", 1, "begins with a slash"},
		{"/", 2, "expected a segment"},
		{"/v1//x", 5, "expected a segment"},
		{"/v1/", 5, "expected a segment"},
		{"/v1/**/x", 8, "last segment"},
		{"/v1/{a=**}/{b}", 12, "last segment"},
		{"/v1/{a=**/x}", 11, "last segment"},
		{"/v1/{", 6, "field name"},
		{"/v1/{a.}", 8, "field name"},
		{"/v1/{1a}", 6, "field name"},
		{"/v1/{a", 7, "expected }"},
		{"/v1/{a={b}}", 8, "inside another"},
		{"/v1/{a}/{a}", 10, "there twice"},
		{"/v1/{a=}", 8, "expected a segment"},
		{"/v1/x:", 7, "expected a verb"},
		{"/v1/x:a/b", 8, "unexpected '/'"},
		{"/v1/***", 7, "unexpected '*'"},
		{"/v1/x?y=1", 6, "unexpected '?'"},
		{"/v1/a b", 6, "unexpected ' '"},
		{"/v1/../x", 5, ". or .."},
		{"/v1/%2e%2e", 5, ". or .."},
		{"/v1/%zz", 5, "invalid URL escape"},
		{"/v1/x}", 6, "unexpected '}'"},
	} {
		t.Run(c.text, func(t *testing.T) {
			_, err := ParseTemplate(c.text)
			var wrong *TemplateError
			if !errors.As(err, &wrong) {
				t.Fatalf("error %v, want a *TemplateError", err)
			}
			if wrong.Column != c.column || !strings.Contains(wrong.Reason, c.reason) {
				t.Errorf("column %d: %s; want column %d: %s", wrong.Column, wrong.Reason, c.column, c.reason)
			}
		})
	}
}

func TestPathPrefixEndsWithASlash(t *testing.T) {
	for _, prefix := range []string{"/v1", "v1/", "/a/../"} {
		if _, err := PathPrefix(prefix); err == nil {
			t.Errorf("%q is taken", prefix)
		}
	}
}

func FuzzParseTemplate(f *testing.F) {
	for _, seed := range []string{"/v1/{name=shelves/*/books/**}:verb", "/v1/{a.b.c}/x/*", "/**", "/a%2Fb:c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ParseTemplate(text)
		if err != nil {
			var wrong *TemplateError
			if !errors.As(err, &wrong) || wrong.Column < 1 || wrong.Column > len(text)+1 {
				t.Fatalf("error %v has no place in %q", err, text)
			}
			return
		}
		again, err := ParseTemplate(parsed.String())
		if err != nil || !slices.Equal(again.segments, parsed.segments) || again.verb != parsed.verb {
			t.Fatalf("%q does not parse again: %v", text, err)
		}
	})
}
