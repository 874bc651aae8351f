// Package transcoder serves gRPC methods to HTTP clients that speak JSON. [Compile] turns one method and one of its HTTP
// bindings into a [Method], once; [Method.Serve] then makes wire bytes of a request's body, path and query, calls the
// backend, and makes JSON of what comes back: one answer, or a stream of lines or events. A body that is
// a google.api.HttpBody passes as it is, both ways.
//
// It opens no connections: a [Backend] is handed in. [WriteError] is the one place that renders a gRPC status as an
// HTTP error.
package transcoder
