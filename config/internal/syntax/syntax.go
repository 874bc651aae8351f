// Package syntax has the regular expressions of values, for the loader and for the JSON Schema. They are in the
// syntax that Go and ECMA-262 share, without anchors.
package syntax

// The forms of values that are more than a string or a number.
const (
	Duration = `0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|[0-9]+d`
	Size     = `([0-9]+)(B|[KMGT]i?B)?`
	Percent  = `[0-9]+(\.[0-9]{1,2})?%?`
	Rate     = `[0-9]+/([0-9]+(\.[0-9]+)?)?(ns|us|ms|s|m|h|d)`
)
