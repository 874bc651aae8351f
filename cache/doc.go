// Package cache keeps answers to GET and HEAD, and to POSTs and calls of gRPC without side effects, and gives them to those who ask
// for the same, as a shared cache does: RFC 9111, with the extensions of RFC 5861 for stale answers and the Cache-Status header
// of RFC 9211. docs/cache.md is the contract.
//
// It stands behind admission: who may not have an answer is refused before it is looked for. What is kept of a caller with
// credentials is given to others only where the backend says that it may be.
//
// It never connects to a backend: an [Origin] fetches what is not there. Types to know: [Store] is the memory of a process,
// [Policy] is what one route keeps, [Request] is one that was admitted.
package cache
