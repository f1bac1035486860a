// Package e2e tests keycycler in real Caddy processes, over real sockets: what clients,
// upstreams, Redis and reloads can do to it. It may know everything and nothing imports
// it. A test belongs here when it starts a Caddy, or needs more than one package to be
// put together as an operator does it; anything else stands beside its code.
package e2e
