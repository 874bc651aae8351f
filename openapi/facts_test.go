package openapi_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// at follows keys with " > " between them; a number is an index.
func at(t *testing.T, doc any, path string) any {
	t.Helper()
	for key := range strings.SplitSeq(path, " > ") {
		switch v := doc.(type) {
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				return nil
			}
			doc = v[i]
		case map[string]any:
			doc = v[key]
		default:
			return nil
		}
	}
	return doc
}

// fact is what stands, as JSON, at a place of a document; "absent" for nothing.
type fact struct{ name, place, want string }

func (f fact) check(t *testing.T, doc map[string]any) {
	t.Run(f.name, func(t *testing.T) {
		got := at(t, doc, f.place)
		if f.want == "absent" {
			if got != nil {
				t.Errorf("%s is %v, want nothing", f.place, got)
			}
			return
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal([]byte(f.want), &b); err != nil {
			t.Fatalf("%s: %v", f.want, err)
		}
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s is %s, want %s", f.place, text, f.want)
		}
	})
}

const (
	book    = "components > schemas > features.v1.Book > properties > "
	rules   = "components > schemas > features.v1.Rules > properties > "
	oneBook = "paths > /v1/shelves/{shelf}/books/{book} > "
	books   = "paths > /v1/shelves/{shelf}/books > "
)

func TestPaths(t *testing.T) {
	_, doc := build(t, api(route(load(t, features), codec.Options{EmitUnpopulated: true})))
	for _, f := range []fact{
		{"a variable of several segments is a path with a parameter for each wildcard", oneBook + "get > operationId", `"features.v1.Library.Get"`},
		{"a parameter says what variable it is a part of", oneBook + "get > parameters > 0 > description",
			`"A part of ` + "`name`, which is `shelves/{shelf}/books/{book}`" + `.\n\nThe book's name."`},
		{"a verb stands behind the last segment", "paths > /v1/archives/{archive}/shelves/{shelf}/books/{book}:find > get > operationId", `"features.v1.Library.Get.2"`},
		{"a whole variable keeps its name, type and constraints", "paths > /archive/{number} > get > parameters > 0",
			`{"name":"number","in":"path","required":true,"description":"Counts from 1.","schema":{"type":"integer","format":"int32","minimum":1}}`},
		{"a path is there once, whatever its parameters are called", "paths > /archive/{id}", "absent"},
		{"and says what another method calls them", "paths > /archive/{number} > delete > parameters > 0",
			`{"name":"number","in":"path","required":true,"description":"The field ` + "`id`" + `.","schema":{"type":"string"}}`},
		{"** is one parameter that says it holds slashes", "paths > /files/{folder}/{path} > get > parameters > 1 > description",
			`"The rest of the path: any number of segments, with slashes between them."`},
		{"a method that OpenAPI has no field for is beside the others", "paths > /v1/books > x-additionalOperations > SEARCH > operationId", `"features.v1.Library.Search"`},
		{"any method is the usual one", "paths > /v1/anything > post > description", `"Any HTTP method will do."`},
		{"a method without a binding has its own path", "paths > /features.v1.Library/Unbound > post > requestBody > content > application/json > schema > $ref",
			`"#/components/schemas/features.v1.GetRequest"`},
		{"two services may have methods of the same name", "paths > /old > get > operationId", `"features.v1.Old.Get"`},
		{"a deprecated method is deprecated", oneBook + "delete > deprecated", "true"},
		{"so is each of a deprecated service", "paths > /old > get > deprecated", "true"},
		{"a method has its service as a tag", oneBook + "get > tags", `["features.v1.Library"]`},
		{"a service's comment is its tag's", "tags > 1 > description", `"Books of a library.\n\nThey stand on *shelves*."`},
		{"the first sentence is the summary", oneBook + "get > summary", `"Returns a book"`},
		{"the rest is the description, without what is for the file's authors", oneBook + "get > description", `"Books that were given away are still found,\ne.g. by their old readers."`},
		{"a method without a comment goes by its name", books + "post > summary", `"Create"`},
		{"the gRPC method is named", oneBook + "get > x-grpc-method", `"/features.v1.Library/Get"`},
	} {
		f.check(t, doc)
	}
}

