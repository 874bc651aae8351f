package descriptors

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/config"
)

func TestARuleReplacesTheAnnotation(t *testing.T) {
	dir := t.TempDir()
	set := write(t, dir+"/a.binpb", marshal(t, annotated("a.proto", "a.v1", "A", &annotations.HttpRule{
		Pattern: &annotations.HttpRule_Get{Get: "/old"}, AdditionalBindings: []*annotations.HttpRule{{Pattern: &annotations.HttpRule_Put{Put: "/older"}}}})))
	for rules, want := range map[string][]Binding{
		"": {{HTTPMethod: "GET", Template: "/old"}, {HTTPMethod: "PUT", Template: "/older"}},
		"\nhttp: {rules: [{selector: a.v1.A.Get, custom: {kind: LOCK, path: /new}, response_body: name}]}": {
			{HTTPMethod: "LOCK", Template: "/new", ResponseBody: "name"}},
	} {
		got, err := load(t, "descriptors: [{file: "+set+"}]"+rules, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b := got.Service("a.v1.A").Methods[0].Bindings; !slices.Equal(b, want) {
			t.Errorf("%q: bindings %+v, want %+v", rules, b, want)
		}
	}
}

func TestTheLastRuleThatSelectsAMethodCounts(t *testing.T) {
	dir := t.TempDir()
	set := write(t, dir+"/a.binpb", marshal(t, annotated("a.proto", "a.v1", "A", &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/annotated"}})))
	other := write(t, dir+"/b.binpb", marshal(t, service("b.proto", "b.v1", "B")))
	file := write(t, dir+"/service.yaml", []byte("type: google.api.Service\nhttp: {rules: [{selector: a.v1.A.Get, get: /file}, {selector: b.v1.B.Get, get: /file/b}]}\n"))
	const unused = "no descriptor set has the method"
	for _, c := range []struct {
		name, rules string
		a, b        string // the templates, "" for none
		warnings    []string
	}{
		{"a rule by name", "{selector: a.v1.A.Get, get: /x}", "/x", "", nil},
		{"a rule for a service", "{selector: a.v1.A.*, get: /x}", "/x", "", nil},
		{"a rule for a package", "{selector: a.v1.*, get: /x}", "/x", "", nil},
		{"a rule for an outer package", "{selector: a.*, get: /x}", "/x", "", nil},
		{"a rule for everything", `{selector: "*", get: /x}`, "/x", "/x", nil},
		{"a list of selectors", `{selector: "c.*, b.v1.B.Get", get: /x}`, "/annotated", "/x", nil},
		{"a name of which the selector is only the beginning", "{selector: a.v1.A.G, get: /x}", "/annotated", "", []string{unused}},
		{"a wildcard for what is below the method", "{selector: a.v1.A.Get.*, get: /x}", "/annotated", "", []string{unused}},
		{"a wildcard after a name", `{selector: a.v1.A.Get, get: /x}, {selector: "*", get: /y}`, "/y", "/y", []string{"the later rule at "}},
		{"a name after a wildcard", `{selector: "*", get: /y}, {selector: a.v1.A.Get, get: /x}`, "/x", "/y", nil},
		{"a name twice", "{selector: a.v1.A.Get, get: /x}, {selector: a.v1.A.Get, get: /y}", "/y", "", []string{"the later rule at "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load(t, "descriptors: [{file: "+set+"}, {file: "+other+"}]\nhttp: {rules: ["+c.rules+"]}", nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[protoreflect.FullName]string{"a.v1.A": c.a, "b.v1.B": c.b} {
				template := ""
				if b := got.Service(name).Methods[0].Bindings; len(b) > 0 {
					template = b[0].Template
				}
				if template != want {
					t.Errorf("%s: %q, want %q", name, template, want)
				}
			}
			if len(got.Warnings) != len(c.warnings) || len(c.warnings) > 0 && !strings.Contains(got.Warnings[0], c.warnings[0]) {
				t.Errorf("warnings %q, want %q", got.Warnings, c.warnings)
			}
		})
	}
	got, err := load(t, "descriptors: [{file: "+set+"}, {file: "+other+"}]\nhttp: {files: ["+file+"], rules: [{selector: a.v1.A.*, get: /inline}]}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := got.Service("a.v1.A").Methods[0].Bindings[0], got.Service("b.v1.B").Methods[0].Bindings[0]; a.Template != "/inline" || b.Template != "/file/b" {
		t.Errorf("the configuration's own rules come after those of files: %v, %v", a, b)
	}
}

func TestAnInvalidAnnotationIsNamedWithItsSourceAndMethod(t *testing.T) {
	get := &annotations.HttpRule_Get{Get: "/x"}
	nested := &annotations.HttpRule{Pattern: get, AdditionalBindings: []*annotations.HttpRule{{Pattern: get}}}
	for _, c := range []struct {
		name string
		rule *annotations.HttpRule
		want string
	}{
		{"no verb", &annotations.HttpRule{Body: "*"}, "there is no verb"},
		{"no template", &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{}}, `the path template "" does not begin with /`},
		{"a body that is no field", &annotations.HttpRule{Pattern: get, Body: "title"}, `body: a.v1.M has no field "title"`},
		{"a body that is a path", &annotations.HttpRule{Pattern: get, Body: "name.first"}, `a.v1.M has no field "name.first"`},
		{"a response body that is no field", &annotations.HttpRule{Pattern: get, ResponseBody: "*"}, `response_body: a.v1.M has no field "*"`},
		{"bindings within additional bindings", &annotations.HttpRule{Pattern: get, AdditionalBindings: []*annotations.HttpRule{nested}}, "of their own"},
		{"an additional binding without a verb", &annotations.HttpRule{Pattern: get, AdditionalBindings: []*annotations.HttpRule{{}}}, "additional_bindings: there is no verb"},
		{"a custom verb without a kind", &annotations.HttpRule{Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Path: "/x"}}}, `the kind ""`},
		{"a custom verb with a space", &annotations.HttpRule{Pattern: &annotations.HttpRule_Custom{
			Custom: &annotations.CustomHttpPattern{Kind: "GET /", Path: "/x"}}}, `the kind "GET /"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Inspect("x.binpb", marshal(t, annotated("a.proto", "a.v1", "A", c.rule)))
			for _, want := range []string{"descriptors: x.binpb: google.api.http annotation of a.v1.A.Get: ", c.want} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
		})
	}
}

func TestAServiceConfigurationErrorSaysWhere(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ": empty; expected type: google.api.Service"},
		{"not YAML", "a: [", ":1: "},
		{"not a mapping", "- a", ":1:1: the service configuration is not a mapping"},
		{"another type", "type: google.api.Quota\n", ":1:1: type is google.api.Quota, expected google.api.Service"},
		{"no type", "http: {}\n", ":1:1: type is none"},
		{"rules that are no list", "type: google.api.Service\nhttp: {rules: 1}\n", ":2:15: rules is not a list"},
		{"an unknown key of a rule", "type: google.api.Service\nhttp:\n  rules:\n  - selector: a.B.C\n    gett: /x\n", `:5:5: an http rule has no key "gett"`},
		{"two verbs", "type: google.api.Service\nhttp:\n  rules:\n  - selector: a.B.C\n    get: /x\n    put: /y\n", ":6:10: put: the rule has a verb already"},
		{"a key twice", "type: google.api.Service\nhttp:\n  rules:\n  - selector: a.B.C\n    get: /x\n    selector: a.B.D\n", ":6:5: selector: given twice"},
		{"no verb", "type: google.api.Service\nhttp:\n  rules:\n  - selector: a.B.C\n", ":4:5: http rule of a.B.C: there is no verb"},
		{"a template that is none", "type: google.api.Service\nhttp:\n  rules:\n  - {selector: a.B.C, get: x}\n", `:4:5: http rule of a.B.C: the path template "x"`},
		{"a selector that is none", "type: google.api.Service\nhttp:\n  rules:\n  - {selector: Get, get: /x}\n", `:4:5: http rule: selector: "Get" is not a method; expected package.Service.Method`},
		{"a selector with a wildcard in a component", "type: google.api.Service\nhttp:\n  rules:\n  - {selector: a.B.C*, get: /x}\n", `:4:5: http rule: selector: "a.B.C*" is not a method`},
		{"a selector with a wildcard not at the end", "type: google.api.Service\nhttp:\n  rules:\n  - {selector: a.*.C, get: /x}\n", `:4:5: http rule: selector: "a.*.C" is not a method`},
		{"bindings within additional bindings", "type: google.api.Service\nhttp:\n  rules:\n  - selector: a.B.C\n    get: /x\n    additional_bindings: [{get: /y, additional_bindings: []}]\n", ":6:58: additional_bindings: an additional binding has none"},
		{"a list for text", "type: google.api.Service\nhttp:\n  rules:\n  - {selector: a.B.C, get: [/x]}\n", ":4:28: get: expected text"},
		{"a word for a boolean", "type: google.api.Service\nhttp: {fully_decode_reserved_expansion: maybe}\n", ":2:41: fully_decode_reserved_expansion: expected true or false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, t.TempDir()+"/service.yaml", []byte(c.text))
			_, err := loadRules(&config.HTTP{Files: []config.Path{config.Path(path)}})
			if err == nil || !strings.Contains(err.Error(), path+c.want) {
				t.Errorf("error %v, want %q", err, path+c.want)
			}
		})
	}
	if _, err := loadRules(&config.HTTP{Files: []config.Path{"/nowhere/service.yaml"}}); err == nil || !strings.Contains(err.Error(), "/nowhere/service.yaml") {
		t.Errorf("a file that is not there: error %v", err)
	}
}

func TestAServiceConfigurationMayHaveLowerCamelCaseKeysAliasesAndOtherSections(t *testing.T) {
	dir := t.TempDir()
	set := write(t, dir+"/a.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	path := write(t, dir+"/service.yaml", []byte(`
type: google.api.Service
apis: [{name: a.v1.A}]
http:
  fullyDecodeReservedExpansion: true
  rules:
  - selector: a.v1.A.Get
    get: &path /x
    responseBody: name
    additionalBindings: [{patch: *path, body: name}]
`))
	got, err := load(t, "descriptors: [{file: "+set+"}]\nhttp: {files: ["+path+"]}", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Binding{{HTTPMethod: "GET", Template: "/x", ResponseBody: "name"}, {HTTPMethod: "PATCH", Template: "/x", Body: "name"}}
	if b := got.Service("a.v1.A").Methods[0].Bindings; !slices.Equal(b, want) {
		t.Errorf("bindings %+v, want %+v", b, want)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], path+":5:33: fully_decode_reserved_expansion is ignored") {
		t.Errorf("warnings %q", got.Warnings)
	}
}

func FuzzServiceConfig(f *testing.F) {
	f.Add([]byte("type: google.api.Service\nhttp:\n  rules:\n  - {selector: a.B.C, get: /x, additional_bindings: [{custom: {kind: X, path: /y}}]}\n"))
	f.Add([]byte("type: google.api.Service\nhttp: &h {rules: [*h]}\n"))
	f.Add([]byte("http: {<<: {rules: []}, fully_decode_reserved_expansion: true}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := write(t, t.TempDir()+"/service.yaml", text)
		c, err := readServiceConfig(path)
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("error %v does not name the file", err)
		}
		if err == nil {
			for _, r := range c.rules {
				_, _ = pattern(r.HttpRule)
			}
		}
	})
}
