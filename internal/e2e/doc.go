// Package e2e tests keycycler in a real Caddy within the test's process, over real
// sockets: what clients, upstreams and reloads can do to it. It may know everything and
// nothing imports it. A test belongs here when it needs more than one package to be put
// together as an operator does it; anything else stands beside its code. One that wants
// processes of their own, or Redis, belongs into nodes.
package e2e
