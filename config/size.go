package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/crossgate/crossgate/config/internal/syntax"
)

// Size is a number of bytes, written as 512, 64KiB, 4MiB, 1GiB (or KB, MB, GB for powers of ten).
type Size int64

// String returns s in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range [...]string{"TiB", "GiB", "MiB", "KiB"} {
		if n := sizeUnits[u]; s >= Size(n) && s%Size(n) == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + u
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText returns what String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

var sizeSyntax = regexp.MustCompile(`^` + syntax.Size + `$`)

func parseSize(s string) (Size, error) {
	m := sizeSyntax.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%s is not a size; expected bytes, as 512, 64KiB, 4MiB or 1GB", quote(s))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := sizeUnits[m[2]]
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%s is too large; the largest is %d bytes", quote(s), int64(math.MaxInt64))
	}
	return Size(n * unit), nil
}
