// Package upstream keeps named pools of gRPC backends: their connections, which of them takes the next call, and how
// they come back after a failure. It moves bytes: a message is in protobuf wire format, never decoded.
//
// [Open] makes a [Set] of a configuration and carries over the pools whose configuration did not change. A [Pool] calls
// a method ([Pool.Invoke], [Pool.NewStream]) or passes a whole native gRPC request through ([Pool.RoundTrip]). The
// package knows no routes.
//
// A pool's endpoints are listed or learnt (internal/discovery), checked (internal/health) and judged by what becomes of
// their requests. Each request takes a turn through them: the first is chosen by the pool's policy, the others are for when
// it cannot be reached. [Pool.For] is the pool as a route calls it, which may try again, hedge and give up.
//
// Unary calls go over connections of internal/unary, which costs a third of what grpc-go's client does; streams, and what
// generated clients ask, go over grpc-go's.
package upstream
