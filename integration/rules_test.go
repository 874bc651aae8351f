package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// TestRouteOptionsOfRESTBindings asks for one thing of routes that differ in one option.
func TestRouteOptionsOfRESTBindings(t *testing.T) {
	backend := testserver.Start(t)
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, option               string
		method, path, body         string
		header                     []string
		without, with              int    // statuses
		wantWithout, want, wantNot string // in the answers
	}{
		{name: "json names", option: "json: {names: proto}", method: "POST", path: "/bind/v1/all", body: `{"nested":{"count":1}}`,
			without: 200, with: 200, want: `"deep":null`},
		{name: "enums as numbers", option: "json: {enums: numbers}", method: "POST", path: "/bind/v1/all", body: `{"kind":"KIND_TWO"}`,
			without: 200, with: 200, wantWithout: `"kind":"KIND_TWO"`, want: `"kind":2`},
		{name: "unpopulated fields left out", option: "json: {unpopulated: omit}", method: "POST", path: "/bind/v1/all", body: `{"note":"n"}`,
			without: 200, with: 200, wantWithout: `"tags":[]`, want: `{"note":"n"}`},
		{name: "unknown fields ignored", option: "json: {unknown: ignore}", method: "POST", path: "/bind/v1/all", body: `{"nothing":1}`,
			without: 400, with: 200, wantWithout: "nothing"},
		{name: "integers of 64 bits as numbers", option: "json: {int64: numbers}", method: "POST", path: "/bind/v1/all", body: `{"number":"-7","wrapped":"8"}`,
			without: 200, with: 200, wantWithout: `"number":"-7"`, want: `"number":-7`},
		{name: "unknown parameters ignored", option: "unknown_query: ignore", method: "GET", path: "/bind/v1/one/x?nothing=1",
			without: 400, with: 200, wantWithout: "nothing"},
		{name: "parameters ignored by name", option: "ignored_query: [alt, note]", method: "GET", path: "/bind/v1/one/x?alt=json&note=n",
			without: 400, with: 200, wantWithout: "alt", want: `"note":""`},
		{name: "an update mask left alone", option: "keep_update_mask: [crossgate.test.v1.Bindings.UpdateThing]", method: "PATCH", path: "/bind/v1/update/x", body: `{"note":"n"}`,
			without: 200, with: 200, wantWithout: `"updateMask":"note"`, want: `"updateMask":null`},
		{name: "an update mask left alone by a wildcard", option: "keep_update_mask: [crossgate.test.v1.*]", method: "PATCH", path: "/bind/v1/update/x", body: `{"note":"n"}`,
			without: 200, with: 200, want: `"updateMask":null`},
		{name: "an update mask of another method", option: "keep_update_mask: [crossgate.test.v1.Bindings.PatchInside]", method: "PATCH", path: "/bind/v1/update/x", body: `{"note":"n"}`,
			without: 200, with: 200, want: `"updateMask":"note"`},
		{name: "forms", option: "forms: accept", method: "POST", path: "/bind/v1/all", body: "note=n&nested.count=3", header: []string{"Content-Type", form, "Sec-Fetch-Site", "cross-site"},
			without: 415, with: 200, want: `"count":3`},
		{name: "forms of the same origin", option: "forms: same_origin", method: "POST", path: "/bind/v1/all", body: "note=n", header: []string{"Content-Type", form, "Sec-Fetch-Site", "same-origin"},
			without: 415, with: 200, want: `"note":"n"`},
		{name: "forms of another origin", option: "forms: same_origin", method: "POST", path: "/bind/v1/all", body: "note=n", header: []string{"Content-Type", form, "Sec-Fetch-Site", "cross-site"},
			without: 415, with: 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, on := range []bool{false, true} {
				status, want, option := c.without, c.wantWithout, ""
				if on {
					status, want, option = c.with, c.want, ", "+c.option
				}
				g := rig.StartGateway(t, fmt.Sprintf(besidePeer, backend.Address, "grpc: {upstream: test"+option+"}"))
				answer, text := ask(t, c.method, g.URL+c.path, c.body, c.header...)
				if answer.StatusCode != status || !strings.Contains(text, want) {
					t.Errorf("with the option %v: status %d, want %d with %s: %s", on, answer.StatusCode, status, want, text)
				}
			}
		})
	}
}

func TestAnAnswerThatIsAnHTTPBodyHasItsMediaType(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	answer, text := ask(t, http.MethodGet, g.URL+"/bind/v1/file/x?note=text/csv&data=YSxi", "")
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/csv" || text != "a,b" {
		t.Errorf("status %d, %v: %q", answer.StatusCode, answer.Header, text)
	}
	answer, text = ask(t, http.MethodHead, g.URL+"/bind/v1/file/x?note=text/csv&data=YSxi", "")
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/csv" || text != "" {
		t.Errorf("HEAD: status %d, %v: %q", answer.StatusCode, answer.Header, text)
	}
}

// TestRulesOfTheConfigurationReachTheirMethods serves methods by rules with selectors, and refuses two that clash.
func TestRulesOfTheConfigurationReachTheirMethods(t *testing.T) {
	backend := testserver.Start(t)
	rules := func(list string) string {
		return fmt.Sprintf(besidePeer, backend.Address, "grpc: {upstream: test, services: [crossgate.test.v1.Bindings]}") + "http: {rules: [" + list + "]}\n"
	}
	g := rig.StartGateway(t, rules(`{selector: "crossgate.test.v1.Bindings.*", get: "/same/{name}"}, {selector: "crossgate.test.v1.*", get: "/unused/{name}"}, `+
		restOfBindings()+`{selector: crossgate.test.v1.Bindings.GetOne, get: "/by/rule/{name}"}`))
	if answer, text := ask(t, "GET", g.URL+"/by/rule/x", ""); answer.StatusCode != 200 || !strings.Contains(text, `"name":"x"`) {
		t.Errorf("status %d: %s", answer.StatusCode, text)
	}
	if answer, _ := ask(t, "GET", g.URL+"/bind/v1/one/x", ""); answer.StatusCode != 404 {
		t.Errorf("the annotation is served still: status %d", answer.StatusCode)
	}
	g.Rewrite(t, rules(`{selector: "crossgate.test.v1.Bindings.GetOne, crossgate.test.v1.Bindings.GetTwo", get: "/same/{name}"}`))
	err := g.Reload(t.Context())
	for _, want := range []string{"crossgate.test.v1.Bindings.GetOne", "crossgate.test.v1.Bindings.GetTwo", "matches the same requests as"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// restOfBindings gives each other method of the service a template of its own.
func restOfBindings() string {
	var b strings.Builder
	service := testproto.File_integration_testproto_test_proto.Services().ByName("Bindings")
	for i := range service.Methods().Len() {
		if name := service.Methods().Get(i).Name(); name != "GetOne" {
			fmt.Fprintf(&b, `{selector: crossgate.test.v1.Bindings.%s, post: "/rest/%s", body: "*"}, `, name, name)
		}
	}
	return b.String()
}
