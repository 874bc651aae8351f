package codec

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// protojsonError is what protojson says, spaces made plain.
var protojsonError = regexp.MustCompile(`^(?:syntax error )?\(line (\d+):(\d+)\): (.*)$`)

var (
	// badValue is protojson's complaint about a scalar; badKnown about a well-known type.
	badValue = regexp.MustCompile(`^invalid value for (\w+) (?:field \S+|key): (.*)$`)
	badKnown = regexp.MustCompile(`^invalid (google\.protobuf\.\w+)(?: value)?:? (.*)$`)
)

// bodyError makes an *Error of what protojson says about text, of which the first skip bytes are not the client's.
func bodyError(err error, text []byte, skip int) *Error {
	reason := plainText(err)
	m := protojsonError.FindStringSubmatch(reason)
	if m == nil {
		if strings.HasSuffix(reason, "unexpected EOF") {
			reason = "the JSON ends too early"
		}
		return &Error{Reason: reason}
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	e := &Error{Field: pathAt(text, offsetOf(text, line, column)), Reason: m[3]}
	switch said := e.Reason; {
	case badValue.MatchString(said):
		v := badValue.FindStringSubmatch(said)
		e.Reason = fmt.Sprintf("expected %s, got %s", v[1], shorten(v[2]))
	case badKnown.MatchString(said):
		v := badKnown.FindStringSubmatch(said)
		e.Reason = fmt.Sprintf("expected %s, got %s", v[1], shorten(v[2]))
	default:
		e.Reason = cut(said, 4*maxEcho)
	}
	if line == 1 {
		column -= skip
	}
	e.Reason += fmt.Sprintf(" (line %d, column %d)", line, max(column, 1))
	return e
}

// plainText is the text of an error of the protobuf module, which varies its prefix and spaces from build to build.
func plainText(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.TrimPrefix(text, "proto: ")
}

// offsetOf is the place in text of a line and a column, both from 1, the column in runes.
func offsetOf(text []byte, line, column int) int {
	i := 0
	for ; line > 1 && i < len(text); i++ {
		if text[i] == '\n' {
			line--
		}
	}
	for ; column > 1 && i < len(text); column-- {
		_, n := utf8.DecodeRune(text[i:])
		i += n
	}
	return i
}

// frame is an object or an array on the way to a place in JSON.
type frame struct {
	array bool
	index int
	name  string
	value bool // in an object: past the colon
}

// pathAt says which field the byte at offset belongs to: "items[2].name". A name belongs to the object around it. Text
// before offset is JSON as far as protojson could read it.
func pathAt(text []byte, offset int) string {
	var stack []frame
	for i := 0; i < offset && i < len(text); i++ {
		var top *frame
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		switch text[i] {
		case '{':
			stack = append(stack, frame{})
		case '[':
			stack = append(stack, frame{array: true})
		case '}', ']':
			if top != nil {
				stack = stack[:len(stack)-1]
			}
		case ',':
			if top != nil {
				top.index++
				top.value = false
			}
		case ':':
			if top != nil {
				top.value = true
			}
		case '"':
			end := stringEnd(text, i)
			if top != nil && !top.array && !top.value {
				if json.Unmarshal(text[i:min(end, len(text))], &top.name) != nil {
					top.name = "?"
				}
			}
			i = end - 1
		}
	}
	return pathOf(stack)
}

// stringEnd is where the string that begins at start has ended.
func stringEnd(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func pathOf(stack []frame) string {
	var b strings.Builder
	for _, f := range stack {
		switch {
		case f.array:
			b.WriteString("[" + strconv.Itoa(f.index) + "]")
		case f.value:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(f.name)
		}
		if b.Len() > 4*maxEcho {
			return cut(b.String(), 4*maxEcho)
		}
	}
	return b.String()
}
