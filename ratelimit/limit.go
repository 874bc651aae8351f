package ratelimit

import (
	"fmt"
	"time"
)

// Kind is what a limit counts.
type Kind uint8

// The kinds of limits.
const (
	Rate        Kind = iota // events over time: a steady rate with a burst, by the generic cell rate algorithm (ITU-T I.371)
	Quota                   // events of a day, a week or a month of the calendar
	Concurrency             // what goes on at the same time
)

// Limit is one bound. Stores count limits that pass Check.
type Limit struct {
	Kind   Kind
	Events int           // of a rate: events in Per, at least 1
	Per    time.Duration // of a rate: above 0
	Burst  int           // the most that may come at once, of a quota in its time, at least 1
	// Calendar says when a quota begins anew.
	Calendar *Calendar
}

// maxSpan bounds the time an empty bucket takes to fill, so that no sum of times overflows.
const maxSpan = 100 * 365 * 24 * time.Hour

// Check reports what of l no store can count.
func (l *Limit) Check() error {
	switch {
	case l.Burst < 1 || l.Burst > 1<<31-1:
		return fmt.Errorf("%d is no bound; it is at least 1", l.Burst)
	case l.Kind == Quota && l.Calendar == nil:
		return fmt.Errorf("a quota of %d without a calendar", l.Burst)
	case l.Kind != Rate:
		return nil
	case l.Events < 1 || l.Per < 1:
		return fmt.Errorf("%d events in %v with a burst of %d; each is at least 1", l.Events, l.Per, l.Burst)
	case time.Duration(l.Burst) > maxSpan/l.interval():
		return fmt.Errorf("a burst of %d at %d events in %v takes more than 100 years to fill", l.Burst, l.Events, l.Per)
	}
	return nil
}

// Window is the time in which no more than Burst events are allowed: the time a rate takes to fill its burst, a day or a
// week. It is 0 for a month, whose length changes, and for a concurrency limit.
func (l *Limit) Window() time.Duration {
	switch l.Kind {
	case Rate:
		return l.interval() * time.Duration(l.Burst)
	case Quota:
		return l.Calendar.period.length()
	}
	return 0
}

// interval is the time one event takes up.
func (l *Limit) interval() time.Duration { return max(1, l.Per/time.Duration(l.Events)) }

// share is the limit that a node counts which has a percentage of it.
func (l Limit) share(percent int) Limit {
	if percent <= 0 || percent >= 100 {
		return l
	}
	l.Burst = max(1, l.Burst*percent/100)
	if l.Kind == Rate {
		l.Per, l.Events = l.interval()*100/time.Duration(percent), 1
	}
	return l
}

// askAgain is when a concurrency limit may have a place again: nobody knows when something ends.
const askAgain = time.Second

// bucket is what is kept of a key. For a rate at is its theoretical arrival time, for a quota the end of the window in
// which size events were allowed and used ones came. Times are nanoseconds since 1970.
type bucket struct {
	at         time.Duration
	used, size int32
}

// decide says whether cost events fit a bucket, and what they leave it as.
func (l *Limit) decide(cost int, b bucket, now time.Duration) (Decision, bucket) {
	if l.Kind == Quota {
		return l.decideQuota(cost, b, now)
	}
	interval := l.interval()
	room := interval * time.Duration(l.Burst)
	lead := max(0, b.at-now)
	d := Decision{Limit: l.Burst}
	// A cost above the burst may not overflow: it never fits, and nobody knows when it would.
	if next := lead + interval*time.Duration(min(cost, l.Burst+1)); next <= room {
		d.Allowed, lead = true, next
	} else {
		d.RetryAfter = next - room
	}
	d.Remaining = int((room - lead) / interval)
	d.Reset = lead
	return d, bucket{at: now + lead}
}

func (l *Limit) decideQuota(cost int, b bucket, now time.Duration) (Decision, bucket) {
	if b.at <= now {
		b = bucket{at: l.Calendar.at(now).end}
	}
	b.size = int32(l.Burst)
	d := Decision{Limit: l.Burst, Reset: b.at - now}
	if cost <= l.Burst-int(b.used) {
		d.Allowed = true
		b.used += int32(cost)
	} else {
		d.RetryAfter = d.Reset
	}
	d.Remaining = max(0, l.Burst-int(b.used))
	return d, b
}

// giveBack is the bucket without cost events that it was charged.
func (l *Limit) giveBack(cost int, b bucket) bucket {
	if l.Kind == Quota {
		b.used = max(0, b.used-int32(cost))
		return b
	}
	b.at -= l.interval() * time.Duration(cost)
	return b
}

// owed is how long it takes until nothing is lost with the bucket: what an attacker gains who has it dropped.
func (b bucket) owed(now time.Duration) time.Duration {
	left := b.at - now
	if b.size == 0 || left <= 0 {
		return left
	}
	return left / time.Duration(b.size) * time.Duration(b.used)
}
