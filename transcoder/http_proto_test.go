package transcoder

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// The examples in the comments of google/api/http.proto, in order, and what its grammar and rules say besides. Each method
// returns its request.
const httpProto = `
syntax = "proto3";
package example;
import "google/api/annotations.proto";

message Message { string text = 1; repeated string tags = 2; map<string, string> labels = 3; }
message GetMessageRequest {
  message SubMessage { string subfield = 1; }
  string name = 1; string message_id = 2; int64 revision = 3; SubMessage sub = 4; string user_id = 5;
  repeated string param = 6; string text = 7; Message message = 8; Foo foo = 9;
}
message Foo { string a = 1; string b = 2; string c = 3; }

service Messaging {
  rpc GetMessage(GetMessageRequest) returns (GetMessageRequest) { option (google.api.http) = { get: "/v1/{name=messages/*}" }; }
  rpc GetMessageById(GetMessageRequest) returns (GetMessageRequest) { option (google.api.http) = { get: "/v2/messages/{message_id}" }; }
  rpc UpdateMessage(GetMessageRequest) returns (GetMessageRequest) { option (google.api.http) = { patch: "/v1/messages/{message_id}" body: "message" }; }
  rpc UpdateWhole(GetMessageRequest) returns (GetMessageRequest) { option (google.api.http) = { patch: "/v2/messages/{message_id}" body: "*" }; }
  rpc GetTwice(GetMessageRequest) returns (GetMessageRequest) { option (google.api.http) = {
    get: "/v3/messages/{message_id}"
    additional_bindings { get: "/v3/users/{user_id}/messages/{message_id}" }
  }; }
  rpc GetSub(GetMessageRequest) returns (GetMessageRequest) { option (google.api.http) = { get: "/v4/messages/{message_id}/{sub.subfield}" }; }
  rpc GetShelf(GetMessageRequest) returns (GetMessageRequest) { option (google.api.http) = {
    get: "/v5/{name=shelves/*/books/**}:read"
    additional_bindings { get: "/v5/*/{name=**}" }
    additional_bindings { get: "/v5/caf%C3%A9" }
    additional_bindings { custom { kind: "SEARCH" path: "/v5/search" } }
    additional_bindings { custom { kind: "*" path: "/v5/any" } body: "message" response_body: "message" }
    additional_bindings { put: "/v5/text" body: "text" response_body: "text" }
    additional_bindings { put: "/v5/param" body: "param" response_body: "param" }
  }; }
  rpc Labels(Message) returns (Message) { option (google.api.http) = {
    put: "/v5/labels" body: "labels" response_body: "labels"
    additional_bindings { get: "/v5/labels" }
  }; }
}
`

