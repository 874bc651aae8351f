// Package discovery learns the endpoints of an upstream: from DNS, from a file that something else writes, and from what
// services register in Redis.
//
// A [Source] runs until it is told to stop, and hands each list of endpoints that differs from the one before to whoever
// asked. What it cannot learn it does not report: a name server that fails, a file that is gone and an empty answer all
// leave the endpoints as they are, as a list that is out of date serves more requests than none.
package discovery
