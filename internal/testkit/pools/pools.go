// Package pools makes gateways for tests of other packages. It is apart from testkit,
// whose users the gateway imports. Helpers that want a running pool go here.
package pools

import (
	"context"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
)

// New returns a gateway with n demo keys, closed when the test ends.
func New(t testing.TB, n int, configure func(*gateway.Config)) *gateway.Gateway {
	t.Helper()
	c := poolConfig(t, n)
	if configure != nil {
		configure(&c)
	}
	g, err := gateway.New(c)
	if err != nil {
		t.Fatalf("provision: %v", err)
	}
	t.Cleanup(g.Close)
	return g
}

// poolConfig returns what a handler makes of a config with nothing but n demo keys.
func poolConfig(t testing.TB, n int) gateway.Config {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return gateway.Config{
		Pool: "default", Provider: provider.Presets["openai"],
		Keys:        &keyset.Source{Groups: &[]keyset.Group{{Rank: rotator.Rank{Tier: 1, Weight: 1}, Texts: testkit.DemoKeys(n)}}, Log: zap.NewNop()},
		MaxAttempts: 15, MaxWaiting: 1000,
		Policy: blame.Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour, Jitter: 10}, Ahead: true,
		Memory: 16 << 20, Total: 256 << 20, Disk: 64 << 20, Resources: true,
		State:   testkit.StateOf(t),
		Health:  func() (shared.Health, bool) { return shared.Health{Healthy: true}, false },
		Backend: "memory", Logger: zap.NewNop(), Events: ctx, Registry: ctx.GetMetricsRegistry(),
	}
}

// Named returns a pool with 20 demo keys.
func Named(t testing.TB, pool string) *gateway.Gateway {
	return New(t, 20, func(c *gateway.Config) { c.Pool = pool })
}
