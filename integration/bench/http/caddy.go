//go:build ignore

// Command caddy is Caddy with nothing but its reverse proxy. Its modules are those of tools/peers.mod, and not the project's.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func main() { caddycmd.Main() }