func TestParameters(t *testing.T) {
	_, doc := build(t, api(route(load(t, features), codec.Options{EmitUnpopulated: true})))
	var names []string
	for _, p := range at(t, doc, books+"get > parameters").([]any) {
		names = append(names, object(p)["in"].(string)+" "+object(p)["name"].(string))
	}
	// Not the parent, which the path has; not labels, a map; not like, a repeated message; filter.and once is enough.
	want := "path shelf, query pageSize, query filter.title, query filter.genre, query filter.since, query genres, query year, query context, query old"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("parameters are %s, want %s", got, want)
	}
	for _, f := range []fact{
		{"a constraint is in the schema", books + "get > parameters > 1 > schema", `{"type":"integer","format":"int32","minimum":0,"maximum":100}`},
		{"a repeated field is an array", books + "get > parameters > 5 > schema", `{"type":"array","items":{"$ref":"#/components/schemas/features.v1.Genre"},"maxItems":3}`},
		{"a wrapper is what it wraps", books + "get > parameters > 6 > schema", `{"type":"string","format":"int64"}`},
		{"a Struct is JSON", books + "get > parameters > 7 > content", `{"application/json":{"schema":{"type":"object"}}}`},
		{"a deprecated field is a deprecated parameter", books + "get > parameters > 8 > deprecated", "true"},
		{"a required field is a required parameter", books + "post > parameters > 1", `{"name":"bookId","in":"query","required":true,"schema":{"type":"string"}}`},
		{"a binding whose body is the whole message has no query", "paths > /v1/anything > post > parameters", "absent"},
	} {
		f.check(t, doc)
	}
}

func TestBodies(t *testing.T) {
	_, doc := build(t, api(route(load(t, features), codec.Options{EmitUnpopulated: true})))
	for _, f := range []fact{
		{"a field as the body has the field's schema", books + "post > requestBody > content > application/json > schema > $ref", `"#/components/schemas/features.v1.Book"`},
		{"and its comment", books + "post > requestBody > description", `"The book to put on the shelf."`},
		{"a body is needed where a field of it is", books + "post > requestBody > required", "true"},
		{"what the path has is not in the body", oneBook + "put > requestBody > content > application/json > schema > properties > name", "absent"},
		{"nor what it has inside of the body's field", oneBook + "patch > requestBody > content > application/json > schema > properties > name", "absent"},
		{"the rest is", oneBook + "patch > requestBody > content > application/json > schema > required", `["title"]`},
		{"HttpBody is bytes of any type", "paths > /v1/shelves/{shelf}/books/{book}/cover > put > requestBody > content", `{"*/*":{"schema":{"type":"string","format":"binary"}}}`},
		{"in answers too", "paths > /v1/shelves/{shelf}/books/{book}/cover > get > responses > 200 > content", `{"*/*":{"schema":{"type":"string","format":"binary"}}}`},
		{"a field as the answer has the field's schema", "paths > /v1/titles > get > responses > 200 > content > application/json > schema", `{"type":"array","items":{"type":"string"}}`},
		{"a client stream is values one after the other", "paths > /v1/books:import > post > requestBody > content > application/x-ndjson > schema > $ref", `"#/components/schemas/features.v1.Book"`},
		{"a server stream is lines", "paths > /v1/books:watch > get > responses > 200 > content > application/x-ndjson > schema > $ref", `"#/components/schemas/features.v1.Book"`},
		{"or events", "paths > /v1/books:watch > get > responses > 200 > content > text/event-stream > schema > $ref", `"#/components/schemas/features.v1.Book"`},
		{"or an array", "paths > /v1/books:watch > get > responses > 200 > content > application/json > schema", `{"type":"array","items":{"$ref":"#/components/schemas/features.v1.Book"}}`},
		{"errors are a google.rpc.Status", "components > responses > Error > content > application/json > schema > $ref", `"#/components/schemas/Error"`},
		{"or a problem", "components > responses > Error > content > application/problem+json > schema > $ref", `"#/components/schemas/Problem"`},
		{"of every operation", oneBook + "get > responses > default > $ref", `"#/components/responses/Error"`},
	} {
		f.check(t, doc)
	}
}

