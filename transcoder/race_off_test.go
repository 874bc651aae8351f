//go:build !race

package transcoder

const raceEnabled = false
