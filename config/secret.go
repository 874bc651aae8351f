package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that is never printed: it formats, logs and marshals as [redacted].
type Secret string

const redacted = "[redacted]"

// Reveal returns the value itself. Callers hand it to what verifies or connects, and to nothing that prints.
func (s Secret) Reveal() string { return string(s) }

// String returns [redacted], as every other way to print a Secret does.
func (s Secret) String() string { return redacted }

// GoString is String, for %#v.
func (s Secret) GoString() string { return redacted }

// Format is String, for every verb: without it %x and %q would print the bytes.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue is String, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is String, for YAML and everything else that takes text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is String, for JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