func TestForms(t *testing.T) {
	r := route(load(t, features), codec.Options{})
	_, without := build(t, api(r))
	r.Forms = transcoder.SameOriginForms
	_, doc := build(t, api(r))
	form := books + "post > requestBody > content > application/x-www-form-urlencoded > schema > "
	file := oneBook + "put > requestBody > content > multipart/form-data > schema > "
	for _, f := range []fact{
		{"a form's fields are named as parameters are", form + "properties > title", `{"type":"string","minLength":1,"maxLength":200}`},
		{"and are required as they are", form + "required", `["title"]`},
		{"bytes are text in an URL-encoded form", form + "properties > picture > contentEncoding", `"base64"`},
		{"and a file in one of several parts", file + "properties > picture", `{"type":"string","format":"binary"}`},
		{"what the path has is in no form", file + "properties > name", "absent"},
		{"forms of other origins are refused", oneBook + "put > requestBody > description", `"Forms are not taken from pages of other origins."`},
		{"a stream is no form", "paths > /v1/books:import > post > requestBody > content > multipart/form-data", "absent"},
		{"nor is a body of any type", "paths > /v1/shelves/{shelf}/books/{book}/cover > put > requestBody > content > multipart/form-data", "absent"},
	} {
		f.check(t, doc)
	}
	fact{"a route that refuses forms describes none", books + "post > requestBody > content > multipart/form-data", "absent"}.check(t, without)
	if err := specification(t).Validate(doc); err != nil {
		t.Errorf("not valid: %v", err)
	}
}

// TestStreamsHaveTheFramingOfTheRouteFirst looks at the order too: tools take the first.
func TestStreamsHaveTheFramingOfTheRouteFirst(t *testing.T) {
	set := load(t, features)
	for _, c := range []struct {
		framing transcoder.Framing
		want    []string
	}{
		{transcoder.Lines, []string{"application/x-ndjson", "text/event-stream", "application/json"}},
		{transcoder.Results, []string{"application/json", "application/x-ndjson", "text/event-stream"}},
		{transcoder.Array, []string{"application/json", "application/x-ndjson", "text/event-stream"}},
		{transcoder.Events, []string{"text/event-stream", "application/x-ndjson", "application/json"}},
	} {
		r := route(set, codec.Options{})
		r.Framing = c.framing
		doc, decoded := build(t, api(r))
		if got := doc.Paths.Get("/v1/books:watch").Get.Responses.Get("200").Content.Names(); !slices.Equal(got, c.want) {
			t.Errorf("framing %d: %v, want %v", c.framing, got, c.want)
		}
		if c.framing == transcoder.Results {
			fact{"a result is wrapped", "paths > /v1/books:watch > get > responses > 200 > content > application/x-ndjson > schema > properties > result > $ref",
				`"#/components/schemas/features.v1.Book"`}.check(t, decoded)
		}
	}
}

