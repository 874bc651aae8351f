package descriptors

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/integration/redistest"
)

func versionNumbers(t *testing.T, r *Registry, name string) (numbers []int64) {
	t.Helper()
	list, err := r.Versions(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if v.Name != name || v.Raw != nil || v.Size == 0 || len(v.SHA256) != 64 || v.Created.IsZero() {
			t.Errorf("version %+v", v)
		}
		numbers = append(numbers, v.Version)
	}
	return numbers
}

func TestVersionsAreKeptUpToTheirNumberAndGoWithTheSet(t *testing.T) {
	client := clientOf(redistest.Start(t))
	defer client.Close()
	ctx := context.Background()
	r := NewRegistry(client, "cg:", 3)
	if _, err := r.Versions(ctx, "a"); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("before it is there: %v", err)
	}
	for _, raw := range []string{"\x00one", "two\r\n", "three", "four", "four"} {
		if _, err := put(ctx, r, "a", []byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := put(ctx, r, "b", []byte("other")); err != nil {
		t.Fatal(err)
	}
	if got := versionNumbers(t, r, "a"); len(got) != 3 || got[0] != 4 || got[2] != 2 {
		t.Errorf("versions %v, want 4, 3 and 2", got)
	}
	for version, want := range map[int64]string{2: "two\r\n", 3: "three", 4: "four", 0: "three"} {
		if v, err := r.Version(ctx, "a", version); err != nil || string(v.Raw) != want {
			t.Errorf("version %d is %q, %v; want %q", version, v.Raw, err, want)
		}
	}
	for _, version := range []int64{1, 5, -1} {
		if _, err := r.Version(ctx, "a", version); !errors.Is(err, ErrNoVersion) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if _, err := r.Version(ctx, "b", 0); !errors.Is(err, ErrNoVersion) || !strings.Contains(err.Error(), "none before version 1") {
		t.Errorf("the one before the first: %v", err)
	}
	if err := remove(ctx, r, "a"); err != nil {
		t.Fatal(err)
	}
	if keys := client.Keys(ctx, "*:a").Val(); len(keys) > 0 {
		t.Errorf("what is left of a deleted set: %v", keys)
	}
}

func TestAChangeAtAnOldRevisionIsRefused(t *testing.T) {
	client := clientOf(redistest.Start(t))
	defer client.Close()
	ctx := context.Background()
	r := NewRegistry(client, "cg:", 3)
	_, before, err := r.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(ctx, "a", []byte("x"), before); err != nil {
		t.Fatal(err)
	}
	// A set of another name may have what this one has, so it counts too.
	if _, err := r.Put(ctx, "b", []byte("x"), before); !errors.Is(err, ErrChanged) {
		t.Errorf("put: %v", err)
	}
	if err := r.Delete(ctx, "a", before); !errors.Is(err, ErrChanged) {
		t.Errorf("delete: %v", err)
	}
	if list, at, err := r.List(ctx); err != nil || len(list) != 1 || at != before+1 {
		t.Errorf("%d sets at %d, %v", len(list), at, err)
	}
}

func TestACandidateSaysWhatItBreaksOfTheVersionInForce(t *testing.T) {
	ctx := context.Background()
	r := newRegistry(t)
	l := loader(t, "http: {rules: [{selector: shop.v1.Stock.Count, get: /v1/count}]}", r, nil, func() {})
	first := protoSet(t, "shop.proto", shopProto)
	c, err := l.LoadWith(ctx, "shop", first)
	if err != nil || len(c.Breaks) > 0 {
		t.Fatalf("the first version: %v, %v", c, err)
	}
	if _, err := r.Put(ctx, "shop", first, c.Revision); err != nil {
		t.Fatal(err)
	}
	c, err = l.LoadWith(ctx, "shop", protoSet(t, "shop.proto", edit(t, "int64 price = 2;", "string price = 2;")))
	if err != nil || len(c.Breaks) != 1 || c.Breaks[0].Kind != FieldTypeChanged {
		t.Errorf("%v, %v", c, err)
	}
}
