package config

import (
	_ "embed"
	"slices"
)

//go:generate go run ./internal/reference

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, for editors and other checkers. It knows the
// keys and the form of values; rules between keys are Load's alone.
func Schema() []byte { return slices.Clone(schema) }
