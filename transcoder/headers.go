package transcoder

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// metadataPrefix begins headers that are metadata under the rest of their name, in both directions.
const metadataPrefix = "Grpc-Metadata-"

// header is a request header and the metadata key it becomes.
type header struct{ name, key string }

// alwaysForwarded are the request headers that backends get in any case. grpc-go keeps user-agent for itself, so the
// client's goes by the name that grpc-gateway gave it.
var alwaysForwarded = []header{
	{"Accept-Language", "accept-language"}, {"Traceparent", "traceparent"}, {"Tracestate", "tracestate"},
	{"X-Request-Id", "x-request-id"}, {"User-Agent", "grpcgateway-user-agent"},
}

// forwarding is which request headers become metadata.
type forwarding struct {
	exact    []header
	prefixes []string
}

func compileForward(names []string) forwarding {
	f := forwarding{exact: alwaysForwarded[:len(alwaysForwarded):len(alwaysForwarded)]}
	for _, n := range names {
		if prefix, ok := strings.CutSuffix(n, "*"); ok {
			f.prefixes = append(f.prefixes, textproto.CanonicalMIMEHeaderKey(prefix))
			continue
		}
		h := header{textproto.CanonicalMIMEHeaderKey(n), strings.ToLower(n)}
		if !isHop(h.name) && !f.has(h.name) {
			f.exact = append(f.exact, h)
		}
	}
	return f
}

func (f *forwarding) has(name string) bool {
	for i := range f.exact {
		if f.exact[i].name == name {
			return true
		}
	}
	return false
}

// metadata appends the metadata that a request's headers make, keys each before its value.
func (f *forwarding) metadata(kv []string, r *http.Request) ([]string, error) {
	var err error
	for i := range f.exact {
		if values := r.Header[f.exact[i].name]; len(values) > 0 {
			if kv, err = appendMetadata(kv, f.exact[i].key, values); err != nil {
				return kv, err
			}
		}
	}
	for name, values := range r.Header {
		key, ok := strings.CutPrefix(name, metadataPrefix)
		if !ok && !f.hasPrefixOf(name) || isReserved(key) || key == "" {
			continue
		}
		if kv, err = appendMetadata(kv, strings.ToLower(key), values); err != nil {
			return kv, err
		}
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		if before := r.Header["X-Forwarded-For"]; len(before) > 0 {
			host = strings.Join(before, ", ") + ", " + host
		}
		if isText(host) {
			kv = append(kv, "x-forwarded-for", host)
		}
	}
	if r.Host != "" && isText(r.Host) {
		kv = append(kv, "x-forwarded-host", r.Host)
	}
	return kv, nil
}

// hasPrefixOf reports whether name is forwarded because of a wildcard, which never means credentials.
func (f *forwarding) hasPrefixOf(name string) bool {
	if len(f.prefixes) == 0 || name == "Authorization" || name == "Cookie" || f.has(name) {
		return false
	}
	for _, p := range f.prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// appendMetadata appends a key with each of its values. Those that gRPC cannot carry stay behind, as do keys.
func appendMetadata(kv []string, key string, values []string) ([]string, error) {
	if !isKey(key) {
		return kv, nil
	}
	for _, v := range values {
		if strings.HasSuffix(key, "-bin") {
			b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
			if err != nil {
				return kv, &codec.Error{Reason: fmt.Sprintf("header %s: expected base64", key)}
			}
			v = string(b)
		} else if !isText(v) {
			continue
		}
		kv = append(kv, key, v)
	}
	return kv, nil
}

// isKey reports whether gRPC can carry a metadata key (PROTOCOL-HTTP2.md, Header-Name).
func isKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != ""
}

// isText reports whether gRPC can carry a metadata value (PROTOCOL-HTTP2.md, ASCII-Value).
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isHop reports headers that concern one connection only (RFC 9110 section 7.6.1) or the framing of one message.
func isHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Transfer-Encoding",
		"Upgrade", "Te", "Trailer", "Host":
		return true
	}
	return strings.HasPrefix(name, "Content-")
}

// isReserved reports names that belong to gRPC, to this hop or to what the gateway itself says of the caller, and so
// are no metadata of a caller's.
func isReserved(name string) bool {
	if len(name) >= 5 && strings.EqualFold(name[:5], "grpc-") {
		return true
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	return isHop(name) || name == "User-Agent" || name == "X-Forwarded-For" || name == "X-Forwarded-Host"
}

// returning is which metadata keys become response headers by their own name; value is that name.
type returning map[string]string

func compileReturn(names []string) returning {
	back := returning{}
	for _, n := range names {
		if name := textproto.CanonicalMIMEHeaderKey(n); !isHop(name) {
			back[strings.ToLower(n)] = name
		}
	}
	return back
}

// header makes response headers of a backend's header metadata: those named by their own name, the others below
// Grpc-Metadata-.
func (back returning) header(h http.Header, md metadata.MD) {
	for key, values := range md {
		if name := back[key]; name != "" {
			addAll(h, name, key, values)
		} else if key != "content-type" && !strings.HasPrefix(key, "grpc-") {
			addAll(h, metadataPrefix+textproto.CanonicalMIMEHeaderKey(key), key, values)
		}
	}
}

// named makes response headers of those keys of trailing metadata that are named: a call that fails has no other.
func (back returning) named(h http.Header, md metadata.MD) {
	for key, name := range back {
		if values := md[key]; len(values) > 0 {
			addAll(h, name, key, values)
		}
	}
}

func addAll(h http.Header, name, key string, values []string) {
	for _, v := range values {
		if strings.HasSuffix(key, "-bin") {
			v = base64.RawStdEncoding.EncodeToString([]byte(v))
		} else if !isText(v) {
			// A backend must not break out of its header line.
			continue
		}
		h.Add(name, v)
	}
}

// takesTrailers reports whether the client said that it reads trailers (RFC 9110 section 6.5.1).
func takesTrailers(r *http.Request) bool {
	for _, te := range r.Header["Te"] {
		if strings.Contains(strings.ToLower(te), "trailers") {
			return true
		}
	}
	return false
}

// trailers makes HTTP trailers of trailing metadata, below Grpc-Trailer-.
func trailers(h http.Header, md metadata.MD) {
	for key, values := range md {
		if !strings.HasPrefix(key, "grpc-") {
			addAll(h, http.TrailerPrefix+"Grpc-Trailer-"+textproto.CanonicalMIMEHeaderKey(key), key, values)
		}
	}
}
