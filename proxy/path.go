package proxy

import (
	"net/url"
	"slices"
	"strings"

	"github.com/crossgate/crossgate/fault"
)

// allowed are the odd things that a route takes in a path.
type allowed struct {
	encodedSlash, emptySegment, parameters bool
}

func allowedOf(words []string) allowed {
	return allowed{
		encodedSlash: slices.Contains(words, "encoded_slash"),
		emptySegment: slices.Contains(words, "empty_segment"),
		parameters:   slices.Contains(words, "parameters"),
	}
}

// check refuses a path, percent-encoded, of which backends differ on what it means: one that decodes, merges slashes, drops
// parameters or resolves dots before it routes would find another resource there than the one that was authorised.
func (a allowed) check(path string) *fault.Error {
	if path == "" || path[0] != '/' {
		return badPath("does not begin with a slash")
	}
	decode := false
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '/':
			if i > 0 && path[i-1] == '/' && !a.emptySegment {
				return badPath("has an empty segment, //")
			}
		case '.':
			decode = decode || i > 0 && path[i-1] == '/'
		case ';':
			if !a.parameters {
				return badPath("has a semicolon")
			}
			decode = true
		case '%':
			if i+2 >= len(path) {
				return badPath("has a broken escape")
			}
			switch c := unhex(path[i+1])<<4 | unhex(path[i+2]); {
			case (c == '/' || c == '\\') && !a.encodedSlash:
				return badPath("has an escaped slash or backslash")
			case c == ';' && !a.parameters:
				return badPath("has an escaped semicolon")
			case c < ' ' || c == 0x7f:
				return badPath("has an escaped control character")
			case overlong(path[i:]):
				return badPath("has a character in more bytes than it has")
			}
			decode = true
			i += 2
		default:
			if path[i] <= ' ' || path[i] == 0x7f {
				return badPath("has a space or a control character")
			}
		}
	}
	if decode && hasDots(path) {
		return badPath("has a . or .. segment")
	}
	return nil
}

func badPath(what string) *fault.Error { return fault.New(fault.MalformedPath, "the path "+what) }

// hasDots reports whether a path has dot segments in any spelling, also for one who decodes slashes and drops parameters.
func hasDots(path string) bool {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return true
	}
	for segment := range strings.FieldsFuncSeq(plain, func(r rune) bool { return r == '/' || r == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// overlong reports whether escapes begin a character in more bytes of UTF-8 than it has, such as %c0%ae, which decoders that are
// lenient take for a dot (RFC 3629 section 10).
func overlong(s string) bool {
	if len(s) < 6 || s[3] != '%' {
		return false
	}
	first, second := unhex(s[1])<<4|unhex(s[2]), unhex(s[4])<<4|unhex(s[5])
	switch first {
	case 0xc0, 0xc1:
		return second>>6 == 0b10
	case 0xe0:
		return second>>5 == 0b100
	case 0xf0:
		return second>>4 == 0b1000
	}
	return false
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0
}

// rest returns what follows the first slashes slashes of a path, from the last of them on: a prefix is cut off by its
// segments, in whatever spelling they came.
func rest(path string, slashes int) string {
	for i := range len(path) {
		if path[i] == '/' {
			if slashes--; slashes == 0 {
				return path[i:]
			}
		}
	}
	return "/"
}

// setPath has u go out as path and query exactly.
func setPath(u *url.URL, path string) *fault.Error {
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path
		return nil
	}
	// Opaque would be taken for the beginning of an authority.
	plain, err := url.PathUnescape(path)
	if err != nil {
		return badPath("has a broken escape")
	}
	u.Path, u.RawPath = plain, path
	if u.EscapedPath() != path {
		return badPath("has characters that must be escaped")
	}
	return nil
}

// badQuery reports whether a query has what may not stand in a request target and would end it in HTTP/1.1. Only over
// HTTP/2 can it come.
func badQuery(query string) bool { return strings.ContainsAny(query, " #") }
