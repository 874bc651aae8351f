package descriptors_test

import (
	"fmt"
	"os"

	"github.com/crossgate/crossgate/descriptors"
)

func ExampleInspect() {
	raw, err := os.ReadFile("testdata/etcd.binpb")
	if err != nil {
		fmt.Println(err)
		return
	}
	services, err := descriptors.Inspect("etcd.binpb", raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range services {
		if s.Descriptor.Name() != "Lease" {
			continue
		}
		for _, m := range s.Methods {
			fmt.Println(m.FullMethod, m.Kind())
			for _, b := range m.Bindings {
				fmt.Printf("  %s %s body:%q\n", b.HTTPMethod, b.Template, b.Body)
			}
		}
	}
	// Output:
	// /etcdserverpb.Lease/LeaseGrant unary
	//   POST /v3/lease/grant body:"*"
	// /etcdserverpb.Lease/LeaseRevoke unary
	//   POST /v3/lease/revoke body:"*"
	//   POST /v3/kv/lease/revoke body:"*"
	// /etcdserverpb.Lease/LeaseKeepAlive bidi stream
	//   POST /v3/lease/keepalive body:"*"
	// /etcdserverpb.Lease/LeaseTimeToLive unary
	//   POST /v3/lease/timetolive body:"*"
	//   POST /v3/kv/lease/timetolive body:"*"
	// /etcdserverpb.Lease/LeaseLeases unary
	//   POST /v3/lease/leases body:"*"
	//   POST /v3/kv/lease/leases body:"*"
}
