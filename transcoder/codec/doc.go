// Package codec turns JSON into protobuf wire bytes and wire bytes into JSON for messages known only by descriptor, without
// building a message in between.
//
// # What to know
//
// A [Compiler] compiles a message type, and all types it leads to, into a [Program], once. A program runs both ways:
// [Program.AppendWire] reads JSON and writes wire bytes, [Program.AppendJSON] reads wire bytes and writes JSON. Both append to
// what the caller gives them and allocate nothing when that is large enough.
//
// A [Codec] is what an HTTP gateway needs on top: it compiles, for each method and HTTP binding, a [Request] that builds the request
// message of a body with path and query parameters, and a [Response] that prints an answer or one field of it. [Wire] is the one over
// programs. [Reference] does the same through dynamicpb and protojson: it is the oracle that every test
// of this package asks, and it defines what is right.
//
// # JSON to wire
//
// A decoder goes over the text once and writes as it goes. The field it expects next is the one declared after the last, which
// it tries first, by one comparison with the name and its closing quote; any other name is looked up in a table of JSON
// names and proto names. A bit for each field, oneof and required field finds what comes twice or not at all. A length is written
// when what it measures has been: one byte is reserved for it, or as many as the message before it in the same list needed, and what
// follows moves if that was wrong. Messages nested more than 32 deep get lengths of five bytes, so that nothing moves.
//
// Parameters are kept in order of their paths. Those for a message that the body has are written into it before it is closed, so that
// each embedded message stands once: protobuf says to merge one that comes twice, but some decoders replace it.
//
// # Wire to JSON
//
// An encoder goes over the bytes once as long as they are as every encoder writes them: fields in order of their numbers, each repeated
// field in one piece, no map key and no singular field twice, members of a oneof wherever they like. Then nothing needs to be remembered
// but the number of the last field, and what is to be printed for fields that are not set is a stretch of one prepared text.
// Anything else that is legal (fields in another order, messages in pieces to be merged, values that later ones replace) is found as
// it comes up, and the conversion begins again in its other way: the fields of each message are collected and sorted before they are
// written. That costs a few times more, and no more for hostile input than for honest.
//
// # What it accepts and prints
//
// Exactly what protojson accepts, and the values that protojson prints; fuzzing compares them. The differences, all intended:
//
//   - There is no space between tokens. (protojson puts some in at random.)
//   - Fields are printed in order of their numbers, not of their declaration, and map entries in the order of the wire, not sorted.
//     Fields that are not set come where their number says, as far as the input is in order.
//   - On the wire, fields are in the order that the JSON has them.
//   - An object that nests google.protobuf.Any very deeply, with "@type" behind much of what it describes, is refused, because finding
//     the type takes another look at all of it.
//   - Messages on the wire that nest groups very deeply, or many times split messages, are refused when measuring or merging them would take
//     64 times the length of the input.
//   - The limits of [Limits] apply.
//
// # What it never does
//
// It opens nothing, logs nothing, keeps nothing of its input, and uses neither unsafe nor assembly.
package codec
