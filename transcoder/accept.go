package transcoder

import (
	"iter"
	"strings"
)

// Weighted yields the values of a header of weighted ones — Accept, Accept-Encoding — each with its weight in
// thousandths (RFC 9110 section 12.4.2). Other parameters are left out. One whose weight cannot be read is passed over.
func Weighted(header []string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for _, line := range header {
			for line != "" {
				var element string
				element, line, _ = strings.Cut(line, ",")
				value, parameters, _ := strings.Cut(element, ";")
				weight, ok := weightOf(parameters)
				if value = strings.Trim(value, " \t"); value != "" && ok && !yield(value, weight) {
					return
				}
			}
		}
	}
}

// weightOf finds q among the parameters of a value: 1000 where there is none.
func weightOf(parameters string) (int, bool) {
	for parameters != "" {
		var one string
		one, parameters, _ = strings.Cut(parameters, ";")
		name, value, _ := strings.Cut(strings.Trim(one, " \t"), "=")
		if strings.EqualFold(strings.TrimRight(name, " \t"), "q") {
			return parseWeight(strings.TrimLeft(value, " \t"))
		}
	}
	return 1000, true
}

// parseWeight reads 0 to 1 with at most three decimals.
func parseWeight(s string) (int, bool) {
	if s == "" || s[0] != '0' && s[0] != '1' || len(s) > 5 || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	weight := int(s[0]-'0') * 1000
	for i, place := 2, 100; i < len(s); i, place = i+1, place/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		weight += int(s[i]-'0') * place
	}
	return weight, weight <= 1000
}
