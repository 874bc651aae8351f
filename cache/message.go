package cache

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// appendMessage appends what a request asks for by its body. Keys of requests without one have nothing there.
func (p *Policy) appendMessage(dst []byte, r *Request) []byte {
	sum := sha256.Sum256(r.Message)
	if !r.Call {
		dst = appendLines(append(dst, "post"...), r.Header["Content-Type"])
		return append(dst, sum[:]...)
	}
	return append(p.appendMetadata(append(dst, "call"...), r.Header), sum[:]...)
}

// appendMetadata appends the metadata of a call. The backend gets all of it, and few backends of gRPC know Vary, so that all of it
// tells answers apart, as that which clients of REST hand them does: but for what clients, browsers and proxies send by
// themselves, and what the rules for credentials are for. It may be long, or secret: the key, which Redis gets, has its hash.
func (p *Policy) appendMetadata(dst []byte, h map[string][]string) []byte {
	var few [16]string
	names := few[:0]
	for name := range h {
		if !isOfEveryCall(name) && !slices.Contains(p.keyless, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return append(dst, '-')
	}
	slices.Sort(names)
	begin := len(dst)
	for _, name := range names {
		dst = appendLines(appendPart(dst, name), h[name])
	}
	sum := sha256.Sum256(dst[begin:])
	return append(append(dst[:begin], '+'), sum[:]...)
}

// isOfEveryCall knows the headers that say how a call is made, and not what it asks for.
func isOfEveryCall(name string) bool {
	switch name {
	case "Content-Type", "Te", "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "User-Agent", "X-User-Agent", // the client
		"Grpc-Timeout", "Grpc-Encoding", "Grpc-Accept-Encoding", "Grpc-Previous-Rpc-Attempts", "Grpc-Trace-Bin",
		"Origin", "Referer", "Dnt", "Priority", // a browser
		"Authorization", "Cookie", // credentials
		"X-Request-Id", "Traceparent", "Tracestate", "B3", "Via", "X-Real-Ip", "X-Forwarded-For": // tracing and proxies
		return true
	}
	return strings.HasPrefix(name, "Sec-") || strings.HasPrefix(name, "X-B3-")
}
