package client

import _ "embed" // the module

//go:embed js/crossgate.js
var module []byte

// Module returns crossgate.js. The caller must not change it.
func Module() []byte { return module }
