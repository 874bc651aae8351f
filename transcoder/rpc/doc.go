// Package rpc serves gRPC methods at their own paths, POST /package.Service/Method, to clients that speak gRPC, gRPC-Web
// or Connect, all from the same gRPC backend. [Detect] says which of them a request speaks, a [Handler] serves the
// calls of one method, and [Refuse] words a status that no backend was asked for.
//
// Messages pass untouched, compressed ones too: what changes is what stands around them. Only Connect's JSON is
// translated, by the programs of package codec. The package opens no connections: a [Backend] is handed in.
//
// docs/protocols.md has the mapping of headers, trailers and errors.
package rpc
