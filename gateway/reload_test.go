package gateway

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestASourceThatHasNotChangedMakesNoSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "crossgate.yaml")
	text := "listeners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"off\"}\nroutes: [{name: a, match: {path: /a}, respond: {}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := Start(t.Context(), Options{ConfigPath: file, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Shutdown() }()
	if err := g.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	install := func() {
		t.Helper()
		g.rebuilding.Lock()
		defer g.rebuilding.Unlock()
		if err := g.install(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := g.snapshot.Load()
	install()
	if g.snapshot.Load() != before {
		t.Error("the same snapshot was compiled again")
	}
	_ = g.refused(io.ErrUnexpectedEOF)
	install()
	if g.snapshot.Load() == before || g.problem.Load() != nil {
		t.Error("what was wrong before still is, although everything compiles")
	}
}
