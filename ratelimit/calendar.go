package ratelimit

import (
	"sync/atomic"
	"time"
)

// Period is how long a quota holds.
type Period uint8

// The periods: weeks begin on Monday (ISO 8601).
const (
	Day Period = iota
	Week
	Month
)

// length is 0 for a period that is not always as long.
func (p Period) length() time.Duration {
	return [...]time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 0}[p]
}

// Calendar says when the periods of a time zone begin. Create it with NewCalendar.
type Calendar struct {
	period Period
	zone   *time.Location
	last   atomic.Pointer[window]
}

// NewCalendar returns the calendar of a period in a time zone.
func NewCalendar(p Period, zone *time.Location) *Calendar { return &Calendar{period: p, zone: zone} }

// window is one period, and the end of the one after it: Redis, whose clock decides, may be there already.
type window struct{ start, end, next time.Duration }

// at returns the window that a moment is in.
func (c *Calendar) at(now time.Duration) *window {
	if w := c.last.Load(); w != nil && w.start <= now && now < w.end {
		return w
	}
	year, month, day := time.Unix(0, int64(now)).In(c.zone).Date()
	begin := func(n int) time.Duration {
		var t time.Time
		switch c.period {
		case Day:
			t = time.Date(year, month, day+n, 0, 0, 0, 0, c.zone)
		case Week:
			sinceMonday := (int(time.Date(year, month, day, 12, 0, 0, 0, time.UTC).Weekday()) + 6) % 7
			t = time.Date(year, month, day-sinceMonday+7*n, 0, 0, 0, 0, c.zone)
		case Month:
			t = time.Date(year, month+time.Month(n), 1, 0, 0, 0, 0, c.zone)
		}
		return time.Duration(t.UnixNano())
	}
	w := &window{begin(0), begin(1), begin(2)}
	c.last.Store(w)
	return w
}
