package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/transcoder"
)

// compression is how a route compresses its answers. A nil *compression leaves them alone.
type compression struct {
	encodings []*encoding // the ones liked best first
	minSize   int
	streams   bool
}

func compileCompression(c *config.Compression) *compression {
	if slices.Contains(c.Encodings, "none") {
		return nil
	}
	out := &compression{minSize: int(c.MinSize), streams: c.Streams == "always"}
	for _, name := range c.Encodings {
		out.encodings = append(out.encodings, encodings[slices.IndexFunc(encodings, func(e *encoding) bool { return e.name == name })])
	}
	if len(out.encodings) == 0 {
		out.encodings = encodings
	}
	return out
}

// choose returns the encoding that the client likes best, nil for none (RFC 9110 section 12.5.3).
func (c *compression) choose(accept []string) *encoding {
	if len(accept) == 0 {
		return nil
	}
	const unnamed = -1
	var weights [3]int
	for i := range weights {
		weights[i] = unnamed
	}
	identity, others := 0, 0
	for name, weight := range transcoder.Weighted(accept) {
		switch {
		case name == "*":
			others = weight
		case strings.EqualFold(name, "identity"):
			identity = weight
		default:
			for i, e := range c.encodings {
				if strings.EqualFold(name, e.name) {
					weights[i] = weight
				}
			}
		}
	}
	var best *encoding
	most := identity
	for i, e := range c.encodings {
		weight := weights[i]
		if weight == unnamed {
			weight = others
		}
		if weight > most {
			best, most = e, weight
		}
	}
	return best
}

// compressor compresses one answer. The zero compressor does not.
type compressor struct {
	rules  *compression
	accept []string // of the request
	chosen *encoding
	held   bool // the header waits for the first bytes, which tell whether the answer is worth it
	writer encoder
}

// ask has answers compressed to a request that is not for one of gRPC's own protocols.
func (c *compressor) ask(rules *compression, r *http.Request) {
	if rules != nil && r.Method != http.MethodHead && r.Header["Range"] == nil {
		c.rules, c.accept = rules, r.Header["Accept-Encoding"]
	}
}

// consider looks at a header that is about to go out, and holds it back if the answer may be compressed.
func (c *compressor) consider(h http.Header, status int) {
	switch {
	case c.held || c.rules == nil, status < 200, status == http.StatusNoContent, status == http.StatusPartialContent,
		status == http.StatusNotModified, h["Content-Encoding"] != nil, !compressible(first(h["Content-Type"])):
		return
	}
	if h["Vary"] == nil {
		h["Vary"] = varyEncoding
	} else {
		h.Add("Vary", "Accept-Encoding")
	}
	if c.chosen = c.rules.choose(c.accept); c.chosen != nil {
		c.held = true
	}
}

var varyEncoding = []string{"Accept-Encoding"}

// begin decides about an answer whose first bytes, size of them, are there, and completes the held header.
func (c *compressor) begin(h http.Header, size int, to *recorder) {
	c.held = false
	if n, err := strconv.Atoi(first(h["Content-Length"])); err == nil {
		size = n
	}
	worth := size >= c.rules.minSize || size == unknownSize
	if isStream(h) {
		worth = c.rules.streams
	}
	if !worth || strings.Contains(first(h["Cache-Control"]), "no-transform") {
		return
	}
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges")
	h["Content-Encoding"] = c.chosen.header
	if tag := first(h["Etag"]); strings.HasPrefix(tag, `"`) {
		// The bytes are others than those that the tag is strong about (RFC 9110 section 8.8.1).
		h["Etag"] = []string{"W/" + tag}
	}
	c.writer = c.chosen.take(plain{to})
}

// unknownSize is that of an answer which is flushed before anything of it is there.
const unknownSize = -1

// isStream reports whether an answer's messages go out one by one, as proxies are told too.
func isStream(h http.Header) bool {
	return first(h["X-Accel-Buffering"]) == "no" || strings.HasPrefix(first(h["Content-Type"]), "text/event-stream")
}

// end writes what is left of the answer.
func (c *compressor) end() {
	if c.writer != nil {
		// After a write that failed HTTP/2's server may still be reading what the encoder has made.
		if c.writer.Close() == nil {
			c.chosen.giveBack(c.writer)
		}
		c.writer = nil
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// compressible reports whether a media type is text of some kind; images, archives and the like are compressed already.
func compressible(mediaType string) bool {
	kind, _, _ := strings.Cut(mediaType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch kind {
	case "application/json", "application/x-ndjson", "application/xml", "application/javascript", "application/yaml", "application/x-protobuf",
		"application/protobuf", "application/wasm", "image/svg+xml":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}
