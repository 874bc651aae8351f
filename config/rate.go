package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/crossgate/crossgate/config/internal/syntax"
)

// Rate is a number of events in a time, written as 100/s, 5/m, 1000/h, 10/d or 10/10s.
type Rate struct {
	Events int
	Per    time.Duration
}

// String returns r as a configuration may have it.
func (r Rate) String() string {
	text := strconv.Itoa(r.Events) + "/"
	for _, u := range rateUnits {
		switch n := r.Per / u.length; {
		case r.Per%u.length != 0 || n == 0:
		case n == 1:
			return text + u.name
		default:
			return text + strconv.FormatInt(int64(n), 10) + u.name
		}
	}
	return text + "0s"
}

var rateUnits = [...]struct {
	name   string
	length time.Duration
}{
	{"d", days}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
	{"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", time.Nanosecond},
}

// MarshalText returns what String does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

var rateSyntax = regexp.MustCompile(`^` + syntax.Rate + `$`)

func parseRate(s string) (Rate, error) {
	if !rateSyntax.MatchString(s) {
		return Rate{}, fmt.Errorf("%s is not a rate; expected events per time, as 100/s, 1000/h or 10/10s", quote(s))
	}
	count, per, _ := strings.Cut(s, "/")
	events, err := strconv.ParseInt(count, 10, 32)
	if err != nil {
		return Rate{}, fmt.Errorf("%s is too high a rate; the most is %d events", quote(s), 1<<31-1)
	}
	if strings.IndexAny(per, "0123456789") != 0 {
		per = "1" + per
	}
	d, err := parseDuration(per)
	switch {
	case err != nil:
		return Rate{}, fmt.Errorf("%s is not a rate: %w", quote(s), err)
	case events == 0:
		return Rate{}, fmt.Errorf("%s lets nothing through; a rate has at least 1 event", quote(s))
	case d == 0:
		return Rate{}, fmt.Errorf("%s has no time; a rate is events per time, as 10/10s", quote(s))
	case d.Std() < time.Duration(events):
		// Limits keep the time between two events as whole nanoseconds.
		return Rate{}, fmt.Errorf("%s is too high a rate; the most is one event per nanosecond", quote(s))
	}
	return Rate{Events: int(events), Per: d.Std()}, nil
}
