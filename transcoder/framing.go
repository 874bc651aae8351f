package transcoder

import (
	"net/http"
	"strconv"
	"strings"
)

// Framing is how the messages of a stream stand in a body.
type Framing uint8

// The framings.
const (
	// Lines is a line of JSON for each message (NDJSON).
	Lines Framing = iota
	// Results is grpc-gateway's: a line {"result":…} for each message.
	Results
	// Array is one JSON array.
	Array
	// Events is server-sent events (HTML standard, section 9.2).
	Events
)

var (
	linesType  = []string{"application/x-ndjson"}
	eventsType = []string{"text/event-stream"}
	noCache    = []string{"no-cache"}
	noBuffer   = []string{"no"}
)

// framing chooses what the client's Accept likes best: of two that it likes the same, one that it names before one that
// a wildcard takes, and events, made for streams, before the others. Who names none gets the route's.
func (o *StreamOptions) framing(r *http.Request) Framing {
	best, most := o.Framing, 0
	for name, weight := range Weighted(r.Header["Accept"]) {
		f, named := o.named(name)
		rank := weight * 4
		switch {
		case weight == 0:
			continue
		case f == Events:
			rank += 2
		case named:
			rank++
		}
		if rank > most {
			best, most = f, rank
		}
	}
	return best
}

// named returns the framing that a media type asks for.
func (o *StreamOptions) named(mediaType string) (f Framing, named bool) {
	switch strings.ToLower(mediaType) {
	case "text/event-stream":
		return Events, true
	case "application/json":
		if o.Framing == Results {
			return Results, true
		}
		return Array, true
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
		if o.Framing == Results {
			return Results, true
		}
		return Lines, true
	}
	return o.Framing, false
}

func (f Framing) header(h http.Header) {
	switch f {
	case Events:
		h["Content-Type"] = eventsType
		h["Cache-Control"] = noCache
	case Lines:
		h["Content-Type"] = linesType
	default:
		h["Content-Type"] = jsonType
	}
	// Proxies on the way should pass each message on at once.
	h["X-Accel-Buffering"] = noBuffer
}

// framer writes the frames of one stream.
type framer struct {
	framing Framing
	any     bool     // a frame has been written
	id      *eventID // where events have their id; nil: they are numbered
	number  uint64   // of the last event
}

func (m *Method) framer(r *http.Request) framer {
	f := framer{framing: m.options.Streams.framing(r), id: m.eventID}
	if f.framing == Events {
		// A client that comes again after a break goes on numbering where it was.
		if last, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 63); err == nil {
			f.number = last
		}
	}
	return f
}

// open and close stand around the JSON of a message, which has no line breaks.
func (f *framer) open(dst, wire []byte) []byte {
	switch f.framing {
	case Events:
		dst = append(f.appendID(dst, wire), "data: "...)
	case Results:
		dst = append(dst, `{"result":`...)
	case Array:
		if f.any {
			dst = append(dst, ',')
		} else {
			dst = append(dst, '[')
		}
	}
	f.any = true
	return dst
}

func (f *framer) appendID(dst, wire []byte) []byte {
	before := len(dst)
	dst = append(dst, "id: "...)
	if f.id == nil {
		f.number++
		return append(strconv.AppendUint(dst, f.number, 10), '\n')
	}
	start := len(dst)
	if dst = f.id.append(dst, wire); len(dst) == start {
		return dst[:before]
	}
	return append(dst, '\n')
}

func (f *framer) close(dst []byte) []byte {
	switch f.framing {
	case Events:
		return append(dst, "\n\n"...)
	case Results:
		return append(dst, "}\n"...)
	}
	return append(dst, '\n')
}

// end is what follows the last message of a stream that ended well.
func (f *framer) end(dst []byte) []byte {
	if f.framing != Array {
		return dst
	}
	if !f.any {
		dst = append(dst, '[')
	}
	return append(dst, "]\n"...)
}

// failure is the last frame of a stream that failed after its first byte.
func (f *framer) failure(dst, statusJSON []byte) []byte {
	switch f.framing {
	case Events:
		return append(append(append(dst, "event: error\ndata: "...), statusJSON...), "\n\n"...)
	case Array:
		// The last element, so that what came is JSON still.
		if f.any {
			dst = append(dst, ',')
		} else {
			dst = append(dst, '[')
		}
		return append(append(append(dst, `{"error":`...), statusJSON...), "}\n]\n"...)
	}
	return append(append(append(dst, `{"error":`...), statusJSON...), "}\n"...)
}

// keepAlive is a comment, which clients of events pass over (HTML standard, section 9.2.7).
const keepAlive = ":\n\n"
