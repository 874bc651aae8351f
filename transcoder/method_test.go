package transcoder

import (
	"strings"
	"testing"

	"github.com/crossgate/crossgate/descriptors"
)

func TestCompileRefuses(t *testing.T) {
	all := methods(t)
	for _, c := range []struct {
		name    string
		binding descriptors.Binding
		reason  string
	}{
		{"a template that is none", descriptors.Binding{HTTPMethod: "GET", Template: "v1"}, "begins with a slash"},
		{"a variable that is no field", descriptors.Binding{HTTPMethod: "GET", Template: "/v1/{nope}"}, `variable {nope}: shop.Request has no field "nope"`},
		{"a variable below a scalar", descriptors.Binding{HTTPMethod: "GET", Template: "/v1/{name.x}"}, "is no message"},
		{"a variable that is a message", descriptors.Binding{HTTPMethod: "GET", Template: "/v1/{owner}"}, "is a message"},
		{"a variable that is a list", descriptors.Binding{HTTPMethod: "GET", Template: "/v1/{tags}"}, "is a repeated field"},
		{"a variable that is a map", descriptors.Binding{HTTPMethod: "GET", Template: "/v1/{labels}"}, "is a map"},
		{"a body that is no field", descriptors.Binding{HTTPMethod: "POST", Template: "/v1/x", Body: "nope"}, `body: shop.Request has no field "nope"`},
		{"an answer that is no field", descriptors.Binding{HTTPMethod: "POST", Template: "/v1/x", ResponseBody: "nope"}, `response_body: shop.Answer has no field "nope"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(all["Get"], c.binding, Options{})
			if err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), "shop.Shop.Get: "+c.binding.HTTPMethod+" "+c.binding.Template) {
				t.Errorf("error %v, want one with %q", err, c.reason)
			}
		})
	}
}

func TestMethodSaysWhatItIs(t *testing.T) {
	all := methods(t)
	m, err := Compile(all["Get"], all["Get"].Bindings[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.FullMethod() != "/shop.Shop/Get" || m.Template().String() != "/v1/{name=shelves/*/items/*}" {
		t.Errorf("%s %s", m.FullMethod(), m.Template())
	}
	if m, err = CompileRPC(all["Get"], Options{}); err != nil || m.Template() != nil {
		t.Errorf("%v, %v", m.Template(), err)
	}
}
