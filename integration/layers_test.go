package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/crossgate/crossgate/"

// rooms is the import order that ARCHITECTURE.md gives: a package may import only rooms above its own.
var rooms = []string{
	"proto", "fault", "pace", "config", "telemetry", "descriptors", "routing", "auth", "ratelimit", "admission", "release", "upstream", "mirror", "transcoder", "proxy",
	"cache", "openapi", "wsbridge", "client", "gateway", "demo", "cmd/crossgate", "integration", "examples",
}

// floors is the same order inside a room that has several packages.
var floors = map[string][]string{
	"transcoder": {"transcoder/codec", "transcoder/validation", "transcoder", "transcoder/rpc"},
	"openapi":    {"openapi", "openapi/page"},
	"wsbridge":   {"wsbridge/bus", "wsbridge/service", "wsbridge"},
}

// only lists packages that may import of this module nothing but what is named, wherever they stand in the order.
var only = map[string][]string{
	// Microservices import it, so it must bring nothing of the gateway with it.
	"wsbridge/service": {"wsbridge/bus"},
	"wsbridge/bus":     {},
}

// forTests are packages below everything that test files may import all the same: they exist to be tested with.
var forTests = []string{"integration/redistest", "integration/testproto", "integration/testproto/testserver"}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestPackagesImportOnlyRoomsAboveTheirOwn(t *testing.T) {
	command := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	command.Dir = ".."
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < len(rooms) {
		t.Fatalf("go list found %d packages, fewer than there are rooms", len(packages))
	}
	for _, problem := range misplaced(packages) {
		t.Error(problem)
	}
}

func TestAnImportAgainstTheOrderIsFound(t *testing.T) {
	tests := []struct {
		name    string
		from    string
		imports string
		inTest  bool
		want    bool
	}{
		{"a room above may be imported", "gateway", "routing", false, false},
		{"a package of the same room may be imported", "config/internal/reference", "config", false, false},
		{"a room below may not", "routing", "gateway", false, true},
		{"nor the next one below", "auth", "ratelimit", false, true},
		{"nor from a package inside a room", "config/internal/reference", "routing", false, true},
		{"a floor above may be imported", "transcoder", "transcoder/codec", false, false},
		{"a floor below may not", "transcoder/codec", "transcoder", false, true},
		{"the services' client may import the bus", "wsbridge/service", "wsbridge/bus", false, false},
		{"and nothing else, though it stands above", "wsbridge/service", "config", false, true},
		{"the end-to-end tests are imported by nobody", "cmd/crossgate", "integration/rig", false, true},
		{"tests keep the order too", "auth", "gateway", true, true},
		{"tests may use the test API", "transcoder/codec", "integration/testproto", true, false},
		{"code may not", "transcoder/codec", "integration/testproto", false, true},
		{"a package without a room is refused", "utils", "config", false, true},
		{"a room's name is a whole word", "routingtable", "config", false, true},
		{"other modules are nobody's business", "proto", "google.golang.org/grpc", false, false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			imported := c.imports
			if !strings.Contains(imported, ".") {
				imported = module + imported
			}
			p := listed{ImportPath: module + c.from}
			if c.inTest {
				p.XTestImports = []string{imported}
			} else {
				p.Imports = []string{imported}
			}
			problems := misplaced([]listed{p})
			if found := len(problems) > 0; found != c.want {
				t.Errorf("%s imports %s: %v, want it refused: %v", c.from, c.imports, problems, c.want)
			}
		})
	}
}

// misplaced returns a line for each import that the order forbids.
func misplaced(packages []listed) []string {
	var problems []string
	for _, p := range packages {
		from, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue
		}
		if room(from) < 0 {
			problems = append(problems, from+" is in no room of the order")
			continue
		}
		check := func(imports []string, inTest bool) {
			for _, i := range imports {
				to, ours := strings.CutPrefix(i, module)
				if !ours || to == from || (inTest && slices.Contains(forTests, to)) {
					continue
				}
				if reason := forbidden(from, to, inTest); reason != "" {
					problems = append(problems, fmt.Sprintf("%s imports %s: %s", from, to, reason))
				}
			}
		}
		check(p.Imports, false)
		check(p.TestImports, true)
		check(p.XTestImports, true)
	}
	return problems
}

// forbidden says why a package may not import another; nothing when it may.
func forbidden(from, to string, inTest bool) string {
	if allowed, limited := only[from]; limited && !inTest && !slices.Contains(allowed, to) {
		return fmt.Sprintf("it may import only %v", allowed)
	}
	fromRoom, toRoom := room(from), room(to)
	switch {
	case toRoom < 0:
		return "it is in no room of the order"
	case toRoom > fromRoom:
		return "the order has it below"
	case toRoom < fromRoom:
		return ""
	}
	order := floors[rooms[fromRoom]]
	fromFloor, toFloor := slices.Index(order, from), slices.Index(order, to)
	if !inTest && fromFloor >= 0 && toFloor > fromFloor {
		return "the order has it below, in the same room"
	}
	return ""
}

// room returns the index in rooms of the room that a package is in, -1 for none.
func room(path string) int {
	return slices.IndexFunc(rooms, func(r string) bool { return path == r || strings.HasPrefix(path, r+"/") })
}
