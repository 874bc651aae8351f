package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/crossgate/crossgate/gateway"
	"github.com/crossgate/crossgate/integration/rig"
)

// TestNoSecretIsToldToAnybody uses every kind of credential, right and wrong, and looks for each in all that the gateway says.
func TestNoSecretIsToldToAnybody(t *testing.T) {
	secrets := map[string]string{
		"the key of tokens": "a-shared-secret-of-32-bytes-length", "the introspection client's": "the-client-secret", "an API key": "an-api-key-of-some-length",
		"an unknown API key": "a-key-that-nobody-has", "a password": "correct-horse-battery", "a wrong password": "wrong-horse-battery",
		"an opaque token": "opaque-token-of-ann", "a refused token": "opaque-token-of-eve", "a token that is none": "garbage-in-a-header",
		"a query's token": "token-in-the-query",
	}
	t.Setenv("TOKENS", secrets["the key of tokens"])
	t.Setenv("CLIENT", secrets["the introspection client's"])
	t.Setenv("KEY", secrets["an API key"])
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"active":%t,"sub":"ann"}`, r.FormValue("token") == secrets["an opaque token"])
	}))
	t.Cleanup(issuer.Close)
	hash, err := bcrypt.GenerateFromPassword([]byte(secrets["a password"]), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("ann:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets["a password's hash"] = string(hash)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
log: {level: debug}
auth:
  - {name: tokens, jwt: {issuer: "https://id.example.com", secret: "${TOKENS}"}, from: [{header: Authorization}, {query: access_token}]}
  - {name: opaque, introspection: {url: "%s", client_id: edge, client_secret: "${CLIENT}"}}
  - {name: keys, api_keys: {keys: [{id: ann, key: "${KEY}"}]}}
  - {name: people, basic: {htpasswd: "%s"}}
routes:
  - {name: page, match: {path: /page}, respond: {body: hello}, auth: {require: [tokens, opaque, keys, people]}, authorize: {rules: [{name: all, allow: "identity.authenticated"}]}}
`, issuer.URL, users))
	var said strings.Builder
	basic := func(user, password string) string {
		credential := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		secrets["the credential of "+password] = credential
		return "Basic " + credential
	}
	for _, c := range []struct {
		header, value string
		want          int
	}{
		{"Authorization", "Bearer " + secrets["an opaque token"], 200}, {"Authorization", "Bearer " + secrets["a refused token"], 401},
		{"Authorization", "Bearer " + secrets["a token that is none"] + ".x.y", 401}, {"X-Api-Key", secrets["an API key"], 200},
		{"X-Api-Key", secrets["an unknown API key"], 401}, {"Authorization", basic("ann", secrets["a password"]), 200},
		{"Authorization", basic("ann", secrets["a wrong password"]), 401},
	} {
		r, err := http.NewRequest(http.MethodGet, g.URL+"/page?access_token="+secrets["a query's token"], nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(c.header, c.value)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&said, answer.Header)
		body := make([]byte, 4096)
		n, _ := answer.Body.Read(body)
		answer.Body.Close()
		said.Write(body[:n])
		if answer.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.header, answer.Status, c.want)
		}
	}
	for _, path := range []string{"/metrics", "/v1/status", "/v1/routes", "/v1/openapi", "/v1/identity/jwks.json", "/readyz"} {
		_, body := call(t, "GET", g.Admin+path, "", nil)
		said.WriteString(body)
	}
	for end := time.Now().Add(rig.Patience); strings.Count(g.Log(), `"msg":"request"`) < 7 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the access log is held back for a second
	}
	said.WriteString(g.Log())
	// A configuration that is refused, with each of them where it does not belong.
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte(`
auth:
  - {name: a, jwt: {secret: "${KEY}", algorithms: [RS256]}}
  - {name: b, api_keys: {keys: [{id: x, sha256: "${KEY}"}]}}
  - {name: c, introspection: {url: "https://u:${CLIENT}@a/", client_id: x}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.Check(t.Context(), broken); err == nil {
		t.Error("a broken configuration is taken")
	} else {
		said.WriteString(err.Error())
	}
	for what, secret := range secrets {
		if at := strings.Index(said.String(), secret); at >= 0 {
			t.Errorf("%s is told: …%s…", what, said.String()[max(0, at-200):min(said.Len(), at+100)])
		}
	}
}
