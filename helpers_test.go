package keycycler

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
	"github.com/keycycler/keycycler/ttl"
)

// provision returns a gateway with n demo keys, closed when the test ends.
func provision(t testing.TB, n int, configure func(*gatewayConfig)) *gateway {
	t.Helper()
	c := configOf(t, n)
	if configure != nil {
		configure(&c)
	}
	g, err := newGateway(c)
	if err != nil {
		t.Fatalf("provision: %v", err)
	}
	t.Cleanup(g.close)
	return g
}

// configOf returns what a handler makes of a config with nothing but n demo keys.
func configOf(t testing.TB, n int) gatewayConfig {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return gatewayConfig{
		Pool: "default", Provider: providers["openai"],
		Keys:        &keySource{groups: &[]keyGroup{{rank: plainRank, texts: demoKeys(n)}}, log: zap.NewNop()},
		MaxAttempts: 15, MaxWaiting: 1000,
		Policy: ttl.Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour, Jitter: 10}, Ahead: true,
		Memory: 16 << 20, Total: 256 << 20, Disk: 64 << 20, Resources: true,
		State:   stateOf(t),
		Health:  func() (shared.Health, bool) { return shared.Health{Healthy: true}, false },
		Backend: "memory", Logger: zap.NewNop(), Events: ctx, Registry: ctx.GetMetricsRegistry(),
	}
}

// plainRank is that of keys without a tier and a weight.
var plainRank = rotator.Rank{Tier: 1, Weight: 1}

// testStates holds what is known to the gateways of each test that runs, as those of a
// process share it.
var testStates sync.Map

func stateOf(t testing.TB) *rotator.State {
	state, known := testStates.LoadOrStore(t.Name(), rotator.NewState(time.Now()))
	if !known {
		t.Cleanup(func() { testStates.Delete(t.Name()) })
	}
	return state.(*rotator.State)
}

// limitOf is a limit of each key's.
func limitOf(concurrency, requests int, per time.Duration) *rotator.Limit {
	return &rotator.Limit{Concurrency: concurrency, Requests: requests, Per: per, Reason: reasonLimit, Source: sourceConfig}
}

// silence turns logging off: its sampling depends on the clock.
func silence(h *gateway) {
	h.Logger = zap.NewNop()
	h.announcer.logger, h.announcer.sampled = h.Logger, h.Logger
}
