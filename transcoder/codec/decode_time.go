package codec

import (
	"time"
)

// seconds writes the fields of a Timestamp or a Duration.
func (d *decoder) seconds(seconds int64, nanos int32) {
	if seconds != 0 {
		d.out = appendVarint(append(d.out, 1<<3), uint64(seconds))
	}
	if nanos != 0 {
		d.out = appendVarint(append(d.out, 2<<3), uint64(nanos))
	}
}

// The range of a Timestamp, as google/protobuf/timestamp.proto gives it.
const (
	minTimestamp = -62135596800
	maxTimestamp = 253402300799
)

func (d *decoder) timestamp(i int) int {
	const want = "a google.protobuf.Timestamp as in RFC 3339"
	if d.in[i] != '"' {
		return d.failToken(i, want)
	}
	text, end := d.string(i)
	if end < 0 {
		return end
	}
	seconds, nanos, ok := parseTimestamp(text)
	if !ok {
		seconds, nanos, ok = looseTimestamp(string(text))
	}
	if !ok || seconds < minTimestamp || seconds > maxTimestamp {
		return d.failToken(i, want)
	}
	d.seconds(seconds, nanos)
	return end
}

// parseTimestamp reads the exact form of RFC 3339 and leaves others to looseTimestamp.
func parseTimestamp(b []byte) (seconds int64, nanos int32, ok bool) {
	if len(b) < len("2006-01-02T15:04:05Z") || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, 0, false
	}
	century, ok1 := twoDigits(b, 0)
	year, ok2 := twoDigits(b, 2)
	month, ok3 := twoDigits(b, 5)
	day, ok4 := twoDigits(b, 8)
	hour, ok5 := twoDigits(b, 11)
	minute, ok6 := twoDigits(b, 14)
	second, ok7 := twoDigits(b, 17)
	year += 100 * century
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 59 {
		return 0, 0, false
	}
	i := 19
	if b[i] == '.' {
		i++
		start := i
		for i < len(b) && isDigit(b[i]) {
			nanos = nanos*10 + int32(b[i]-'0')
			if i++; i-start > 9 {
				return 0, 0, false
			}
		}
		if i == start {
			return 0, 0, false
		}
		for n := i - start; n < 9; n++ {
			nanos *= 10
		}
	}
	offset := 0
	switch {
	case i+1 == len(b) && b[i] == 'Z':
	case i+6 == len(b) && (b[i] == '+' || b[i] == '-') && b[i+3] == ':':
		h, ok1 := twoDigits(b, i+1)
		m, ok2 := twoDigits(b, i+4)
		if !ok1 || !ok2 || h > 23 || m > 59 {
			return 0, 0, false
		}
		offset = h*3600 + m*60
		if b[i] == '-' {
			offset = -offset
		}
	default:
		return 0, 0, false
	}
	days := daysSinceEpoch(year, month, day)
	return days*86400 + int64(hour*3600+minute*60+second-offset), nanos, true
}

func twoDigits(b []byte, i int) (int, bool) {
	x, y := b[i]-'0', b[i+1]-'0'
	return int(x)*10 + int(y), x <= 9 && y <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts the days from 1970-01-01 in the Gregorian calendar, by years that begin in March.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 719469)
}

// looseTimestamp takes what package time takes for RFC 3339, as protojson does.
func looseTimestamp(s string) (seconds int64, nanos int32, ok bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, 0, false
	}
	dot, zone := -1, -1
	for i := range len(s) {
		switch s[i] {
		case '.':
			dot = i
		case 'Z', '-', '+':
			zone = i
		}
	}
	if dot >= 0 && zone >= dot && zone-dot > len(".999999999") {
		return 0, 0, false
	}
	return t.Unix(), int32(t.Nanosecond()), true
}

// maxDuration is the range of a Duration in seconds, as google/protobuf/duration.proto gives it.
const maxDuration = 315576000000

func (d *decoder) duration(i int) int {
	const want = "a google.protobuf.Duration, such as \"1.5s\""
	if d.in[i] != '"' {
		return d.failToken(i, want)
	}
	text, end := d.string(i)
	if end < 0 {
		return end
	}
	seconds, nanos, ok := parseSeconds(text)
	if !ok {
		return d.failToken(i, want)
	}
	d.seconds(seconds, nanos)
	return end
}

// parseSeconds reads a decimal number with an s, perhaps with a sign, of at most nine decimals.
func parseSeconds(b []byte) (seconds int64, nanos int32, ok bool) {
	if len(b) < 2 || b[len(b)-1] != 's' {
		return 0, 0, false
	}
	b = b[:len(b)-1]
	neg := b[0] == '-'
	if neg || b[0] == '+' {
		b = b[1:]
	}
	n := scanDigits(b, 0)
	if len(b) == 0 || n > 1 && b[0] == '0' || n == 0 && b[0] != '.' {
		return 0, 0, false
	}
	for _, c := range b[:n] {
		if seconds = seconds*10 + int64(c-'0'); seconds > maxDuration {
			return 0, 0, false
		}
	}
	if b = b[n:]; len(b) > 0 {
		if b[0] != '.' || len(b) > len(".999999999") || scanDigits(b, 1) != len(b) {
			return 0, 0, false
		}
		for i := 1; i <= 9; i++ {
			nanos *= 10
			if i < len(b) {
				nanos += int32(b[i] - '0')
			}
		}
	}
	if neg {
		return -seconds, -nanos, true
	}
	return seconds, nanos, true
}
