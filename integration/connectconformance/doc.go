// Package connectconformance runs the connectrpc conformance suite over a gateway: its tests of servers, by gRPC,
// gRPC-Web and Connect, with the suite's own reference server behind the gateway as the gRPC backend.
// testdata/known-failing.txt lists the cases that fail, with the reasons.
//
// The suite is a Go module, pinned by tools/conformance.mod. Its runner starts this package's test program, which is then
// the server under test: a gateway and its backend.
package connectconformance
