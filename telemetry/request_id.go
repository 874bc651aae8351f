package telemetry

import (
	"encoding/hex"
	"math/rand/v2"
)

// NewRequestID returns 32 hexadecimal digits, unique for all practical purposes: 128 bits of the runtime's ChaCha8
// generator, which is seeded from the operating system. An id is a name, not a secret.
func NewRequestID() string {
	var id [16]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		id[i], id[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	var text [32]byte
	hex.Encode(text[:], id[:])
	return string(text[:])
}

// ValidRequestID reports whether an id that came from outside may be kept: 1 to 128 characters, letters, digits and
// "-_.:/+=" only.
func ValidRequestID(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=':
		default:
			return false
		}
	}
	return true
}

// TraceID returns the trace id of a traceparent header (W3C Trace Context section 3.2), or "" when it is malformed.
func TraceID(traceparent string) string {
	// version "-" trace-id "-" parent-id "-" flags; later versions may append more after another "-".
	if len(traceparent) < 55 || traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-' {
		return ""
	}
	version, trace, parent, flags := traceparent[:2], traceparent[3:35], traceparent[36:52], traceparent[53:55]
	if version == "ff" || version == "00" && len(traceparent) != 55 || len(traceparent) > 55 && traceparent[55] != '-' {
		return ""
	}
	if !isHex(version) || !isHex(trace) || !isHex(parent) || !isHex(flags) || allZero(trace) || allZero(parent) {
		return ""
	}
	return trace
}

// isHex reports whether s is lower-case hexadecimal, the only case the header may have.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
