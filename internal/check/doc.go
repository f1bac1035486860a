// Package check asks upstreams about keys: one that an operator wants to be tested, or all
// of a pool, now and then. What the answers mean is judged as those of requests are.
//
// It knows Caddy's routes, since a check goes the way of a request: through the handlers
// that stand behind keycycler, with their addresses, proxies and TLS. It knows no requests
// of clients. When which key is asked about is in plan.go, which is pure; what follows from
// an answer goes into verdict.go.
package check
