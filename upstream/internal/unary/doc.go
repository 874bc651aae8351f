// Package unary makes unary gRPC calls, with messages that are wire bytes already, over HTTP/2 connections of its own
// (RFC 9113; grpc's PROTOCOL-HTTP2.md).
//
// It exists because such calls are most of what a gateway does, and a general client spends more on one than the rest of
// the gateway does: contexts, goroutine switches and header tables for features that a call of one message each way has
// no use for. Here a caller writes its own frames, together with those of other callers that are ready at the same time;
// one goroutine reads a connection, and puts an answer straight into the buffer of the caller that waits for it.
//
// [Conn] is one connection, [Call] and [Reply] are what goes over it. The package never dials, never tries a call again
// and never looks into a message: package upstream does the first two.
package unary
