// Command caddy is Caddy with its standard modules and keycycler compiled in:
// enough to run the examples, and what the tests of this repository start.
// For production build your own with xcaddy (see the README, "Install").
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	// Caddy's own modules: servers, reverse_proxy, TLS, the Caddyfile adapter.
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	// http.handlers.keycycler
	_ "github.com/keycycler/keycycler"
)

func main() {
	caddycmd.Main()
}
