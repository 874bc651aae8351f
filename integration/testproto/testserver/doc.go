// Package testserver is a gRPC backend for tests: it serves testproto, answers each request in a way that the request
// decides, and does what the caller's metadata tells it. It never chooses anything itself: no clock, no chance.
//
// [Start] serves on a free loopback port until the test ends. Metadata that steers a call of any method:
//
//	x-test-send-header  any value: a unary call's response headers go out before what follows
//	x-test-delay        a duration to wait first, or until the caller is gone
//	x-test-code         a google.rpc.Code; the call ends with it, a stream before its first message
//	x-test-message      the message of that status
//	x-test-header-*     comes back as response metadata, under the same key
//	x-test-return-*     comes back as response metadata, under the rest of the key
//	x-test-trailer-*    comes back as trailing metadata, under the same key
//
// A gRPC-JSON gateway takes them as Grpc-Metadata-X-Test-Delay and so on.
package testserver
