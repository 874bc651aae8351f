package descriptors

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestAChangeOfAnImportOutsideTheGlobsIsCompiled(t *testing.T) {
	root := t.TempDir()
	common := root + "/common/name.proto"
	write(t, root+"/shop/shop.proto", []byte(`syntax = "proto3"; package shop; import "common/name.proto"; service Shop { rpc Get(common.Name) returns (common.Name); }`))
	write(t, common, []byte(`syntax = "proto3"; package common; message Name { string old = 1; }`))
	l := loader(t, "descriptors: [{protos: {root: "+root+", files: [\"shop/*.proto\"]}}]", nil, nil, func() {})
	for _, field := range []string{"old", "new"} {
		write(t, common, []byte(`syntax = "proto3"; package common; message Name { string `+field+` = 1; }`))
		set, err := l.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Service("shop.Shop").Methods[0].Descriptor.Input().Fields().Get(0).Name(); string(got) != field {
			t.Errorf("the field is %s, want %s", got, field)
		}
	}
}

func TestAnUnchangedTreeIsNotCompiledAgain(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/a.proto", []byte(`syntax = "proto3"; package a; message M {} service A { rpc Get(M) returns (M); }`))
	l := loader(t, "descriptors: [{protos: {root: "+root+"}}]", nil, nil, func() {})
	first, err := l.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.Load(context.Background())
	if err != nil || again.Service("a.A").Descriptor != first.Service("a.A").Descriptor {
		t.Errorf("the same tree was compiled anew; %v", err)
	}
	write(t, root+"/b.proto", []byte(`syntax = "proto3"; package a; service B { }`))
	if again, err = l.Load(context.Background()); err != nil || again.Service("a.B") == nil {
		t.Errorf("a file that was added is missing; %v", err)
	}
	if err := os.Remove(root + "/b.proto"); err != nil {
		t.Fatal(err)
	}
	if again, err = l.Load(context.Background()); err != nil || again.Service("a.B") != nil {
		t.Errorf("a file that was removed is still there; %v", err)
	}
}

func TestEveryErrorOfATreeSaysWhere(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"an import that is not there", "syntax = \"proto3\";\nimport \"no/such.proto\";\n", []string{"/a.proto:2:8: ", "no/such.proto"}},
		{"an import that leads out of the root", "syntax = \"proto3\";\nimport \"../../etc/passwd\";\n", []string{"/a.proto:2:8: "}},
		{"an import of itself", "syntax = \"proto3\";\nimport \"a.proto\";\n", []string{"/a.proto:2:8: ", "cycle"}},
		{"two errors", "syntax = \"proto3\";\nmessage M {\n  Nothing a = 1;\n  Neither b = 2;\n}\n", []string{"/a.proto:3:3: ", "/a.proto:4:3: "}},
		{"an annotation that is none", "syntax = \"proto3\";\nimport \"google/api/annotations.proto\";\nmessage M {}\nservice A { rpc Get(M) returns (M) {\n option (google.api.http) = { gett: \"/x\" };\n} }\n",
			[]string{"/a.proto:5:31: ", "gett"}},
		{"nothing that is proto", "\xff\x00", []string{"/a.proto:1:1: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root+"/a.proto", []byte(c.text))
			_, err := load(t, "descriptors: [{protos: {root: "+root+"}}]", nil)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
		})
	}
}

func TestATreeWithoutFilesIsRefused(t *testing.T) {
	root := t.TempDir()
	file := write(t, root+"/notes.txt", []byte("no"))
	for where, want := range map[string]string{root: "no .proto file below " + root, file: "is no folder", root + "/none": "no such file"} {
		_, err := load(t, "descriptors: [{protos: {root: "+where+"}}]", nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/etc/crossgate.yaml:1:15") {
			t.Errorf("%s: error %v, want its place in the configuration and %q", where, err, want)
		}
	}
}
