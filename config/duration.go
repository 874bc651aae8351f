package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/crossgate/crossgate/config/internal/syntax"
)

// Duration is a length of time, written as 250ms, 5s, 10m, 2h or 7d.
type Duration time.Duration

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d as a configuration may have it.
func (d Duration) String() string {
	if d > 0 && d%Duration(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/Duration(24*time.Hour)), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns what String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

var durationSyntax = regexp.MustCompile(`^(` + syntax.Duration + `)$`)

func parseDuration(s string) (Duration, error) {
	if !durationSyntax.MatchString(s) {
		return 0, fmt.Errorf("%s is not a duration; expected a number with a unit, as 250ms, 5s, 10m, 2h or 7d", quote(s))
	}
	if count, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n > int64(maxDuration/days) {
			return 0, fmt.Errorf("%s is too long; the longest is %dd", quote(s), maxDuration/days)
		}
		return Duration(n) * Duration(days), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d > maxDuration {
		return 0, fmt.Errorf("%s is too long; the longest is %dd", quote(s), maxDuration/days)
	}
	return Duration(d), nil
}

// maxDuration leaves room to add a duration to any time of this century without overflow.
const (
	days        = 24 * time.Hour
	maxDuration = 36500 * days
)
