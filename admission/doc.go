// Package admission is the one path that every request, stream, WebSocket upgrade and WebSocket message takes:
// route, authenticate, authorise, limit. It ends in a [Ticket], or in a typed [Refusal] that each protocol words for
// itself. It never looks at a protocol's bytes.
//
// Limits by IP, header and route are charged before credentials are looked at, so that guessing has a price; limits by
// user and key after. [Admitter] admits requests, [Policy] is what a configured route asks for.
package admission
