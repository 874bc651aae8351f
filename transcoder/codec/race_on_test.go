//go:build race

package codec

// raceEnabled: the race detector makes pools forget, so that allocations cannot be counted.
const raceEnabled = true

// rounds is how often a test does what one goroutine does: the detector has nothing to find in it and is slow.
func rounds(n int) int { return max(1, n/10) }
