// Package ratelimit decides whether one more event fits a limit: (key, limit) in, a [Decision] with what remains and
// when to come again out. A limit is a steady rate with a burst (GCRA: one timestamp a key), a quota of a day, a week or a
// month of the calendar, or how much may go on at the same time.
//
// [Memory] counts on this node; [Redis] over all nodes, in one round trip for all limits of a request; [Leased] takes events
// from Redis in batches before they come; [Distributed], and Leased itself, have each limit's own answer to a Redis that
// is gone. The package knows no HTTP.
package ratelimit
