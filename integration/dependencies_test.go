package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestEveryDirectDependencyIsExplained compares go.mod with docs/dependencies.md, both ways.
func TestEveryDirectDependencyIsExplained(t *testing.T) {
	command := exec.Command("go", "mod", "edit", "-json")
	command.Dir = ".."
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(string(page), -1) {
		explained[row[1]] = true
	}
	direct := map[string]bool{}
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		direct[r.Path] = true
		if !explained[r.Path] {
			t.Errorf("docs/dependencies.md has no line for %s", r.Path)
		}
	}
	if len(direct) == 0 {
		t.Error("go.mod has no direct dependency; go mod tidy says which are")
	}
	for path := range explained {
		if !direct[path] {
			t.Errorf("docs/dependencies.md has a line for %s, which is no direct dependency", path)
		}
	}
}
