// Package mirror sends copies of a share of a route's requests to a second upstream, and drops the answers: a new version
// sees real requests before anybody sees its answers. A [Mirror] is laid over the backend that a route calls.
//
// It never slows the caller: a copy is made of what passes by anyway, and waits in a bounded queue for one of a bounded
// number of goroutines, or is dropped and counted. Nothing that happens to a copy reaches the caller, nor the other way
// round: a copy has a deadline of its own, and a caller that goes away does not end it.
//
// Streams are not copied.
package mirror
