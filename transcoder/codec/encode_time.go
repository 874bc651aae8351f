package codec

import (
	"encoding/binary"
	"fmt"
)

// seconds reads the fields of a Timestamp or a Duration.
func (e *encoder) seconds(b []byte) (seconds int64, nanos int32, err error) {
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return 0, 0, errWire
		}
		switch tag {
		case 1 << 3:
			var v uint64
			if v, i = varint(b, next); i < 0 {
				return 0, 0, errWire
			}
			seconds = int64(v)
		case 2 << 3:
			var v uint64
			if v, i = varint(b, next); i < 0 {
				return 0, 0, errWire
			}
			nanos = int32(v)
		default:
			if i, err = e.skip(b, next, tag); err != nil {
				return 0, 0, err
			}
		}
	}
	return seconds, nanos, nil
}

func (e *encoder) timestamp(out, b []byte) ([]byte, error) {
	seconds, nanos, err := e.seconds(b)
	if err != nil {
		return out, err
	}
	if seconds < minTimestamp || seconds > maxTimestamp || nanos < 0 || nanos > 999999999 {
		return out, fmt.Errorf("google.protobuf.Timestamp of %d seconds and %d nanoseconds is out of range", seconds, nanos)
	}
	days := uint32(seconds/86400 + 719528) // since the first of January of the year 0
	second := int32(seconds % 86400)
	if second < 0 {
		days--
		second += 86400
	}
	minute := uint32(second) / 60
	d := eightDigits(date(days))
	t := eightDigits(minute/60*10000 + minute%60*100 + uint32(second)%60)
	out = room(out)
	start := len(out)
	out = out[:start+len(`"2006-01-02T15:04:05`)]
	dst := out[start:]
	copy(dst, `"0000-00-00T00:00:00`)
	binary.LittleEndian.PutUint32(dst[1:], uint32(d))
	binary.LittleEndian.PutUint16(dst[6:], uint16(d>>32))
	binary.LittleEndian.PutUint16(dst[9:], uint16(d>>48))
	binary.LittleEndian.PutUint16(dst[12:], uint16(t>>16))
	binary.LittleEndian.PutUint16(dst[15:], uint16(t>>32))
	binary.LittleEndian.PutUint16(dst[18:], uint16(t>>48))
	out = appendNanos(out, nanos)
	return append(out, 'Z', '"'), nil
}

// date is the date in the Gregorian calendar so many days after the first of January of the year 0, from its March on, as the decimal number
// YYYYMMDD. It counts by years that begin in March.
func date(days uint32) uint32 {
	days -= 60 // since the first of March of the year 0
	century := (4*days + 3) / 146097
	days -= century * 146097 / 4
	y := (4*days + 3) / 1461
	days -= y * 1461 / 4
	m := (5*days + 2) / 153
	day := days - (153*m+2)/5 + 1
	year := century*100 + y
	month := m + 3
	if month > 12 {
		month -= 12
		year++
	}
	return year*10000 + month*100 + day
}

// appendNanos writes the decimals of a second: none, three, six or nine.
func appendNanos(out []byte, nanos int32) []byte {
	if nanos == 0 {
		return out
	}
	n := uint32(nanos)
	out = room(out)
	start := len(out)
	dst := out[start : start+18]
	dst[0], dst[1] = '.', byte('0'+n/1e8)
	binary.LittleEndian.PutUint64(dst[2:], eightDigits(n%1e8))
	switch {
	case n%1e6 == 0:
		return out[:start+4]
	case n%1e3 == 0:
		return out[:start+7]
	}
	return out[:start+10]
}

func (e *encoder) duration(out, b []byte) ([]byte, error) {
	seconds, nanos, err := e.seconds(b)
	if err != nil {
		return out, err
	}
	if seconds < -maxDuration || seconds > maxDuration || nanos < -999999999 || nanos > 999999999 ||
		seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0 {
		return out, fmt.Errorf("google.protobuf.Duration of %d seconds and %d nanoseconds is out of range", seconds, nanos)
	}
	out = append(out, '"')
	if seconds < 0 || nanos < 0 {
		out = append(out, '-')
		seconds, nanos = -seconds, -nanos
	}
	out = appendUint(out, uint64(seconds))
	out = appendNanos(out, nanos)
	return append(out, 's', '"'), nil
}
