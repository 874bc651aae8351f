package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // containers may have no time zones
)

// limited is what limits of a list are for.
type limited uint8

const (
	ofRequests limited = iota
	ofMessages         // of a WebSocket
	shared             // the section limits
)

func (v *validator) rateLimits(limits []RateLimit, of limited) {
	names := map[string]bool{}
	for i := range limits {
		l := &limits[i]
		if l.Name != "" {
			if of != shared {
				v.check(&l.Name, l.Pos, "name", checkName(l.Name))
			}
			if names[l.Name] && of != shared {
				v.errorf(v.at(&l.Name, l.Pos), "name: another limit of the list is called %s", quote(l.Name))
			}
			names[l.Name] = true
		} else if of == shared {
			v.errorf(l.Pos, "limits: name is missing")
		}
		for j := range limits[:i] {
			if l.Limit != "" && limits[j].Limit == l.Limit {
				v.errorf(v.at(&l.Limit, l.Pos), "limit: %s is charged by the list already", quote(l.Limit))
				break
			}
		}
		v.limit(l, of)
	}
}

func (v *validator) limit(l *RateLimit, of limited) {
	kinds := []choice{{"rate", v.given(&l.Rate)}, {"quota", v.given(&l.Quota)}, {"concurrency", v.given(&l.Concurrency)}}
	if of != shared {
		kinds = append(kinds, choice{"limit", v.given(&l.Limit)})
	} else if v.given(&l.Limit) {
		v.errorf(v.at(&l.Limit, l.Pos), "limit: a limit of the section limits names no other")
	}
	v.exactlyOne(l.Pos, "rate_limits", kinds...)
	for i := range l.Costs {
		c := &l.Costs[i]
		v.words(c.Methods, c.Pos, "methods", checkLimitedMethod)
	}
	if of != shared && v.given(&l.Limit) {
		v.onlyCosts(l)
		return
	}
	for i := range l.Per {
		v.check(&l.Per[i], v.at(&l.Per, l.Pos), "per", checkPer(l.Per[i], of))
		if slices.Contains(l.Per[:i], l.Per[i]) {
			v.errorf(v.at(&l.Per[i], l.Pos), "per: %s is in the list twice", quote(l.Per[i]))
		}
	}
	if _, err := time.LoadLocation(l.TimeZone); err != nil || l.TimeZone == "Local" {
		v.errorf(v.at(&l.TimeZone, l.Pos), "time_zone: %s is no time zone; expected a name of the IANA database, as Europe/Berlin", quote(l.TimeZone))
	}
	v.ofAnotherKind(l)
	if of == ofMessages && v.given(&l.Concurrency) {
		v.errorf(v.at(&l.Concurrency, l.Pos), "concurrency: messages do not last; it is for rate_limits")
	}
}

// given reports whether a file has a value for a field.
func (v *validator) given(field any) bool {
	_, ok := v.places[field]
	return ok
}

// said reports whether a file has another value for a field than its default, which may always be written.
func (v *validator) said(field any, initial string) bool {
	return v.given(field) && fmt.Sprint(reflect.ValueOf(field).Elem()) != initial
}

// ofAnotherKind refuses keys that a limit's kind has no use for.
func (v *validator) ofAnotherKind(l *RateLimit) {
	rate, quota, far := v.given(&l.Rate), v.given(&l.Quota), l.Store != "memory"
	for _, k := range []struct {
		key, want string
		field     any
		initial   string
		ok        bool
	}{
		{"burst", "a rate", &l.Burst, "", rate},
		{"period", "a quota", &l.Period, "month", quota},
		{"time_zone", "a quota", &l.TimeZone, "UTC", quota},
		{"cost", "a rate or a quota", &l.Cost, "1", rate || quota},
		{"on_failure", "a store that may be gone", &l.OnFailure, "local", far},
		{"local_share", "a store that may be gone", &l.LocalShare, "100", far},
	} {
		if v.said(k.field, k.initial) && !k.ok {
			v.errorf(v.at(k.field, l.Pos), "%s: it is for %s", k.key, k.want)
		}
	}
	if l.Store == "leased" && !rate {
		v.errorf(v.at(&l.Store, l.Pos), "store: leased is for a rate")
	}
}

// onlyCosts refuses what a limit says itself that another defines.
func (v *validator) onlyCosts(l *RateLimit) {
	for _, k := range []struct {
		key     string
		field   any
		initial string
	}{
		{"name", &l.Name, ""}, {"per", &l.Per, "[ip]"}, {"ipv6_prefix", &l.IPv6Prefix, "64"}, {"burst", &l.Burst, ""},
		{"period", &l.Period, "month"}, {"time_zone", &l.TimeZone, "UTC"}, {"store", &l.Store, "memory"},
		{"on_failure", &l.OnFailure, "local"}, {"local_share", &l.LocalShare, "100"}, {"dry_run", &l.DryRun, "false"},
	} {
		if v.said(k.field, k.initial) {
			v.errorf(v.at(k.field, l.Pos), "%s: the limit %s says that, in the section limits", k.key, quote(l.Limit))
		}
	}
}

// limitReferences checks the limits that others name.
func (v *validator) limitReferences(names map[string]Position) {
	check := func(limits []RateLimit) {
		for i := range limits {
			v.reference(&limits[i].Limit, limits[i].Pos, "limit", names)
		}
	}
	for i := range v.config.Routes {
		r := &v.config.Routes[i]
		check(r.RateLimits)
		if r.WebSocket != nil {
			check(r.WebSocket.MessageRateLimits)
		}
		if r.GRPC != nil && r.GRPC.WebSocket != nil {
			check(r.GRPC.WebSocket.MessageRateLimits)
		}
	}
}

// checkLimitedMethod accepts HTTP methods, and selectors of gRPC methods.
func checkLimitedMethod(s string) error {
	if s == "*" || strings.Contains(s, ".") {
		return CheckSelector(s)
	}
	return checkMethod(s)
}

func checkPer(s string, of limited) error {
	kind, name, named := strings.Cut(s, ":")
	if named {
		switch kind {
		case "header":
			return checkHeaderName(name)
		case "claim":
			if name == "" {
				return errors.New("claim has no name")
			}
			return nil
		case "path":
			return checkFieldPath(name)
		}
	}
	kinds := []string{"ip", "user", "key", "route", "method", "connection"}
	switch {
	case !slices.Contains(kinds, s):
		return fmt.Errorf("%s is nobody to count for; expected %s%s", quote(s),
			orList(append(kinds, "header:NAME", "claim:NAME", "path:NAME")), didYouMean(s, kinds))
	case s == "connection" && of == ofRequests:
		return errors.New("connection counts messages; it is for message_rate_limits only")
	}
	return nil
}
