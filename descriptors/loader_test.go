package descriptors

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
)

func newRegistry(t *testing.T) *Registry {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	return NewRegistry(client, "cg:", 3)
}

func TestOnlyTheSourceThatChangedIsCompiledAgain(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir+"/one.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	two := write(t, dir+"/two.binpb", marshal(t, service("b.proto", "b.v1", "B")))
	text := "descriptors: [{file: " + one + "}, {file: " + two + "}]"
	l := loader(t, text, nil, nil, func() {})
	before, err := l.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("/etc/crossgate.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	next, err := NewLoader(cfg, nil, nil, l, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Loader{l, next} {
		if again, err := l.Load(context.Background()); again != before {
			t.Errorf("the set is another one although no source has changed, or %v", err)
		}
	}
	write(t, two, marshal(t, service("b.proto", "b.v1", "New")))
	after, err := next.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if after.Service("a.v1.A").Descriptor != before.Service("a.v1.A").Descriptor {
		t.Error("the source that did not change was compiled again by the next loader")
	}
	if after.Service("b.v1.B") != nil || after.Service("b.v1.New") == nil {
		t.Error("the source that changed was not compiled again")
	}
}

func TestTheRulesOfANewConfigurationMakeAnotherSet(t *testing.T) {
	file := write(t, t.TempDir()+"/a.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	text := "descriptors: [{file: " + file + "}]\n"
	l := loader(t, text, nil, nil, func() {})
	if _, err := l.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("/etc/crossgate.yaml", []byte(text+"http: {rules: [{selector: a.v1.A.Get, get: /v1/new}]}"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := NewLoader(cfg, nil, nil, l, func() {})
	if err != nil {
		t.Fatal(err)
	}
	set, err := next.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if b := set.Service("a.v1.A").Methods[0].Bindings; len(b) != 1 || b[0].Template != "/v1/new" {
		t.Errorf("bindings %v", b)
	}
}

func TestAFileThatBreaksIsAnErrorWithItsPlaceAndTheNextGoodOneLoads(t *testing.T) {
	file := write(t, t.TempDir()+"/a.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	l := loader(t, "descriptors:\n- {name: shop, file: "+file+"}", nil, nil, func() {})
	good, err := l.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, []byte("half"))
	if _, err := l.Load(context.Background()); err == nil || !strings.Contains(err.Error(), "/etc/crossgate.yaml:2:3: descriptors: shop: ") {
		t.Errorf("error %v", err)
	}
	write(t, file, marshal(t, service("a.proto", "a.v1", "A")))
	again, err := l.Load(context.Background())
	if err != nil || again.Service("a.v1.A").Descriptor != good.Service("a.v1.A").Descriptor {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := load(t, "descriptors: [{file: "+file+".none}]", nil); err == nil || !strings.Contains(err.Error(), "/etc/crossgate.yaml:1:15: descriptors: ") {
		t.Errorf("a file that is not there: error %v", err)
	}
}

func TestACandidateIsCheckedAgainstTheOtherSources(t *testing.T) {
	file := write(t, t.TempDir()+"/a.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	r := newRegistry(t)
	l := loader(t, "descriptors: [{name: shop, file: "+file+"}]", r, nil, func() {})
	_, err := l.LoadWith(context.Background(), "copy", marshal(t, service("other.proto", "a.v1", "A")))
	if err == nil || !strings.Contains(err.Error(), "service a.v1.A is in both") || !strings.Contains(err.Error(), "shop") || !strings.Contains(err.Error(), "copy") {
		t.Errorf("error %v, want both places", err)
	}
	if set, err := l.Load(context.Background()); err != nil || len(set.Services()) != 1 {
		t.Errorf("after a refused candidate: %v, %v", set, err)
	}
}

func TestACandidateReplacesTheSetOfItsName(t *testing.T) {
	ctx := context.Background()
	r := newRegistry(t)
	if _, err := put(ctx, r, "a", marshal(t, service("a.proto", "a.v1", "Old"))); err != nil {
		t.Fatal(err)
	}
	l := loader(t, "", r, nil, func() {})
	set, err := l.LoadWith(ctx, "a", marshal(t, service("a.proto", "a.v1", "New")))
	if err != nil || set.Service("a.v1.Old") != nil || set.Service("a.v1.New") == nil {
		t.Errorf("%v, %v", set, err)
	}
	if set, err := l.LoadWithout(ctx, "a"); err != nil || len(set.Services()) != 0 {
		t.Errorf("without it: %v, %v", set, err)
	}
	if set, err := l.Load(ctx); err != nil || set.Service("a.v1.Old") == nil {
		t.Errorf("nothing was registered, yet: %v, %v", set, err)
	}
}

func TestARegisteredSetThatBreaksInRedisKeepsItsLastGoodContent(t *testing.T) {
	ctx := context.Background()
	r := newRegistry(t)
	if _, err := put(ctx, r, "a", marshal(t, service("a.proto", "a.v1", "A"))); err != nil {
		t.Fatal(err)
	}
	l := loader(t, "", r, nil, func() {})
	if _, err := l.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := put(ctx, r, "a", []byte("from a node of another version")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		set, err := l.Load(ctx)
		if err != nil || set.Service("a.v1.A") == nil || len(set.Pending) != 1 || !strings.Contains(set.Pending[0], "registered set a") {
			t.Errorf("%+v, %v", set, err)
		}
	}
	if set, err := load(t, "", r); err != nil || len(set.Services()) != 0 || len(set.Pending) != 1 {
		t.Errorf("a node that starts now: %+v, %v", set, err)
	}
	if err := remove(ctx, r, "a"); err != nil {
		t.Fatal(err)
	}
	if set, err := l.Load(ctx); err != nil || len(set.Services()) != 0 || len(set.Pending) != 0 {
		t.Errorf("once it is deleted: %+v, %v", set, err)
	}
}

func TestLoadsMayComeAtOnce(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/b.proto", []byte(`syntax = "proto3"; package b; message M {} service B { rpc Get(M) returns (M); }`))
	l := loader(t, "descriptors: [{protos: {root: "+root+"}}]", newRegistry(t), nil, func() {})
	raw := marshal(t, service("a.proto", "a.v1", "A"))
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			if _, err := l.Load(context.Background()); err != nil {
				t.Error(err)
			}
		})
		running.Go(func() {
			if _, err := l.LoadWith(context.Background(), "a", raw); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
}
