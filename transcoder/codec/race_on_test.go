//go:build race

package codec

// raceEnabled: the race detector makes pools forget, so that allocations cannot be counted.
const raceEnabled = true
