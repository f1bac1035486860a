package quota

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// refused holds the pools' counters by their names. They count for the process, so that a
// reload resets nothing; a config's registry gets those of its pools.
var refused sync.Map

// refusedOf returns the pool's.
func refusedOf(pool string) *prometheus.CounterVec {
	c, ok := refused.Load(pool)
	if !ok {
		c, _ = refused.LoadOrStore(pool, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "caddy", Subsystem: "keycycler", Name: "client_limited_total", ConstLabels: prometheus.Labels{"pool": pool},
			Help: "Requests that were answered by keycycler, since their client was at a limit of its own, by which.",
		}, []string{"limit"}))
	}
	return c.(*prometheus.CounterVec)
}

// CollectorsOf returns the metrics of the pool's book.
func CollectorsOf(pool string) []prometheus.Collector { return []prometheus.Collector{refusedOf(pool)} }

// CountRefused counts a request that a limit has met.
func CountRefused(pool string, k Kind) { refusedOf(pool).WithLabelValues(k.String()).Inc() }
