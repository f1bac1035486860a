// Package nodes tests keycycler in Caddy processes of their own, as nodes of one gateway
// with Redis between them: what nodes, Redis, operators, Prometheus and the machine can do
// to it. It may know everything and nothing imports it. It is apart from e2e, so that both
// run at once. A test belongs here when it starts a process.
package nodes
