package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// TestABackendIsToldWhoTheCallerIs and no caller can tell it otherwise, by whatever name and in whatever protocol.
func TestABackendIsToldWhoTheCallerIs(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
auth: [{name: jwt, jwt: {secret: "${JWT_SECRET}"}}]
routes:
  - name: calls
    grpc: {upstream: test, services: ["crossgate.test.v1.*"], forward_headers: ["X-Test-Header-*"]}
    auth: {require: [jwt], optional: true}
    forward_identity: {headers: {X-Test-Header-User: user, X-Test-Header-Tenant: "claim:tenant"}}
`, backend.Address))
	forged := http.Header{
		"X-Test-Header-User": {"root"}, "Grpc-Metadata-X-Test-Header-User": {"root"}, "X_test_header_user": {"root"}, "X-Test-Header_user": {"root"},
		"X-Test-Header-Tenant": {"root"}, "Grpc-Metadata-X-Test-Header-Tenant": {"root"}, "Connection": {"close, X-Test-Header-User"},
	}
	known := forged.Clone()
	known.Set("Authorization", "Bearer "+token(t, jwt.MapClaims{"tenant": "acme"}))
	for protocol, try := range protocols {
		if protocol == "WebSocket" || protocol == "stream of Connect" {
			continue // the attempts get no headers of the backend's
		}
		for name, c := range map[string]struct {
			header       http.Header
			user, tenant []string
		}{"somebody": {known, []string{"ann"}, []string{"acme"}}, "nobody": {forged, nil, nil}} {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				header := c.header.Clone()
				if protocol == "gRPC" {
					header.Del("Connection") // HTTP/2 has none
				}
				status, answer := try(t, g, header)
				if status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
				told := func(name string) []string { return append(answer["Grpc-Metadata-"+name], answer[name]...) }
				if !slices.Equal(told("X-Test-Header-User"), c.user) || !slices.Equal(told("X-Test-Header-Tenant"), c.tenant) {
					t.Errorf("the backend was told %q of %q: %v", told("X-Test-Header-User"), told("X-Test-Header-Tenant"), answer)
				}
				if strings.Contains(fmt.Sprint(answer), "root") {
					t.Errorf("what the caller forged came through: %v", answer)
				}
			})
		}
	}
	if _, set := call(t, "GET", g.Admin+"/v1/identity/jwks.json", "", nil); set != `{"keys":[]}` {
		t.Errorf("published without a key: %s", set)
	}
}
