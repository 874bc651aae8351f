package config

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

func (v *validator) listeners() {
	seen := make(map[string]Position)
	for i := range v.config.Listeners {
		l := &v.config.Listeners[i]
		if v.broken[l] {
			continue
		}
		v.check(&l.Address, l.Pos, "address", checkAddress(l.Address, true))
		if first, ok := seen[l.Address]; ok && !strings.HasSuffix(l.Address, ":0") {
			v.errorf(v.at(&l.Address, l.Pos), "address: %s is taken by another listener, at %s", quote(l.Address), first)
			continue
		}
		seen[l.Address] = v.at(&l.Address, l.Pos)
	}
}

// process checks the sections about the process as a whole.
func (v *validator) process() {
	if a := &v.config.Admin; a.Address != "off" && !v.broken[a] {
		err := checkAddress(a.Address, true)
		if err == nil && a.Token == "" && !isLoopback(a.Address) {
			err = fmt.Errorf("%s is not loopback; admin needs a token then", quote(a.Address))
		}
		v.check(&a.Address, a.Pos, "address", err)
	}
	if r := v.config.Redis; r != nil && !v.broken[&v.config.Redis] {
		v.check(&r.URL, r.Pos, "url", checkRedisURL(r.URL.Reveal()))
		if strings.ContainsAny(r.Prefix, " \t\r\n*?[]{}") {
			v.errorf(v.at(&r.Prefix, r.Pos), "prefix: %s may not have spaces, *, ?, brackets or braces", quote(r.Prefix))
		}
	}
}

// checkRedisURL never repeats any part of s, nor the words of a parser that would: it may have a password in it.
func checkRedisURL(s string) error {
	u, err := url.Parse(s)
	if err == nil && u.Scheme != "redis" && u.Scheme != "rediss" {
		return fmt.Errorf("the scheme is neither redis nor rediss; expected redis://[user:password@]host:port/db")
	}
	if err == nil && u.Hostname() != "" {
		_, err = redis.ParseURL(s)
	}
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("the URL cannot be read; expected redis://[user:password@]host:port/db, with other characters percent-encoded")
	}
	return nil
}
