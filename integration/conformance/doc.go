// Package conformance runs the official protobuf conformance suite over the wire-to-wire codec: all tests, required and recommended,
// that read or write JSON, of proto2, proto3 and editions, with messages known only by descriptor.
//
// The suite's runner comes from npm: npm ci --prefix integration/conformance. What it skips is what the codec does not do: protobuf to
// protobuf and text format. Tests from JSON to JSON run both ways of the codec, one after the other.
package conformance
