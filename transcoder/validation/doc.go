// Package validation checks messages by the rules that their .proto files have for them (buf.validate), before a backend
// is asked. A [Compiler] compiles the rules of a message type, and of all types it leads to, once; a broken rule is an
// error of the load then. [Rules.Check] takes a message as it stands on the wire.
//
// Types without rules cost nothing: they have no Rules. What a type with rules costs is bounded by what a message of it may
// hold ([maxWeight]), since to check it is to build it.
package validation
