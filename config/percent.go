package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/crossgate/crossgate/config/internal/syntax"
)

// Percent is a share in hundredths of a percent, written as 5, 0.01 or 12.5%.
type Percent int32

// Whole is all there is.
const Whole Percent = 100_00

// String returns p as a configuration may have it.
func (p Percent) String() string {
	return strconv.FormatFloat(float64(p)/100, 'f', -1, 64)
}

// MarshalText returns what String does.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

var percentSyntax = regexp.MustCompile(`^(` + syntax.Percent + `)$`)

func parsePercent(s string) (Percent, error) {
	if !percentSyntax.MatchString(s) {
		return 0, fmt.Errorf("%s is not a percentage; expected a number with two digits after the point at most, as 5, 0.01 or 12.5%%", quote(s))
	}
	whole, fraction, _ := strings.Cut(strings.TrimSuffix(s, "%"), ".")
	n, err := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is too large a percentage", quote(s))
	}
	return Percent(n), nil
}