func TestSchemas(t *testing.T) {
	_, doc := build(t, api(route(load(t, features), codec.Options{EmitUnpopulated: true})))
	_, omitting := build(t, api(route(load(t, features), codec.Options{ProtoNames: true, EnumNumbers: true})))
	for _, f := range []fact{
		{"a 64-bit integer is a string", book + "copies > type", `"string"`},
		{"a comment behind the field counts, and a bound that has no keyword is said", book + "copies > description", `"In all libraries.\n\nAt least 0."`},
		{"bytes are base64", book + "picture", `{"type":"string","format":"byte","contentEncoding":"base64"}`},
		{"a Timestamp is text, and null when it is not set", book + "createTime", `{"type":["string","null"],"format":"date-time","readOnly":true}`},
		{"input only is write only", book + "secret > writeOnly", "true"},
		{"required is required", "components > schemas > features.v1.Book > required", `["title"]`},
		{"a wrapper may be null", book + "note", `{"type":["string","null"],"format":"email"}`},
		{"a message refers to itself", book + "reprintOf > $ref", `"#/components/schemas/features.v1.Book"`},
		{"a Value is anything", book + "extra", `{"description":"Any JSON value."}`},
		{"a map is an object", book + "ratings > additionalProperties", `{"type":"integer","format":"int32","minimum":1,"maximum":5}`},
		{"an enum has its values' comments", "components > schemas > features.v1.Genre > description",
			`"What a book is about.\n\n- ` + "`GENRE_UNSPECIFIED`\\n- `FICTION`: Made up.\\n- `FACTS`" + `"`},
		{"a oneof has one field at most", "components > schemas > features.v1.Book > allOf > 0 > oneOf > 0", `{"required":["publisher"]}`},
		{"a CEL rule is said", "components > schemas > features.v1.Book > description", `"A book.\n\n- A book of facts has pages."`},
	} {
		f.check(t, doc)
	}
	for _, f := range []fact{
		{"names of the proto are names where the route has them", book + "create_time", `{"type":"string","format":"date-time","readOnly":true}`},
		{"enums are numbers where the route has them", "components > schemas > features.v1.Genre > enum", `[0,1,2]`},
		{"and say what they mean", "components > schemas > features.v1.Genre > description", `"What a book is about.\n\n- ` + "`0` GENRE_UNSPECIFIED\\n- `1` FICTION: Made up.\\n- `2` FACTS" + `"`},
	} {
		f.check(t, omitting)
	}
}

func TestConstraints(t *testing.T) {
	_, doc := build(t, api(route(load(t, features), codec.Options{})))
	for _, f := range []fact{
		{"const", rules + "exact", `{"type":"string","enum":["x"]}`},
		{"in", rules + "among", `{"type":"string","enum":["a","b"]}`},
		{"not in", rules + "none", `{"type":"string","not":{"enum":["a","b"]}}`},
		{"a length", rules + "five", `{"type":"string","minLength":5,"maxLength":5}`},
		{"several parts of a text", rules + "parts", `{"type":"string","pattern":"^a\\.","allOf":[{"pattern":"m"},{"pattern":"z$"}]}`},
		{"a format", rules + "id", `{"type":"string","format":"uuid"}`},
		{"one of two formats", rules + "address", `{"type":"string","anyOf":[{"format":"ipv4"},{"format":"ipv6"}]}`},
		{"a rule that is not for the zero value", rules + "maybe", `{"type":"string","anyOf":[{"const":""},{"minLength":3}]}`},
		{"a rule that is off", rules + "never", `{"type":"string"}`},
		{"a pattern of RE2's own is words", rules + "re2", "{\"type\":\"string\",\"description\":\"Matches `(?i)^a+$` (RE2).\"}"},
		{"a range without its ends", rules + "ratio", `{"type":"number","format":"double","exclusiveMinimum":0,"exclusiveMaximum":1}`},
		{"outside of a range", rules + "outside", `{"type":"number","format":"float","anyOf":[{"exclusiveMaximum":5},{"exclusiveMinimum":10}]}`},
		{"a bound that JSON has no number for", rules + "endless", `{"type":"number","format":"double"}`},
		{"numbers in a list", rules + "digits", `{"type":"integer","format":"uint32","minimum":0,"enum":[1,2]}`},
		{"bounds of a number that is a string are words", rules + "large", `{"type":"string","format":"uint64","description":"More than 1. At most 18446744073709551615."}`},
		{"a boolean", rules + "yes", `{"type":"boolean","enum":[true]}`},
		{"values an enum may not have", rules + "genre > not", `{"enum":["GENRE_UNSPECIFIED"]}`},
		{"the value an enum must have", rules + "oneGenre > enum", `["FICTION"]`},
		{"required", "components > schemas > features.v1.Rules > required", `["needed"]`},
		{"a CEL rule is words", rules + "said > description", `"- Must be said twice."`},
		{"how many elements", rules + "list", `{"type":"array","items":{"type":"string"},"minItems":1,"maxItems":2}`},
		{"a oneof of which one is needed", "components > schemas > features.v1.Rules > allOf > 0", `{"oneOf":[{"required":["left"]},{"required":["right"]}]}`},
		{"rules for elements, and that none comes twice", book + "tags", `{"type":"array","items":{"type":"string","maxLength":20},"uniqueItems":true}`},
		{"examples", book + "isbn > examples", `["9780000000002"]`},
		{"which an example of a body is made of", books + "post > requestBody > content > application/json > example > isbn", `"9780000000002"`},
		{"rules for keys", book + "ratings > propertyNames", `{"minLength":2}`},
	} {
		f.check(t, doc)
	}
}

