package keycycler

import (
	"context"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// provisionHandler returns a handler with n demo keys, cleaned up when the test ends.
func provisionHandler(t testing.TB, n int, configure func(*Handler)) *Handler {
	t.Helper()
	h := &Handler{Keys: demoKeys(n)}
	if configure != nil {
		configure(h)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	if err := h.Provision(ctx); err != nil {
		cancel()
		t.Fatalf("provision: %v", err)
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		cancel() // cleans up the state module
	})
	if err := h.Validate(); err != nil {
		t.Fatalf("validate: %v", err)
	}
	return h
}
