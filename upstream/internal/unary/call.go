package unary

import (
	"time"

	"google.golang.org/grpc/metadata"
)

// Call is one unary call.
type Call struct {
	// Method is "/package.Service/Method".
	Method string
	// Metadata is keys, in lower case, each before its value: printable ASCII, or for keys that end with "-bin" any bytes.
	Metadata []string
	// Deadline is zero for none besides that of the context.
	Deadline time.Time
	// Request is the message in wire format, the caller's again once the call has returned.
	Request []byte
}

// Reply is what a call answers with. Its zero value is empty. It may be used again, by one call at a time, after Reset.
type Reply struct {
	Header  metadata.MD // nil when there is none besides gRPC's own
	Trailer metadata.MD
	// Pushback is what grpc-retry-pushback-ms says, empty for nothing (gRFC A6).
	Pushback string
	body     []byte
}

// Bytes returns the message in wire format, valid until Reset.
func (r *Reply) Bytes() []byte { return r.body }

// SetBytes gives r a copy of a message: for a backend that is no connection.
func (r *Reply) SetBytes(b []byte) { r.body = append(r.body[:0], b...) }

// keepable is the largest buffer that is kept for the next call: one large message should not cost its memory for ever.
const keepable = 1 << 20

// Reset empties r for the next call.
func (r *Reply) Reset() {
	r.Header, r.Trailer, r.Pushback, r.body = nil, nil, "", r.body[:0]
	if cap(r.body) > keepable {
		r.body = nil
	}
}