func TestBoundsOfA64BitIntegerAreKeywordsWhereItIsANumber(t *testing.T) {
	_, doc := build(t, api(route(load(t, features), codec.Options{Int64Numbers: true})))
	fact{"a bound", book + "copies", `{"type":"integer","format":"int64","minimum":0,"description":"In all libraries."}`}.check(t, doc)
	fact{"a large one", rules + "large > maximum", `18446744073709551615`}.check(t, doc)
}

func TestRoutesOfOneDocument(t *testing.T) {
	set := load(t, features)
	plain, other := route(set, codec.Options{}), route(set, codec.Options{ProtoNames: true})
	// The same bindings by another route would be nothing new; as if it had another path, in one document.
	for i := range other.Bindings {
		other.Bindings[i].Rule.Template = "/other" + other.Bindings[i].Rule.Template
	}
	doc, decoded := build(t, api(plain, other, plain))
	for _, f := range []fact{
		{"a message in other words is another schema", "components > schemas > features.v1.Book.proto-names > properties > create_time > format", `"date-time"`},
		{"the first route's has the plain name", "components > schemas > features.v1.Book > properties > createTime > format", `"date-time"`},
		{"each operation has an id of its own", "paths > /other/v1/titles > get > operationId", `"features.v1.Library.Titles.2"`},
		{"what comes second to the same method and path is left out", "paths > /v1/titles > get > operationId", `"features.v1.Library.Titles"`},
	} {
		f.check(t, decoded)
	}
	if n := len(doc.Tags); n != 4 {
		t.Errorf("%d tags, want one for each of 4 services", n)
	}
	check := checker{T: t, doc: decoded, seen: map[string]bool{}}
	check.document()
}

// TestAnotherDefinitionOfTheSameName: two sources may each have their own message of one name.
func TestAnotherDefinitionOfTheSameName(t *testing.T) {
	a, b := route(load(t, features), codec.Options{}), route(load(t, "{protos: {root: testdata/other}}"), codec.Options{})
	_, doc := build(t, api(a, b))
	for _, f := range []fact{
		{"the first keeps the name", "components > schemas > features.v1.Genre > enum > 1", `"FICTION"`},
		{"the second gets a number", "components > schemas > features.v1.Genre-2 > enum > 1", `"NOVEL"`},
		{"and is what its messages refer to", "components > schemas > features.v1.GenreResponse > properties > genre > $ref", `"#/components/schemas/features.v1.Genre-2"`},
	} {
		f.check(t, doc)
	}
	_, again := build(t, api(a, route(compile(t, features), codec.Options{})))
	fact{"the same definition loaded twice is one schema", "components > schemas > features.v1.Genre-2", "absent"}.check(t, again)
}

func TestServers(t *testing.T) {
	_, doc := build(t, api())
	fact{"the server is where the document is from", "servers", `[{"url":"/"}]`}.check(t, doc)
	a := api()
	a.Servers, a.Description = []string{"https://api.example.com"}, "All of *it*."
	_, doc = build(t, a)
	fact{"or those that are named", "servers", `[{"url":"https://api.example.com"}]`}.check(t, doc)
	fact{"the API is described", "info", `{"title":"Test","version":"1","description":"All of *it*."}`}.check(t, doc)
	if err := specification(t).Validate(doc); err != nil {
		t.Errorf("a document without paths is not valid: %v", err)
	}
}

func TestAnOperationHasABoundedNumberOfParameters(t *testing.T) {
	_, doc := build(t, api(route(load(t, "{protos: {root: testdata/wide}}"), codec.Options{})))
	if n := len(at(t, doc, "paths > /wide > get > parameters").([]any)); n != 200 {
		t.Errorf("%d parameters, want 200", n)
	}
}
