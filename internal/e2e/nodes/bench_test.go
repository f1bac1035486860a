//go:build unix

package nodes

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// BenchmarkNodes measures how long it takes from one node's answer, which says that
// a key is limited, until another node has answered by itself that it is, over a
// thousand cooldowns. The other node's last round trip is part of it.
func BenchmarkNodes(b *testing.B) {
	const cooldowns = 1000
	server, upstream := startRedis(b), startLimiter(b)
	var delays []time.Duration
	for b.Loop() {
		server.Do("FLUSHALL")
		nodes := startNodes(b, 2, nodeConfig{only: upTo(cooldowns), state: "redis " + server.Addr(), upstream: upstream.URL})
		live.Eventually(b, "both nodes listen", func() bool { return server.connections() >= 2 })
		upstream.limit(upTo(cooldowns)...)
		for i := range cooldowns {
			if status := nodes[0].get(onlyPath(i)); status != http.StatusTooManyRequests {
				b.Fatalf("answered %d", status)
			}
			answered := time.Now()
			for !nodes[1].knows(i) {
				if time.Since(answered) > 10*time.Second {
					b.Fatal("the other node does not hear of it")
				}
			}
			delays = append(delays, time.Since(answered))
		}
		stopAll(nodes)
	}
	slices.Sort(delays)
	milliseconds := func(percent float64) float64 { return float64(percentile(delays, percent)) / 1e6 }
	b.ReportMetric(milliseconds(50), "ms-p50")
	b.ReportMetric(milliseconds(99), "ms-p99")
	b.ReportMetric(milliseconds(100), "ms-max")
	b.ReportMetric(0, "ns/op")
}
