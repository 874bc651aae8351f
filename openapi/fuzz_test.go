package openapi_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/openapi"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// FuzzBuild describes whatever compiles as a set, which callers of the admin API may hand in.
func FuzzBuild(f *testing.F) {
	raw, err := os.ReadFile("../demo/shop.binpb")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, true)
	f.Add(raw, false)
	f.Fuzz(func(t *testing.T, raw []byte, unpopulated bool) {
		services, err := descriptors.Inspect("fuzz", raw)
		if err != nil {
			return
		}
		r := openapi.Route{JSON: codec.Options{EmitUnpopulated: unpopulated, ProtoNames: !unpopulated}, Forms: transcoder.AcceptForms}
		for _, s := range services {
			for _, m := range s.Methods {
				for _, b := range m.Bindings {
					r.Bindings = append(r.Bindings, openapi.Binding{Method: m, Rule: b})
				}
			}
		}
		text, err := openapi.Build(api(r)).AppendJSON(nil)
		if err != nil || !json.Valid(text) {
			t.Errorf("the document is %.300q, error %v", text, err)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	for name, source := range map[string]string{"etcd": etcd, "test API": testAPI} {
		b.Run(name, func(b *testing.B) {
			r := route(load(b, source), codec.Options{EmitUnpopulated: true})
			b.ReportAllocs()
			for b.Loop() {
				text, err := openapi.Build(api(r)).AppendJSON(nil)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(text)))
			}
		})
	}
}