func TestTheExamplesOfHTTPProto(t *testing.T) {
	var rules []routing.Rule[*Method]
	for _, d := range compileProto(t, httpProto) {
		for _, b := range d.Bindings {
			m, err := Compile(d, b, Options{Backend: still{}, Codec: new(codec.Wire)})
			if err != nil {
				t.Fatal(err)
			}
			rule := routing.Rule[*Method]{Template: m.Template(), Value: m, Origin: b.Template}
			if b.HTTPMethod != "*" {
				rule.Methods = []string{b.HTTPMethod}
			}
			rules = append(rules, rule)
		}
	}
	table, err := routing.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, body, want string }{
		{"GET /v1/messages/123456", "", `{"name":"messages/123456"}`},
		{"HEAD /v1/messages/123456", "", ""},
		{"GET /v1/messages/1/2", "", "404"},
		{"GET /v1/messages", "", "404"},
		{"GET /v2/messages/123456?revision=2&sub.subfield=foo", "", `{"messageId":"123456","revision":"2","sub":{"subfield":"foo"}}`},
		{"GET /v2/messages/123456?param=A&param=B", "", `{"messageId":"123456","param":["A","B"]}`},
		{"GET /v2/messages/123456?foo.a=A&foo.b=B&foo.c=C", "", `{"messageId":"123456","foo":{"a":"A","b":"B","c":"C"}}`},
		{"PATCH /v1/messages/123456", `{"text":"Hi!"}`, `{"messageId":"123456","message":{"text":"Hi!"}}`},
		{"PATCH /v1/messages/123456?revision=7", `{"text":"Hi!"}`, `{"messageId":"123456","message":{"text":"Hi!"},"revision":"7"}`},
		{"PATCH /v2/messages/123456", `{"text":"Hi!"}`, `{"messageId":"123456","text":"Hi!"}`},
		{"PATCH /v2/messages/123456?revision=7", `{"text":"Hi!"}`, "400"}, // there are no query parameters beside body: "*"
		{"GET /v3/messages/123456", "", `{"messageId":"123456"}`},
		{"GET /v3/users/me/messages/123456", "", `{"userId":"me","messageId":"123456"}`},
		{"GET /v4/messages/123456/foo", "", `{"messageId":"123456","sub":{"subfield":"foo"}}`},

		// Segments, variables and verbs.
		{"GET /v5/shelves/1/books/a/b:read", "", `{"name":"shelves/1/books/a/b"}`},
		{"GET /v5/shelves/1/books:read", "", `{"name":"shelves/1/books"}`},
		{"GET /v5/shelves/1/books/a/b:write", "", `{"name":"1/books/a/b:write"}`},
		{"GET /v5/x/a/b", "", `{"name":"a/b"}`},
		{"GET /v5/x", "", `{}`},
		{"GET /v5/x/", "", `{}`}, // one segment more, an empty one: the name is empty all the same
		{"GET /v5/caf%C3%A9", "", `{}`},
		{"SEARCH /v5/search", "", `{}`},
		{"GET /v5/search", "", `{}`},
		{"POST /v5/search", "", "405"},

		// Percent-decoding: all of a single segment; of several all but the slash.
		{"GET /v2/messages/a%2Fb%20%C3%A9%25", "", `{"messageId":"a/b é%"}`},
		{"GET /v5/shelves/%41%2fb/books/c%2Fd%20e:read", "", `{"name":"shelves/A%2fb/books/c%2Fd e"}`},
		{"GET /v2/messages/a+b", "", `{"messageId":"a+b"}`},

		// Bodies and answers that are fields of every kind.
		{"POST /v5/any", `{"text":"Hi!"}`, `{"text":"Hi!"}`},
		{"LOCK /v5/any?text=x", `{"text":"Hi!"}`, `{"text":"Hi!"}`},
		{"PUT /v5/text", `"Hi!"`, `"Hi!"`},
		{"PUT /v5/param", `["a","b"]`, `["a","b"]`},
		{"PUT /v5/labels", `{"a":"b"}`, `{"a":"b"}`},
		{"GET /v5/labels?labels=1", "", "400"},
	} {
		t.Run(c.line, func(t *testing.T) {
			method, target, _ := strings.Cut(c.line, " ")
			r := httptest.NewRequest(method, target, strings.NewReader(c.body))
			w := httptest.NewRecorder()
			m, vars, outcome := table.Match(&routing.Request{Method: method, Path: strings.Split(target, "?")[0]}, nil)
			switch outcome {
			case routing.Matched:
				m.Serve(w, r, vars)
			case routing.MethodNotAllowed:
				w.WriteHeader(http.StatusMethodNotAllowed)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
			switch {
			case w.Code != http.StatusOK:
				if c.want != strconv.Itoa(w.Code) {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			case c.want == "":
				if w.Body.Len() > 0 {
					t.Error(w.Body)
				}
			default:
				sameJSON(t, w.Body.String(), c.want)
			}
		})
	}
}

func TestVariablesThatHTTPProtoForbidsAreRefused(t *testing.T) {
	all := compileProto(t, httpProto)
	for template, want := range map[string]string{
		"/v9/{param}":          "is a repeated field",
		"/v9/{message.labels}": "is a map",
		"/v9/{sub}":            "is a message",
		"/v9/{nothing}":        `has no field "nothing"`,
		"/v9/{message_id.x}":   "is no message",
		"/v9/{name=**}/x":      "** may only be the last segment",
		"/v9/{name={a}}":       "inside another",
	} {
		b := all["GetMessage"].Bindings[0]
		b.Template = template
		if _, err := Compile(all["GetMessage"], b, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", template, err, want)
		}
	}
}
