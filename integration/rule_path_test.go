package integration

import (
	"net/http"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
)

// TestARuleAboutAPathHoldsForEachSpellingOfIt because a backend that decodes the path would find the same there.
func TestARuleAboutAPathHoldsForEachSpellingOfIt(t *testing.T) {
	g := rig.StartGateway(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
routes:
  - name: all
    match: {path_prefix: /}
    respond: {body: ok}
    authorize: {otherwise: allow, rules: [{name: closed, deny: 'request.path.startsWith("/admin")'}]}
`)
	for path, want := range map[string]int{
		"/admin/x": http.StatusForbidden, "/%61dmin/x": http.StatusForbidden, "/%61%64%6D%69%6e": http.StatusForbidden, "/open": http.StatusOK, "/%6fpen": http.StatusOK,
	} {
		if answer, _ := ask(t, http.MethodGet, g.URL+path, ""); answer.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, answer.Status, want)
		}
	}
}
