// Package ratelimit decides whether one more event fits a limit: (key, limit) in, a [Decision] with what remains and
// when to come again out. Limits follow the generic cell rate algorithm (GCRA): a steady rate with a burst, one
// timestamp a key.
//
// [Memory] counts on this node, [Redis] over all nodes in one round trip for all limits of a request, and
// [Distributed] is Redis with each limit's own answer to a Redis that is gone. The package knows no HTTP.
package ratelimit
