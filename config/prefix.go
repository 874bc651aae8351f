package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// Prefix is a range of IP addresses, written as 10.0.0.0/8 or 2001:db8::/32; a bare address is the range of itself.
type Prefix netip.Prefix

// Std returns p as a netip.Prefix.
func (p Prefix) Std() netip.Prefix { return netip.Prefix(p) }

// String returns p in CIDR notation.
func (p Prefix) String() string { return netip.Prefix(p).String() }

// MarshalText returns what String does.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func parsePrefix(s string) (Prefix, error) {
	var p netip.Prefix
	var err error
	if strings.Contains(s, "/") {
		p, err = netip.ParsePrefix(s)
	} else {
		var a netip.Addr
		if a, err = netip.ParseAddr(s); err == nil && a.Zone() == "" {
			p = netip.PrefixFrom(a, a.BitLen())
		}
	}
	switch {
	case err != nil || !p.IsValid():
		return Prefix{}, fmt.Errorf("%s is not a range of addresses; expected CIDR notation, as 10.0.0.0/8 or 2001:db8::/32", quote(s))
	case p.Addr().Is4In6():
		return Prefix{}, fmt.Errorf("%s is an IPv4 range written as IPv6; write it as IPv4", quote(s))
	case p != p.Masked():
		return Prefix{}, fmt.Errorf("%s has bits set beyond its length; did you mean %s?", quote(s), p.Masked())
	}
	return Prefix(p), nil
}
