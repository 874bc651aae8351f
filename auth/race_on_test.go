//go:build race

package auth

// raceEnabled: the race detector empties pools at random, so that what they save cannot be measured.
const raceEnabled = true
