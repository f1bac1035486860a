package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
)

// provision returns a gateway with n demo keys, closed when the test ends.
func provision(t testing.TB, n int, configure func(*Config)) *Gateway {
	t.Helper()
	c := configOf(t, n)
	if configure != nil {
		configure(&c)
	}
	g, err := New(c)
	if err != nil {
		t.Fatalf("provision: %v", err)
	}
	t.Cleanup(g.Close)
	return g
}

// configOf returns what a handler makes of a config with nothing but n demo keys.
func configOf(t testing.TB, n int) Config {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return Config{
		Pool: "default", Provider: provider.Presets["openai"],
		Keys:        &keyset.Source{Groups: &[]keyset.Group{{Rank: plainRank, Texts: testkit.DemoKeys(n)}}, Log: zap.NewNop()},
		MaxAttempts: 15, MaxWaiting: 1000,
		Policy: blame.Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour, Jitter: 10}, Ahead: true,
		Memory: 16 << 20, Total: 256 << 20, Disk: 64 << 20, Resources: true,
		State:   testkit.StateOf(t),
		Health:  func() (shared.Health, bool) { return shared.Health{Healthy: true}, false },
		Backend: "memory", Logger: zap.NewNop(), Events: ctx, Registry: ctx.GetMetricsRegistry(),
	}
}

// plainRank is that of keys without a tier and a weight.
var plainRank = rotator.Rank{Tier: 1, Weight: 1}

// limitOf is a limit of each key's.
func limitOf(concurrency, requests int, per time.Duration) *rotator.Limit {
	return &rotator.Limit{Concurrency: concurrency, Requests: requests, Per: per, Reason: reason.Limit, Source: reason.SourceConfig}
}

// used is a limit that is proven by the answer: nothing remains.
var used = testkit.Reply{Status: 429, Body: testkit.Limited.Body, Header: map[string]string{
	"Retry-After": "40", "X-Ratelimit-Limit-Requests": "60", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "40s",
}}

// silence turns logging off: its sampling depends on the clock.
func silence(h *Gateway) {
	h.Logger = zap.NewNop()
	h.announcer.Logger, h.announcer.Sampled = h.Logger, h.Logger
}
