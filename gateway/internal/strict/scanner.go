package strict

import "bytes"

// state is what the next byte of a connection belongs to.
type state uint8

const (
	requestLine state = iota
	fieldLine
	content // of a body with a Content-Length
	chunkSize
	chunk
	chunkEnd // the empty line after a chunk
	trailerLine
	elsewhere // another protocol, or a request that net/http refuses
)

// maxLine is the longest line that is kept while its rest has not come; net/http's own limit for headers is at most this.
const maxLine = 17 << 20

// scanner follows the requests of a connection.
type scanner struct {
	state state
	begun bool   // a request has been seen
	left  uint64 // bytes of the body, or of the chunk
	line  []byte // the beginning of a line whose rest has not come
	head
}

// head is what the lines of a header said so far.
type head struct {
	version10 bool
	lengths   int    // Content-Length fields
	codings   int    // Transfer-Encoding fields
	unknown   bool   // the coding is not chunked
	authority []byte // of a target in absolute form
}

// scan looks at the next bytes, and returns how many of them are right: all, or those before the line that is not.
func (s *scanner) scan(b []byte) int {
	for i := 0; i < len(b); {
		switch s.state {
		case elsewhere:
			return len(b)
		case content, chunk:
			n := min(uint64(len(b)-i), s.left)
			i += int(n)
			if s.left -= n; s.left > 0 {
				return len(b)
			}
			s.bodyEnded()
			continue
		}
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			if len(s.line)+len(b)-i > maxLine {
				return i
			}
			s.line = append(s.line, b[i:]...)
			return len(b)
		}
		line := b[i : i+end]
		if len(s.line) > 0 {
			s.line = append(s.line, line...)
			line = s.line
		}
		if !s.takes(line) {
			return i
		}
		s.line = nil
		i += end + 1
	}
	return len(b)
}

func (s *scanner) bodyEnded() {
	if s.state == chunk {
		s.state = chunkEnd
		return
	}
	s.state = requestLine
}

func (s *scanner) inBody() bool {
	switch s.state {
	case requestLine, fieldLine, elsewhere:
		return false
	}
	return true
}

// takes reads a line without its LF, and reports whether it is right.
func (s *scanner) takes(line []byte) bool {
	line, ended := bytes.CutSuffix(line, crByte)
	if !ended || bytes.IndexByte(line, '\r') >= 0 {
		return false
	}
	switch s.state {
	case requestLine:
		return s.request(line)
	case fieldLine:
		if len(line) == 0 {
			return s.headEnded()
		}
		return s.field(line)
	case chunkSize:
		return s.size(line)
	case chunkEnd:
		s.state = chunkSize
		return len(line) == 0
	default: // trailerLine
		if len(line) == 0 {
			s.state = requestLine
			return true
		}
		name, _, ok := cutField(line)
		return ok && !isLength(name) && !isCoding(name)
	}
}

var crByte = []byte{'\r'}

// request reads a request line.
func (s *scanner) request(line []byte) bool {
	if !s.begun && string(line) == "PRI * HTTP/2.0" {
		s.state = elsewhere
		return true
	}
	s.begun = true
	_, rest, ok := bytes.Cut(line, []byte{' '})
	target, version, ok2 := bytes.Cut(rest, []byte{' '})
	if !ok || !ok2 || string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0" {
		return false
	}
	s.head = head{version10: string(version) == "HTTP/1.0", authority: authorityOf(target)}
	s.state = fieldLine
	return true
}

// authorityOf returns the authority of a target in absolute form (RFC 9112 section 3.2.2), nil for other forms.
func authorityOf(target []byte) []byte {
	if len(target) > 0 && target[0] == '/' {
		return nil
	}
	_, rest, absolute := bytes.Cut(target, []byte("://"))
	if !absolute {
		return nil
	}
	if end := bytes.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return bytes.Clone(rest)
}

// field reads a line of a header.
func (s *scanner) field(line []byte) bool {
	name, value, ok := cutField(line)
	switch {
	case !ok:
		return false
	case isLength(name):
		s.lengths++
		var fits bool
		s.left, fits = decimal(value)
		return fits && s.lengths == 1 && s.codings == 0
	case isCoding(name):
		s.codings++
		s.unknown = !equalFold(value, "chunked")
		return s.codings == 1 && s.lengths == 0 && !s.version10
	case s.authority != nil && equalFold(name, "host"):
		return bytes.EqualFold(value, s.authority)
	}
	return true
}

// headEnded finds out where the body ends (RFC 9112 section 6.3).
func (s *scanner) headEnded() bool {
	switch {
	case s.unknown:
		s.state = elsewhere // net/http answers with 501 and closes
	case s.codings > 0:
		s.state = chunkSize
	case s.lengths > 0 && s.left > 0:
		s.state = content
	default:
		s.state = requestLine
	}
	s.authority = nil
	return true
}

// size reads the line before a chunk: its size in hexadecimal and, perhaps, extensions.
func (s *scanner) size(line []byte) bool {
	digits, _, extended := bytes.Cut(line, []byte{';'})
	if extended {
		digits = bytes.TrimRight(digits, " \t")
	}
	if len(digits) == 0 || len(digits) > 16 {
		return false
	}
	n := uint64(0)
	for _, c := range digits {
		d, ok := hexDigit(c)
		if !ok {
			return false
		}
		n = n<<4 | uint64(d)
	}
	s.left = n
	s.state = chunk
	if n == 0 {
		s.state = trailerLine
	}
	return true
}

// cutField splits a field line; it fails for a folded one, and for one with space before the colon.
func cutField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || isSpace(line[0]) || isSpace(line[colon-1]) {
		return nil, nil, false
	}
	return line[:colon], bytes.Trim(line[colon+1:], " \t"), true
}

func isLength(name []byte) bool {
	return len(name) == len("content-length") && equalFold(name, "content-length")
}
func isCoding(name []byte) bool {
	return len(name) == len("transfer-encoding") && equalFold(name, "transfer-encoding")
}

// equalFold compares a word with one of lower case letters, as ASCII.
func equalFold(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// decimal reads digits and nothing else; it fails beyond what fits 63 bits, as net/http does.
func decimal(digits []byte) (n uint64, ok bool) {
	if len(digits) == 0 || len(digits) > 19 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n < 1<<63
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
