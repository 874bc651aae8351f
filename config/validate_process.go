package config

import (
	"errors"
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
		if l.TLS != nil && !v.broken[&l.TLS] {
			v.serverTLS(l.TLS)
		}
		if first, ok := seen[l.Address]; ok && !strings.HasSuffix(l.Address, ":0") {
			v.errorf(v.at(&l.Address, l.Pos), "address: %s is taken by another listener, at %s", quote(l.Address), first)
			continue
		}
		seen[l.Address] = v.at(&l.Address, l.Pos)
	}
}

func (v *validator) serverTLS(t *ServerTLS) {
	if (t.Certificate == "") != (t.Key == "") {
		v.errorf(t.Pos, "tls: certificate and key are needed together")
	}
	if len(t.Pairs()) == 0 && t.ACME == nil {
		v.errorf(t.Pos, "tls: certificate and key, certificates, or acme is needed")
	}
	if a := t.ACME; a != nil {
		v.words(a.Domains, a.Pos, "domains", checkDomain)
		v.check(&a.DirectoryURL, a.Pos, "directory_url", checkHTTPURL(a.DirectoryURL))
	}
}

// checkDomain checks a name to get a certificate for: tls-alpn-01 is for whole names only (RFC 8737 section 3).
func checkDomain(s string) error {
	if strings.Contains(s, "*") {
		return fmt.Errorf("%s: the challenge tls-alpn-01 is for no wildcards", quote(s))
	}
	return checkHost(s)
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
		v.redisURLs(r)
		if strings.ContainsAny(r.Prefix, " \t\r\n*?[]{}") {
			v.errorf(v.at(&r.Prefix, r.Pos), "prefix: %s may not have spaces, *, ?, brackets or braces", quote(r.Prefix))
		}
	}
}

func (v *validator) redisURLs(r *Redis) {
	switch {
	case r.URL == "" && len(r.URLs) == 0:
		v.errorf(r.Pos, "redis: url or urls is needed")
	case r.URL != "" && len(r.URLs) > 0:
		v.errorf(v.at(&r.URLs, r.Pos), "urls: url is given too; one of the two is expected")
	case r.URL != "":
		v.check(&r.URL, r.Pos, "url", checkRedisURL(r.URL.Reveal()))
	}
	hosts := map[string]bool{}
	for i := range r.URLs {
		err := checkRedisURL(r.URLs[i].Reveal())
		if u, _ := url.Parse(r.URLs[i].Reveal()); err == nil && hosts[u.Host] {
			err = fmt.Errorf("another URL has the same host and port")
		} else if err == nil {
			hosts[u.Host] = true
		}
		v.check(&r.URLs[i], v.at(&r.URLs, r.Pos), "urls", err)
	}
}

// checkRedisURL never repeats any part of s, nor the words of a parser that would: it may have a password in it.
func checkRedisURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return errRedisURL
	}
	scheme, kind, several := strings.Cut(u.Scheme, "+")
	if scheme != "redis" && scheme != "rediss" || several && kind != "cluster" && kind != "sentinel" {
		return fmt.Errorf("the scheme is neither redis nor rediss, nor one of them with +sentinel or +cluster; expected redis://[user:password@]host:port/db")
	}
	u.Scheme = scheme
	switch kind {
	case "cluster":
		if u.Path != "" && u.Path != "/" {
			return fmt.Errorf("a cluster has no databases; expected redis+cluster://[user:password@]host:port")
		}
		_, err = redis.ParseClusterURL(u.String())
	case "sentinel":
		query := u.Query()
		if query.Get("master_name") == "" {
			return fmt.Errorf("the URL names no master; expected redis+sentinel://[user:password@]host:port/db?master_name=name")
		}
		query.Del("sentinel_username")
		query.Del("sentinel_password")
		u.RawQuery = query.Encode()
		_, err = redis.ParseFailoverURL(u.String())
	default:
		_, err = redis.ParseURL(u.String())
	}
	if err != nil {
		return errRedisURL
	}
	return nil
}

var errRedisURL = errors.New("the URL cannot be read; expected redis://[user:password@]host:port/db, with other characters percent-encoded")
