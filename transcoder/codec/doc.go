// Package codec turns JSON into protobuf wire bytes and wire bytes into JSON for messages known only by descriptor.
//
// A [Codec] compiles, once for each method and HTTP binding, a [Request] that builds the request message of a JSON body
// with path and query parameters, and a [Response] that prints an answer. [Reference] does so through dynamicpb and
// protojson: it defines what is right.
package codec
