// Package testproto is the generated Go of test.proto, the API that the end-to-end and differential tests call: its
// messages, its gRPC client and server, and grpc-gateway's handler for it. testproto/testserver serves it. Nothing but
// tests imports it.
package testproto
