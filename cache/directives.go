package cache

import (
	"strings"
	"time"
)

// directives are what Cache-Control says (RFC 9111 section 5.2, RFC 5861). Of a duration absent is what is not there.
type directives struct {
	maxAge, sMaxAge, minFresh, maxStale, staleWhileRevalidate, staleIfError time.Duration

	noStore, noCache, private, public, mustRevalidate, proxyRevalidate, mustUnderstand, onlyIfCached bool
}

const (
	absent = time.Duration(-1)
	// forever is the largest number of seconds that a field may mean (RFC 9111 section 1.2.2).
	forever = (1 << 31) * time.Second
)

// parseDirectives reads the lines of a Cache-Control field. What is malformed is read as if it allowed less: a number that is
// none is 0, and of a directive that is there twice the shorter one counts.
func parseDirectives(lines []string) directives {
	d := directives{maxAge: absent, sMaxAge: absent, minFresh: absent, maxStale: absent, staleWhileRevalidate: absent, staleIfError: absent}
	for _, line := range lines {
		for line != "" {
			var name, value string
			name, value, line = nextDirective(line)
			d.add(name, value)
		}
	}
	return d
}

// nextDirective cuts the first directive off a line. A quoted value may have commas.
func nextDirective(line string) (name, value, rest string) {
	end := strings.IndexAny(line, ",=")
	if end < 0 {
		return trim(line), "", ""
	}
	name, rest = trim(line[:end]), line[end+1:]
	if line[end] == ',' {
		return name, "", rest
	}
	rest = strings.TrimLeft(rest, " \t")
	if !strings.HasPrefix(rest, `"`) {
		value, rest, _ = strings.Cut(rest, ",")
		return name, trim(value), rest
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			value = rest[1:i]
			_, rest, _ = strings.Cut(rest[i:], ",")
			return name, value, rest
		}
	}
	return name, rest, "" // a quote without its end
}

func trim(s string) string { return strings.Trim(s, " \t") }

func (d *directives) add(name, value string) {
	is := func(s string) bool { return strings.EqualFold(name, s) }
	switch {
	case is("max-age"):
		atMost(&d.maxAge, value)
	case is("s-maxage"):
		atMost(&d.sMaxAge, value)
	case is("no-store"):
		d.noStore = true
	case is("no-cache"):
		// Fields that it may name make no difference: they would be left out of what is given without asking, and so all of it
		// waits for the backend (RFC 9111 section 5.2.2.4 allows that).
		d.noCache = true
	case is("private"):
		d.private = true
	case is("public"):
		d.public = true
	case is("must-revalidate"):
		d.mustRevalidate = true
	case is("proxy-revalidate"):
		d.proxyRevalidate = true
	case is("must-understand"):
		d.mustUnderstand = true
	case is("only-if-cached"):
		d.onlyIfCached = true
	case is("stale-while-revalidate"):
		atMost(&d.staleWhileRevalidate, value)
	case is("stale-if-error"):
		atMost(&d.staleIfError, value)
	case is("min-fresh"):
		d.minFresh = seconds(value)
	case is("max-stale"):
		if d.maxStale = forever; value != "" {
			d.maxStale = seconds(value)
		}
	}
}

func atMost(d *time.Duration, value string) {
	if n := seconds(value); *d == absent || n < *d {
		*d = n
	}
}

// seconds reads a number of seconds, 0 where it is none.
func seconds(s string) time.Duration {
	if s == "" {
		return 0
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = min(n*10+int64(s[i]-'0'), int64(forever/time.Second))
	}
	return time.Duration(n) * time.Second
}

// ofRequest reads what a request says. Pragma counts where there is no Cache-Control (RFC 9111 section 5.4).
func ofRequest(h map[string][]string) directives {
	lines, ok := h["Cache-Control"]
	d := parseDirectives(lines)
	if !ok {
		for _, line := range h["Pragma"] {
			d.noCache = d.noCache || strings.Contains(strings.ToLower(line), "no-cache")
		}
	}
	return d
}
