package release

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
)

// points is how many there are: what a caller's hash is brought to, and shares are counted in.
const points = 1 << 32

// pointOf returns where a share that begins at 0 ends.
func pointOf(p config.Percent) uint64 { return uint64(p) * points / uint64(config.Whole) }

func hashOf(s string) uint64 { return xxhash.Sum64String(s) }

func hashOfAddr(a netip.Addr) uint64 {
	all := a.As16()
	return xxhash.Sum64(all[:])
}

// point brings a caller's hash to a point, which is another one in each release: the finalizer of SplitMix64 changes about half
// of the bits for each bit of the salt.
func point(salt, hash uint64) uint64 {
	h := salt ^ hash
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return (h ^ h>>31) >> 32
}

// source is what of a request tells callers apart.
type source struct {
	kind string // user, ip, header or cookie
	name string
}

func compileSource(by string) source {
	var s source
	s.kind, s.name, _ = strings.Cut(by, ":")
	if s.kind == "header" {
		s.name = http.CanonicalHeaderKey(s.name)
	}
	return s
}

// value returns what tells the caller from others, "" where the request has none of it.
func (s *source) value(q *admission.Request, t *admission.Ticket) string {
	switch s.kind {
	case "user":
		return t.Identity.User
	case "header":
		return q.HeaderValue(s.name)
	case "cookie":
		return q.Cookie(s.name)
	}
	return ""
}
