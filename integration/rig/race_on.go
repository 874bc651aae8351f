//go:build race

package rig

// Race says that the race detector runs, under which a test should move less.
const Race = true
