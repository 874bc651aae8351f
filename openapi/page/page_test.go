package page

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheVendoredFilesAreThoseOfTheLock needs no network: VERSION says what `make docs-ui` has put into dist, and
// SHA256SUMS what it was.
func TestTheVendoredFilesAreThoseOfTheLock(t *testing.T) {
	raw, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity, Resolved string }
	}
	if err := json.Unmarshal(raw, &lock); err != nil {
		t.Fatal(err)
	}
	p := lock.Packages["node_modules/swagger-ui-dist"]
	version, err := os.ReadFile("dist/VERSION")
	if err != nil {
		t.Fatal(err)
	}
	if want := "swagger-ui-dist " + p.Version + " " + p.Integrity + "\n"; p.Integrity == "" || string(version) != want {
		t.Errorf("dist has %swant %srun make docs-ui", version, want)
	}
	manifest, err := os.ReadFile("package.json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manifest), `"swagger-ui-dist": "`+p.Version+`"`) {
		t.Errorf("package.json does not pin version %s", p.Version)
	}
	for name, p := range lock.Packages {
		if p.Resolved != "" {
			t.Errorf("%s has a resolved URL in package-lock.json", name)
		}
	}
	sums, err := os.Open("dist/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	listed := map[string]bool{"VERSION": true, "SHA256SUMS": true}
	for lines := bufio.NewScanner(sums); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		content, err := os.ReadFile(filepath.Join("dist", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != sum {
			t.Errorf("dist/%s is not what was vendored; run make docs-ui", name)
		}
		listed[name] = true
	}
	there, err := os.ReadDir("dist")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range there {
		if !listed[f.Name()] {
			t.Errorf("dist/%s was not vendored", f.Name())
		}
	}
	if !listed["LICENSE"] || !listed["NOTICE"] {
		t.Error("dist has no licence")
	}
}

func TestReferencesAreRelative(t *testing.T) {
	for _, c := range []struct{ self, openapi, document, file string }{
		{"/docs", "/openapi.json", `./openapi.json`, `./docs/page.js`},
		{"/api/docs", "/openapi.json", `../openapi.json`, `./docs/page.js`},
		{"/api/docs", "/api/v1/openapi.json", `./v1/openapi.json`, `./docs/page.js`},
		{"/a/b/docs", "/a/c/openapi.json", `../c/openapi.json`, `./docs/page.js`},
		{"/docs", "/docs/openapi.json", `./docs/openapi.json`, `./docs/page.js`},
	} {
		html, err := HTML("An API", c.self, c.openapi)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(html), `data-document="`+c.document+`"`) || !strings.Contains(string(html), `<script src="`+c.file+`?v=`) {
			t.Errorf("%s, %s:\n%s", c.self, c.openapi, html)
		}
	}
}

func TestATitleIsText(t *testing.T) {
	html, err := HTML(`</title><script>alert(1)</script>`, "/docs", `/"><script>`)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(html), "<script"); n != 2 {
		t.Errorf("%d scripts, want the 2 of the page:\n%s", n, html)
	}
}

// TestThePageLoadsNothingFromElsewhere looks for what leaves the page's origin, and for what its policy would not let run.
func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	html, err := HTML("An API", "/docs", "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?i)(src|href)="(https?:)?//|<style| style=| on[a-z]+=|<script>`).Match(html) {
		t.Errorf("the page:\n%s", html)
	}
}

func TestPolicy(t *testing.T) {
	const rest = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src %s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	for _, c := range []struct {
		servers []string
		connect string
	}{
		{nil, "'self'"},
		{[]string{"/"}, "'self'"},
		{[]string{"https://api.example.com/v1", "https://api.example.com"}, "'self' https://api.example.com"},
	} {
		if got := Policy(c.servers); got != strings.Replace(rest, "%s", c.connect, 1) {
			t.Errorf("%v: %s", c.servers, got)
		}
	}
}
