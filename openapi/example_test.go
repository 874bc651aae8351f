package openapi_test

import (
	"fmt"
	"os"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/openapi"
)

func ExampleBuild() {
	raw, err := os.ReadFile("../integration/testdata/etcd.binpb")
	if err != nil {
		fmt.Println(err)
		return
	}
	services, err := descriptors.Inspect("etcd.binpb", raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	var route openapi.Route
	for _, s := range services {
		for _, m := range s.Methods {
			for _, b := range m.Bindings {
				route.Bindings = append(route.Bindings, openapi.Binding{Method: m, Rule: b})
			}
		}
	}
	doc := openapi.Build(&openapi.API{Title: "etcd", Version: "3", Routes: []openapi.Route{route}})
	put := doc.Paths.Get("/v3/kv/put").Post
	fmt.Println(put.OperationID)
	fmt.Println(put.RequestBody.Content.Get("application/json").Schema.Ref)
	// Output:
	// etcdserverpb.KV.Put
	// #/components/schemas/etcdserverpb.PutRequest
}
