//go:build !race

package codec

const raceEnabled = false

func rounds(n int) int { return n }
