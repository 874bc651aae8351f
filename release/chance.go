package release

import "math"

// byChance returns how probable it is that of all's hits as many as part's, or more, fall to it, where chance alone divides them:
// Fisher's exact test, of one side. It holds for few hits, and none, as well as for many; estimates by the normal distribution do
// not.
func byChance(partHits, part, restHits, rest int) float64 {
	all, hits := part+rest, partHits+restHits
	// The hypergeometric distribution, from partHits upward: each term from the one before.
	first := math.Exp(logChoose(part, partHits) + logChoose(rest, restHits) - logChoose(all, hits))
	if first == 0 {
		return 0
	}
	sum, term := first, first
	for k := partHits; k < min(part, hits); k++ {
		term *= float64(part-k) / float64(k+1) * float64(hits-k) / float64(rest-hits+k+1)
		sum += term
		if term < sum*1e-9 {
			break
		}
	}
	return min(sum, 1)
}

// logChoose returns the logarithm of how many ways there are to choose k of n.
func logChoose(n, k int) float64 {
	return logFactorial(n) - logFactorial(k) - logFactorial(n-k)
}

func logFactorial(n int) float64 {
	l, _ := math.Lgamma(float64(n) + 1)
	return l
}
