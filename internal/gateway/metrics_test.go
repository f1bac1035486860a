package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/testkit"

	dto "github.com/prometheus/client_model/go"
)

// gather returns the values of keycycler's metrics by name and labels, of
// histograms the count and the sum.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "caddy_keycycler_") {
			continue
		}
		for _, m := range f.GetMetric() {
			name := f.GetName() + labels(m)
			switch {
			case m.Counter != nil:
				values[name] = m.Counter.GetValue()
			case m.Gauge != nil:
				values[name] = m.Gauge.GetValue()
			case m.Histogram != nil:
				values[name+" count"] = float64(m.Histogram.GetSampleCount())
				values[name+" sum"] = m.Histogram.GetSampleSum()
			}
		}
	}
	return values
}

func labels(m *dto.Metric) string {
	var pairs []string
	for _, l := range m.GetLabel() {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func TestMetrics(t *testing.T) {
	h := provision(t, 4, func(c *Config) { c.Pool = "metrics-test" })
	registry := prometheus.NewRegistry()
	if _, err := observe.NewMetrics(registry, h.seen, replay.Collectors...); err != nil {
		t.Fatal(err)
	}
	before := gather(t, registry)
	upload := bytes.Repeat([]byte("x"), 5000)
	for _, u := range []*testkit.Upstream{
		testkit.Script(testkit.Limited, testkit.Spent, testkit.Fine),
		testkit.Script(testkit.TooLarge),
		testkit.Script(testkit.Reply{Status: 500}),
		testkit.Script(testkit.Reply{Err: caddyhttp.Error(502, errors.New("dial"))}),
		testkit.Script(testkit.BadKey, testkit.Limited, testkit.Fine),
	} {
		r := testkit.Post(string(upload))
		testkit.Serve(h, u, r)
	}
	after := gather(t, registry)
	for name, want := range map[string]float64{
		`caddy_keycycler_attempts_total{outcome="served",pool="metrics-test"}`:                           2,
		`caddy_keycycler_attempts_total{outcome="failed",pool="metrics-test"}`:                           1,
		`caddy_keycycler_attempts_total{outcome="rate_limited",pool="metrics-test"}`:                     2,
		`caddy_keycycler_attempts_total{outcome="quota_exhausted",pool="metrics-test"}`:                  1,
		`caddy_keycycler_attempts_total{outcome="invalid_key",pool="metrics-test"}`:                      1,
		`caddy_keycycler_attempts_total{outcome="request_too_large",pool="metrics-test"}`:                1,
		`caddy_keycycler_cooldowns_total{class="rate_limited",pool="metrics-test",source="retry-after"}`: 2,
		`caddy_keycycler_cooldowns_total{class="quota_exhausted",pool="metrics-test",source="default"}`:  1,
		`caddy_keycycler_cooldowns_total{class="invalid_key",pool="metrics-test",source="default"}`:      0, // nobody was served with another
		`caddy_keycycler_stopped_total{fault="request",pool="metrics-test"}`:                             1,
		`caddy_keycycler_exhausted_total{pool="metrics-test"}`:                                           0,
		`caddy_keycycler_request_attempts{pool="metrics-test"} count`:                                    5,
		`caddy_keycycler_request_attempts{pool="metrics-test"} sum`:                                      8,
		`caddy_keycycler_request_wait_seconds{pool="metrics-test"} count`:                                5,
		`caddy_keycycler_replay_bytes_total{kind="memory"}`:                                              25000,
		`caddy_keycycler_keys{pool="metrics-test",state="cooling"}`:                                      3,
		`caddy_keycycler_keys{pool="metrics-test",state="ready"}`:                                        -3,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s grew by %v, want %v", name, got, want)
		}
	}
	if waited := after[`caddy_keycycler_request_wait_seconds{pool="metrics-test"} sum`]; waited <= 0 || waited > 60 {
		t.Errorf("requests waited %v s", waited)
	}
	h.roster.Load().Pool.Disable(time.Now(), 0)
	if n := gather(t, registry)[`caddy_keycycler_keys{pool="metrics-test",state="disabled"}`]; n != 1 {
		t.Errorf("%v keys are disabled", n)
	}
	h.roster.Load().Pool.Enable(time.Now(), 0)
}

func TestSpillsAreCounted(t *testing.T) {
	for _, row := range []struct {
		sentence       string
		memory, disk   int64
		spilt, dropped float64
	}{
		{"what fits into memory spills nowhere", 8000, 0, 0, 0},
		{"what does not goes to disk", 1000, 8000, 1, 0},
		{"and is dropped when it outgrows that, too", 1000, 2000, 1, 1},
	} {
		h := provision(t, 10, func(c *Config) { c.Memory, c.Disk = row.memory, row.disk })
		registry := prometheus.NewRegistry()
		if _, err := observe.NewMetrics(registry, h.seen, replay.Collectors...); err != nil {
			t.Fatal(err)
		}
		before := gather(t, registry)
		testkit.Serve(h, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post(strings.Repeat("x", 5000)))
		after := gather(t, registry)
		for to, want := range map[string]float64{"disk": row.spilt, "dropped": row.dropped} {
			name := fmt.Sprintf("caddy_keycycler_replay_spills_total{to=%q}", to)
			if got := after[name] - before[name]; got != want {
				t.Errorf("%s: %s grew by %v, want %v", row.sentence, name, got, want)
			}
		}
	}
}

// Each config has a registry, and may have several handlers, some of the same pool:
// a site that is served twice. What both hold counts once.
func TestMetricsAreRegisteredForEveryConfig(t *testing.T) {
	for range 2 {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		for i, pool := range []string{"one", "two", "two"} {
			g := provision(t, 3+i, func(c *Config) {
				c.Pool, c.Events, c.Registry = pool, ctx, ctx.GetMetricsRegistry()
			})
			defer g.Close()
		}
		values := gather(t, ctx.GetMetricsRegistry())
		for name, want := range map[string]float64{
			`caddy_keycycler_keys{pool="one",state="ready"}`: 3,
			`caddy_keycycler_keys{pool="two",state="ready"}`: 5,
		} {
			if values[name] != want {
				t.Errorf("%s is %v, want %v", name, values[name], want)
			}
		}
		cancel()
	}
}
