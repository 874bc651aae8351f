// Package config reads YAML files into one validated [Config].
//
// [Load] reads a file or a folder, [Parse] what is in memory. Keys are strict, values have units, ${NAME} stands for an
// environment variable, and every error names its file, line and column; all of them are returned at once, as
// [Errors]. A Config is immutable once it is loaded, and [Same] tells which of its sections a reload has to replace.
//
// The comments of the structs and their tags are the manual: docs/configuration.md and the JSON Schema that [Schema]
// returns are generated from them. To add a key, add a field with a comment and run go generate.
//
// The package opens no sockets, starts nothing, and does not look into the files a configuration names.
package config
