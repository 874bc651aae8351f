package admission

import "strings"

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
		high, low := digit(path[i+1]), digit(path[i+2])
		if high > 0xf || low > 0xf {
			b = append(b, c)
			continue
		}
		i += 2
		if c = high<<4 | low; unreserved(c) {
			b = append(b, c)
		} else {
			const digits = "0123456789ABCDEF"
			b = append(b, '%', digits[high], digits[low])
		}
	}
	return string(b)
}

// digit is the value of a hexadecimal digit, more than 15 for anything else.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// unreserved reports whether a character means the same escaped or not (RFC 3986 section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
