package cache

import (
	"net/http"
	"strconv"
	"strings"
)

// conditions are the headers by which a request asks for less than a whole answer.
var conditions = []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"}

// has reports whether a client has an answer already, by its validators (RFC 9111 section 4.3.2).
func has(asked http.Header, etag, modified string) bool {
	if lines, ok := asked["If-None-Match"]; ok {
		return etag != "" && matchesTag(lines, etag)
	}
	since, ok := fieldTime(asked["If-Modified-Since"])
	if !ok || modified == "" {
		return false
	}
	t, err := http.ParseTime(modified)
	return err == nil && !t.After(since)
}

// matchesTag compares weakly (RFC 9110 section 13.1.2).
func matchesTag(lines []string, etag string) bool {
	etag = strings.TrimPrefix(etag, "W/")
	for _, line := range lines {
		for line != "" {
			line = strings.TrimLeft(line, " \t,")
			if line == "*" {
				return true
			}
			tag := strings.TrimPrefix(line, "W/")
			if !strings.HasPrefix(tag, `"`) {
				break
			}
			end := strings.IndexByte(tag[1:], '"')
			if end < 0 {
				break
			}
			if tag[:end+2] == etag {
				return true
			}
			line = tag[end+2:]
		}
	}
	return false
}

// span is the part of a body that is asked for.
type span struct{ from, to int }

// spanOf reads Range: one range of bytes. whole says that all of the body is to be given, since the field asks for something
// else, or for a part of another version (RFC 9110 sections 13.1.5 and 14.2).
func spanOf(h http.Header, e *entry) (part span, whole, satisfiable bool) {
	lines := h["Range"]
	if len(lines) != 1 || e.status != http.StatusOK {
		return part, true, true
	}
	spec, ok := strings.CutPrefix(lines[0], "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return part, true, true
	}
	if asked, ok := h["If-Range"]; ok && !isVersion(first(asked), e) {
		return part, true, true
	}
	from, to, ok := strings.Cut(trim(spec), "-")
	if !ok {
		return part, true, true
	}
	size := len(e.body)
	if from == "" {
		n, err := strconv.ParseUint(to, 10, 63)
		if err != nil {
			return part, true, true
		}
		part = span{size - int(min(n, uint64(size))), size}
		return part, false, n > 0 && size > 0
	}
	begin, err := strconv.ParseUint(from, 10, 63)
	end := uint64(size)
	if err == nil && to != "" {
		var last uint64
		last, err = strconv.ParseUint(to, 10, 62)
		end = min(end, last+1)
		if err == nil && last < begin {
			return part, true, true
		}
	}
	if err != nil {
		return part, true, true
	}
	if begin >= uint64(size) {
		return part, false, false
	}
	return span{int(begin), int(end)}, false, true
}

// isVersion reports whether If-Range names e, strongly.
func isVersion(asked string, e *entry) bool {
	if strings.HasPrefix(asked, `"`) {
		return asked == e.etag
	}
	return asked != "" && asked == e.modified
}
