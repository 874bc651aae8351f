package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// checkToken accepts the tokens of HTTP (RFC 9110 section 5.6.2), as header, cookie and subprotocol names are.
func checkToken(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s has no name", what)
	}
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return fmt.Errorf("%s is not the name of a %s; %q may not be in one", quote(s), what, s[i:i+1])
		}
	}
	return nil
}

func checkHeaderName(s string) error { return checkToken("header", s) }

// checkHeaderValue accepts what may stand in a header field (RFC 9110 section 5.5).
func checkHeaderValue(name, s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("the value of %s has a control character", quote(name))
	}
	return nil
}

// checkMethod accepts HTTP methods, which are case-sensitive and by custom in upper case.
func checkMethod(s string) error {
	if err := checkToken("method", s); err != nil {
		return err
	}
	if s != strings.ToUpper(s) {
		return fmt.Errorf("methods are in upper case; write %s", quote(strings.ToUpper(s)))
	}
	if strings.Contains(s, "*") {
		return errors.New("methods have no wildcard; leave the key out for all")
	}
	return nil
}

// checkHost accepts IP addresses and host names of lower case letters, digits, hyphens and underscores, which are no
// part of DNS host names but common in the names of containers.
func checkHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if s != strings.ToLower(s) {
		return fmt.Errorf("hosts are in lower case; write %s", quote(strings.ToLower(s)))
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return fmt.Errorf("%s is not a host; expected a name, as api.example.com, or an IP address, without scheme, port and path", quote(s))
		}
	}
	if len(s) > 253 {
		return fmt.Errorf("the host %s is longer than 253 characters", quote(s))
	}
	return nil
}

func isLabel(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) && s[i] != '_' && (s[i] != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// checkHostPattern accepts hosts, and *.example.com for all below example.com.
func checkHostPattern(s string) error {
	if rest, ok := strings.CutPrefix(s, "*."); ok {
		return checkHost(rest)
	}
	if strings.Contains(s, "*") {
		return fmt.Errorf("%s has a * elsewhere than in front, as *.example.com; leave hosts out for any", quote(s))
	}
	return checkHost(s)
}

// checkAddress accepts host:port; without a host where the address is one to listen on, for all of the machine's.
func checkAddress(s string, listen bool) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%s is not an address; expected host:port", quote(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && !listen {
		return fmt.Errorf("%s has no port from 1 to 65535", quote(s))
	}
	if host == "" && listen {
		return nil
	}
	// Zones are for link-local addresses, which checkHost's other callers have no use for.
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() != "" {
		return nil
	}
	return checkHost(host)
}

// isLoopback reports whether only this machine can reach the address, which is a valid one.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// checkOrigin accepts web origins as browsers send them (RFC 6454 section 6.2), "*", and https://*.example.com for every
// name below example.com. "null" is not accepted: any page can give itself that origin, in a sandboxed frame.
func checkOrigin(s string) error {
	if s == "*" {
		return nil
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found || !isScheme(scheme) {
		return fmt.Errorf("%s is not an origin; expected scheme://host[:port], as https://app.example.com, or *", quote(s))
	}
	if s != strings.ToLower(s) {
		return fmt.Errorf("origins are in lower case; write %s", quote(strings.ToLower(s)))
	}
	if i := strings.IndexAny(rest, "/?#@"); i >= 0 {
		return fmt.Errorf("%s is not an origin: it has more than scheme, host and port", quote(s))
	}
	host := rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		var port string
		host, port = rest[:i], rest[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("%s has no port from 1 to 65535 after the colon", quote(s))
		}
		if scheme == "https" && n == 443 || scheme == "http" && n == 80 {
			return fmt.Errorf("browsers leave the port of %s out; write %s", scheme, quote(scheme+"://"+host))
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || !strings.HasSuffix(inner, "]") {
			return fmt.Errorf("%s has no IPv6 address in the brackets", quote(s))
		}
		return nil
	}
	if below, ok := strings.CutPrefix(host, "*."); ok {
		if !strings.Contains(below, ".") && below != "localhost" {
			return fmt.Errorf("%s has too many names below it; expected one as https://*.example.com", quote(s))
		}
		host = below
	}
	return checkHost(host)
}

func isScheme(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && (i == 0 || !isDigit(s[i]) && strings.IndexByte("+-.", s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

// checkPath accepts absolute paths as they stand in a request (RFC 3986 section 3.3).
func checkPath(s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%s does not begin with /", quote(s))
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])):
			return fmt.Errorf("%s has a %% without two hexadecimal digits after it", quote(s))
		case c == '%' || isLetter(c) || isDigit(c) || strings.IndexByte("/-._~!$&'()*+,;=:@", c) >= 0:
		default:
			return fmt.Errorf("%s has %q, which must be percent-encoded in a path", quote(s), firstRune(s[i:]))
		}
	}
	for segment := range strings.SplitSeq(s[1:], "/") {
		switch segment {
		case ".", "..":
			return fmt.Errorf("%s has the segment %s; write the path without it", quote(s), segment)
		case "*", "**":
			return fmt.Errorf("%s has a wildcard; use path_prefix for all paths below one", quote(s))
		}
	}
	return nil
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// isFullName reports whether s is a name of protobuf with its package: identifiers with dots between.
func isFullName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		for i := range len(part) {
			if c := part[i]; c != '_' && !isLetter(c) && (i == 0 || !isDigit(c)) {
				return false
			}
		}
		if part == "" {
			return false
		}
	}
	return true
}
