package cache

import (
	"strings"
	"testing"
)

func FuzzDirectivesAllowNothingThatIsNotThere(f *testing.F) {
	for _, s := range []string{"max-age=10", `private="a, b", s-maxage="5"`, `x="\"`, "no-cache,,public ,", "max-stale", "max-age=-1, max-age=99999999999999999999", `=,"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d := parseDirectives([]string{line})
		lower := strings.ToLower(line)
		if d.public && !strings.Contains(lower, "public") || d.sMaxAge > 0 && !strings.Contains(lower, "s-maxage") || d.maxAge > 0 && !strings.Contains(lower, "max-age") {
			t.Errorf("%q is %+v", line, d)
		}
		for _, n := range []int64{int64(d.maxAge), int64(d.sMaxAge), int64(d.staleIfError), int64(d.staleWhileRevalidate)} {
			if n < int64(absent) || n > int64(forever) {
				t.Errorf("%q has a duration of %d", line, n)
			}
		}
		// What forbids comes through, wherever it stands among others.
		if d := parseDirectives([]string{line, "no-store, private"}); !d.noStore || !d.private {
			t.Errorf("%q hides what follows", line)
		}
	})
}
