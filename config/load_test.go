package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFolderIsOneConfiguration(t *testing.T) {
	t.Parallel()
	folder := writeFolder(t, map[string]string{
		"10-base.yaml":    "log: {level: warn}\nupstreams: [{name: shop, endpoints: [\"a:1\"], tls: {ca: ca.pem}}]\n",
		"20-shop.yml":     "routes: [{name: shop, grpc: {upstream: shop}}]\ndescriptors: [{file: shop.binpb}]\n",
		"30-empty.yaml":   "# nothing\n",
		"40-chat.yaml":    "routes: [{name: chat, match: {path: /ws}, websocket: {service: chat}}]\n",
		"notes.txt":       "not: [yaml",
		".hidden.yaml":    "unknown: 1",
		"below/more.yaml": "unknown: 1",
	})
	c, err := Load(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range c.Routes {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"shop", "chat"}) || c.Log.Level != "warn" {
		t.Errorf("routes %q, level %s", names, c.Log.Level)
	}
	if want := (Position{filepath.Join(folder, "40-chat.yaml"), 1, 10}); c.Routes[1].Pos != want {
		t.Errorf("chat stands at %s, want %s", c.Routes[1].Pos, want)
	}
	if got := string(c.Upstreams[0].TLS.CA); got != filepath.Join(folder, "ca.pem") {
		t.Errorf("ca is %s", got)
	}
	if len(c.Files) != 4 || c.Files[1] != filepath.Join(folder, "20-shop.yml") {
		t.Errorf("files %q", c.Files)
	}
}

func TestErrorsOfAFolderNameTheirFile(t *testing.T) {
	t.Parallel()
	folder := writeFolder(t, map[string]string{
		"a.yaml": "admin: {address: 127.0.0.1:1}\nupstreams: [{name: shop, endpoints: [\"a:1\"]}]\n",
		"b.yaml": "log: {level: loud}\nadmin: {address: 127.0.0.1:2}\nupstreams:\n  - {name: shop, endpoints: [\"a:1\"]}\n",
		"c.yaml": "routes: [{name: shop, grpc: {upstream: shpo}}]\n",
	})
	_, err := Load(t.Context(), folder)
	want := strings.TrimPrefix(`
b.yaml:1:14: level: "loud" is not one of debug, info, warn or error
b.yaml:2:1: admin was given before, at a.yaml:1:1
b.yaml:4:12: upstreams: the name "shop" is taken, at a.yaml:2:20
c.yaml:1:40: there is no upstream named "shpo"; did you mean "shop"?`, "\n")
	if err == nil || strings.ReplaceAll(err.Error(), folder+"/", "") != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	var all Errors
	if !errors.As(err, &all) || len(all) != 4 || all[0].Pos.Line != 1 {
		t.Errorf("the error is a %T", err)
	}
}

func TestABrokenFileOfAFolderHidesNoErrorsOfTheOthers(t *testing.T) {
	t.Parallel()
	folder := writeFolder(t, map[string]string{
		"a.yaml": "routes: [{name: shop, timeout: soon, grpc: {upstream: shop}}]\n",
		"b.yaml": "upstreams: [{name: shop\n",
	})
	_, err := Load(t.Context(), folder)
	want := strings.TrimPrefix(`
a.yaml:1:32: timeout: "soon" is not a duration; expected a number with a unit, as 250ms, 5s, 10m, 2h or 7d
b.yaml:1: did not find expected ',' or '}'`, "\n")
	if err == nil || strings.ReplaceAll(err.Error(), folder+"/", "") != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestRelativePathsAreRelativeToTheFile(t *testing.T) {
	t.Parallel()
	folder := writeFolder(t, map[string]string{
		"conf/c.yaml": "descriptors: [{file: ../shop.binpb}, {file: /etc/shop.binpb}, {protos: {root: .}}]\n",
	})
	c, err := Load(t.Context(), filepath.Join(folder, "conf", "c.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got := []Path{c.Descriptors[0].File, c.Descriptors[1].File, c.Descriptors[2].Protos.Root}
	want := []Path{Path(filepath.Join(folder, "shop.binpb")), "/etc/shop.binpb", Path(filepath.Join(folder, "conf"))}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	c = mustParse(t, "descriptors: [{file: shop.binpb}]")
	if got := string(c.Descriptors[0].File); !filepath.IsAbs(got) || filepath.Base(got) != "shop.binpb" {
		t.Errorf("a relative name of the configuration: file is %s", got)
	}
	if c.Files != nil {
		t.Errorf("what is in memory has files: %q", c.Files)
	}
}

func TestWhatCannotBeReadIsAnErrorWithItsName(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	_, err := Load(t.Context(), filepath.Join(folder, "c.yaml"))
	if want := filepath.Join(folder, "c.yaml") + ": stat: no such file or directory"; err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	_, err = Load(t.Context(), folder)
	if want := folder + ": the folder has no *.yaml or *.yml file"; err == nil || err.Error() != want {
		t.Errorf("a folder without files: %v", err)
	}
	if err := os.Symlink("nowhere", filepath.Join(folder, "c.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err = Load(t.Context(), folder)
	if want := filepath.Join(folder, "c.yaml") + ": open: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("a link to nothing: %v", err)
	}
}

func TestErrorsAreFlattened(t *testing.T) {
	t.Parallel()
	here, there := Position{"c.yaml", 1, 2}, Position{"c.yaml", 3, 4}
	var l Errors
	l.Add(here, nil)
	if l.Err() != nil {
		t.Error("nothing is an error")
	}
	l.Add(here, errors.New("plain"))
	l.Add(here, Errorf(there, "placed"))
	l.Add(here, Errorf(Position{}, "without a place"))
	l.Add(here, errors.Join(errors.New("one"), Errors{Errorf(there, "two")}))
	want := "c.yaml:1:2: plain\nc.yaml:3:4: placed\nc.yaml:1:2: without a place\nc.yaml:1:2: one\nc.yaml:3:4: two"
	if l.Err() == nil || l.Error() != want {
		t.Errorf("got:\n%s\nwant:\n%s", l, want)
	}
	if got := Errorf(here, "x: %w", fs.ErrExist); !errors.Is(Errors{got}, fs.ErrExist) {
		t.Error("what an error wraps is not found in Errors")
	}
}
