//go:build race

package admission

// raceEnabled: the race detector empties pools at random, so that what they save cannot be measured.
const raceEnabled = true
