// Package proxy passes admitted HTTP requests on to HTTP backends, and their answers back, streaming both: RFC 9110
// sections 7.6 and 7.7 say what an intermediary may and must change. docs/http.md is the contract.
//
// What was authorised is what is forwarded: the path that goes out is made of the one that was matched, byte for byte,
// and one that a backend could read as another is refused.
//
// It never admits, and opens no connections itself. Types to know: [Handler] serves the requests of one route, [Redirect]
// answers them with a Location, [Call] is what the gateway knows of one request.
package proxy
