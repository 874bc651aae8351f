package unary

import (
	"encoding/base64"
	"strings"
	"time"
)

// Indexes of HPACK's static table (RFC 7541 appendix A).
const (
	staticAuthority   = 1
	staticMethodPOST  = 3
	staticPath        = 4
	staticSchemeHTTP  = 6
	staticSchemeHTTPS = 7
	staticContentType = 31
	staticUserAgent   = 58
	staticEntries     = 61
)

// constants are the header fields that every request of a connection has. The first request puts them into the peer's
// dynamic table, and as nothing else is ever put there, they stay at the same four indexes: an encoder needs no table.
type constants struct {
	literal []byte // as fields that are not to be indexed
	insert  []byte // as fields to index
	indexed []byte // as indexes
	size    uint32 // what they take of a dynamic table (RFC 7541 section 4.1)
}

func compileConstants(authority, agent string) *constants {
	c := new(constants)
	for i, f := range []struct {
		index int
		name  string
		value string
	}{
		{staticAuthority, ":authority", authority}, {staticContentType, "content-type", "application/grpc"},
		{0, "te", "trailers"}, {staticUserAgent, "user-agent", agent},
	} {
		c.literal = appendField(c.literal, 0, 4, f.index, f.name, f.value)
		c.insert = appendField(c.insert, 0x40, 6, f.index, f.name, f.value)
		c.indexed = append(c.indexed, 0x80|byte(staticEntries+4-i))
		c.size += uint32(len(f.name) + len(f.value) + 32)
	}
	return c
}

// appendField appends a literal field, its name as an index where there is one (RFC 7541 section 6.2).
func appendField(dst []byte, kind byte, bits uint, index int, name, value string) []byte {
	dst = appendInteger(dst, kind, bits, uint64(index))
	if index == 0 {
		dst = appendString(dst, name)
	}
	return appendString(dst, value)
}

// appendInteger appends an integer with a prefix of some bits in its first byte (RFC 7541 section 5.1).
func appendInteger(dst []byte, first byte, bits uint, v uint64) []byte {
	most := uint64(1)<<bits - 1
	if v < most {
		return append(dst, first|byte(v))
	}
	dst = append(dst, first|byte(most))
	for v -= most; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

func appendString(dst []byte, s string) []byte {
	return append(appendInteger(dst, 0, 7, uint64(len(s))), s...)
}

// appendRequest appends the header block of a call.
func (c *Conn) appendRequest(dst []byte, call *Call, now time.Time) []byte {
	if c.tableChanged {
		// The peer made its table smaller, or larger again: the encoder says what it uses (RFC 7541 section 4.2).
		c.tableChanged = false
		dst = appendInteger(dst, 0x20, 5, 0)
		if c.table > 0 {
			dst = appendInteger(dst, 0x20, 5, uint64(c.table))
		}
		c.inserted = false
	}
	scheme := byte(staticSchemeHTTP)
	if c.options.TLS {
		scheme = staticSchemeHTTPS
	}
	dst = append(dst, 0x80|staticMethodPOST, 0x80|scheme)
	dst = appendField(dst, 0, 4, staticPath, "", call.Method)
	switch {
	case c.inserted:
		dst = append(dst, c.constants.indexed...)
	case c.constants.size <= c.table:
		dst = append(dst, c.constants.insert...)
		c.inserted = true
	default:
		dst = append(dst, c.constants.literal...)
	}
	if !call.Deadline.IsZero() {
		dst = appendString(append(dst, 0), "grpc-timeout")
		at := len(dst)
		dst = AppendTimeout(append(dst, 0), call.Deadline.Sub(now))
		dst[at] = byte(len(dst) - at - 1)
	}
	for i := 0; i+1 < len(call.Metadata); i += 2 {
		key, value := call.Metadata[i], call.Metadata[i+1]
		dst = appendString(append(dst, 0), key)
		if strings.HasSuffix(key, "-bin") {
			dst = appendInteger(dst, 0, 7, uint64(base64.RawStdEncoding.EncodedLen(len(value))))
			dst = base64.RawStdEncoding.AppendEncode(dst, []byte(value))
		} else {
			dst = appendString(dst, value)
		}
	}
	return dst
}

// headerListSize is what a call's header fields count for against the peer's limit (RFC 9113 section 6.5.2), roughly
// rounded up.
func headerListSize(block int, call *Call) int { return block + 16*len(call.Metadata) + 9*32 + 128 }
