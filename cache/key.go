package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// appendKey appends what tells the answers of a route apart. Each part has its length in front, so that none can be mistaken
// for another.
func (p *Policy) appendKey(dst []byte, r *Request) []byte {
	dst = appendPart(appendPart(dst, p.route), r.Upstream)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	dst = appendPart(dst, scheme)
	dst = appendPart(dst, r.Host)
	dst = appendPart(dst, r.Path)
	if r.URL.ForceQuery {
		dst = append(dst, '?')
	}
	dst = appendPart(dst, r.URL.RawQuery)
	for _, name := range p.keyHeaders {
		dst = appendLines(dst, r.Header[name])
	}
	if len(p.keyPrefixes) > 0 {
		dst = p.appendPrefixed(dst, r.Header)
	}
	for _, name := range p.keyCookies {
		dst = appendCookies(dst, r.Header["Cookie"], name)
	}
	if p.keyUser {
		dst = appendPart(dst, r.Identity)
	}
	if r.Trusted {
		// What a trusted proxy says of the request goes on to the backend, which may make links of it.
		for _, name := range toldByProxies {
			dst = appendLines(dst, r.Header[name])
		}
	}
	if r.posted() {
		dst = p.appendMessage(dst, r)
	}
	return dst
}

// toldByProxies are headers that a trusted proxy says where a request came from by, but for the client's address.
var toldByProxies = []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "Forwarded"}

func appendPart(dst []byte, s string) []byte {
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, ':')
	return append(dst, s...)
}

func appendLines(dst []byte, lines []string) []byte {
	dst = append(strconv.AppendInt(dst, int64(len(lines)), 10), '*')
	for _, line := range lines {
		dst = appendPart(dst, line)
	}
	return dst
}

// appendPrefixed appends the headers whose names begin with one of the policy's prefixes.
func (p *Policy) appendPrefixed(dst []byte, h http.Header) []byte {
	var names []string
	for name := range h {
		if slices.ContainsFunc(p.keyPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		dst = appendLines(appendPart(dst, name), h[name])
	}
	return dst
}

// appendCookies appends every cookie of a name: which of two counts is for backends to say.
func appendCookies(dst []byte, lines []string, name string) []byte {
	for n, value := range cookies(lines) {
		if n == name {
			dst = appendPart(dst, value)
		}
	}
	return append(dst, ';')
}

// cookies yields the cookies of a request.
func cookies(lines []string) func(func(name, value string) bool) {
	return func(yield func(string, string) bool) {
		for _, line := range lines {
			for line != "" {
				var pair string
				pair, line, _ = strings.Cut(line, ";")
				name, value, _ := strings.Cut(trim(pair), "=")
				if name != "" && !yield(trim(name), trim(value)) {
					return
				}
			}
		}
	}
}

// strangers are request headers that frameworks and servers are known to take another URL, host or method from. They are
// unkeyed, so requests with one pass the cache by.
var strangers = []string{
	"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Original-Host", "X-Host", "X-Forwarded-Server", "X-Http-Host-Override", "X-Http-Method",
	"X-Http-Method-Override", "X-Method-Override", "X-Http-Path-Override", "X-Middleware-Prefetch", "X-Middleware-Subrequest", "X-Wap-Profile",
	"X-Original-Method", "X-Amz-Website-Redirect-Location", "Transfer-Encoding",
}

// hasAny reports whether h has one of the headers.
func hasAny(h http.Header, names []string) bool {
	for _, name := range names {
		if h[name] != nil {
			return true
		}
	}
	return false
}

// uri is what unsafe requests invalidate and purges name: host, path and query.
func uri(host, path, query string) string {
	if query != "" {
		path += "?" + query
	}
	return strings.ToLower(host) + path
}
