// Package conformance runs the official protobuf conformance suite over the wire-to-wire codec: all tests, required and recommended,
// that read or write JSON, of proto2, proto3 and editions, with messages known only by descriptor. The suite's runner comes
// from npm: npm ci --prefix integration/conformance.
//
// Of the tests of version 33.2, up to edition 2023, these run and pass; none with JSON is skipped, and none is expected to fail:
//
//	             protobuf to JSON   JSON to protobuf   JSON to JSON
//	required                1,202                454            672
//	recommended                50                 80            304
//
// From JSON to JSON they run both ways of the codec, one after the other. What is skipped is what a codec for JSON does not do:
//
//	protobuf to protobuf           2,805   the bytes would have to be parsed and written again; no JSON is in it
//	text format, in or out           883   the codec has none
package conformance
