package admission

import (
	"encoding/hex"
	"strings"
)

// normal is a path as rules and authorisation services see it: letters, digits, "-", ".", "_" and "~" are never escaped, and
// other escapes are in upper case (RFC 3986 section 6.2.2). A backend that decodes the path sees the same, so that a rule about
// /admin holds for /%61dmin.
func normal(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' || i+2 >= len(path) {
			b = append(b, c)
			continue
		}
		var escaped [1]byte
		if _, err := hex.Decode(escaped[:], []byte(path[i+1:i+3])); err != nil {
			b = append(b, c)
			continue
		}
		if unreserved(escaped[0]) {
			b = append(b, escaped[0])
		} else {
			b = append(append(b, c), strings.ToUpper(path[i+1:i+3])...)
		}
		i += 2
	}
	return string(b)
}

// unreserved reports whether a character means the same escaped or not (RFC 3986 section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
