package cache

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/crossgate/crossgate/config"
)

// The values in Redis: a version, then what follows, numbers as varints and strings with their length in front, then a
// checksum. A change of what follows is a change of the version, and so a miss to who has the other.
const (
	valueVersion  = "cg-answer-2\n"
	markerVersion = "cg-vary-1\n"
)

// errValue is what a value in Redis is that is none of this version's, broken, or not to be given.
var errValue = errors.New("cache: the value in redis is no answer")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeMarker(selected []selector) []byte {
	names := make([]string, len(selected))
	for i := range selected {
		names[i] = selected[i].name
	}
	return []byte(markerVersion + strings.Join(names, ","))
}

// decodeMarker returns the value of Vary that a marker stands for.
func decodeMarker(b []byte) (names string, ok bool) {
	names, ok = strings.CutPrefix(string(b[:min(len(b), 4<<10)]), markerVersion)
	return names, ok && len(b) < 4<<10
}

func encodeValue(key []byte, uri string, e *entry) []byte {
	b := make([]byte, 0, len(key)+e.size())
	b = append(b, valueVersion...)
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	text(string(key))
	text(uri)
	number(e.shared.ms)
	number(e.shared.n)
	number(uint64(e.status))
	number(uint64(e.received.UnixMilli()))
	number(uint64(e.age.Milliseconds()))
	number(uint64(len(e.tags)))
	for _, tag := range e.tags {
		text(tag)
	}
	for _, fields := range [...][]field{e.header, e.trailer} {
		number(uint64(len(fields)))
		for _, f := range fields {
			text(f.name)
			number(uint64(len(f.values)))
			for _, v := range f.values {
				text(v)
			}
		}
	}
	text(string(e.body))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// reader reads a value. After the first thing that is not there nothing is.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number(most uint64) uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > most {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number(uint64(len(r.rest)))
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) field() field {
	f := field{name: string(r.bytes())}
	for range r.number(maxFields) {
		f.values = append(f.values, string(r.bytes()))
	}
	return f
}

const (
	maxFields = 256
	maxMillis = 1 << 47
)

// decodeValue reads a value, which may be anything.
func decodeValue(b []byte) (*keptValue, error) {
	if len(b) < len(valueVersion)+4 || string(b[:len(valueVersion)]) != valueVersion {
		return nil, errValue
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, errValue
	}
	r := &reader{rest: b[len(valueVersion):]}
	k := &keptValue{key: r.bytes(), uri: string(r.bytes())}
	k.began = position{r.number(1 << 63), r.number(1 << 63)}
	k.status = int(r.number(999))
	k.received = time.UnixMilli(int64(r.number(maxMillis)))
	k.age = time.Duration(r.number(uint64(forever/time.Millisecond))) * time.Millisecond
	for range r.number(maxTags) {
		k.tags = append(k.tags, string(r.bytes()))
	}
	fields := r.number(maxFields)
	k.header = make(http.Header, min(fields, 32))
	for range fields {
		f := r.field()
		k.header[f.name] = f.values
		if r.bad || !goodField(f.name, f.values) {
			return nil, errValue
		}
	}
	for range r.number(maxFields) {
		f := r.field()
		k.trailer = append(k.trailer, f)
		if name, ok := strings.CutPrefix(f.name, http.TrailerPrefix); r.bad || !ok || !goodField(name, f.values) {
			return nil, errValue
		}
	}
	k.body = r.bytes()
	if r.bad || len(r.rest) > 0 {
		return nil, errValue
	}
	return k, nil
}

// goodField reports whether a field may stand in an answer, and is none that frames it.
func goodField(name string, values []string) bool {
	return httpguts.ValidHeaderFieldName(name) && name == textproto.CanonicalMIMEHeaderKey(name) && !slices.Contains(config.ConnectionHeaders, name) &&
		!slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) })
}
