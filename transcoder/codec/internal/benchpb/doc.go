// Package benchpb is the messages that the benchmarks convert, generated from bench.proto.
package benchpb
