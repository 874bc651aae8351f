package config

import (
	"fmt"
	"strconv"
	"strings"
)

// quote returns s as errors show it: in quotes, on one line, and not too long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		cut := most
		for cut > 0 && s[cut]&0xC0 == 0x80 {
			cut--
		}
		return strconv.Quote(s[:cut]) + "…"
	}
	return strconv.Quote(s)
}

// didYouMean returns `; did you mean "x"?` for the candidate that got is likely a slip of, or nothing.
func didYouMean(got string, candidates []string) string {
	if len(got) > 64 {
		return ""
	}
	best, least := "", len(got)/3+1
	for _, c := range candidates {
		if strings.EqualFold(letters(got), letters(c)) {
			best = c
			break
		}
		if d := distance(got, c); d < least || d == least && best == "" && d < len(c) {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// letters drops what people put between words, so that pathPrefix and path-prefix are found to be path_prefix.
func letters(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(s)
}

// distance is the number of characters to insert, delete, change or swap with their neighbour to make b of a
// (optimal string alignment).
func distance(a, b string) int {
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
