// Package fault is the errors that the gateway itself makes, whatever the protocol they go out by. Each has a [Reason],
// and so a gRPC code, an HTTP status and a google.rpc.ErrorInfo whose domain is [Domain]: by that a caller tells them
// from the errors of a backend, which pass as they came. docs/errors.md lists the reasons.
//
// It renders nothing: package transcoder does, one function per protocol.
package fault
