package upstream

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// failures holds the pools' counters by their names. They count for the process, so that a
// reload resets nothing; a config's registry gets those of its pools.
var failures sync.Map

// failuresOf returns the pool's.
func failuresOf(pool string) *prometheus.CounterVec {
	c, ok := failures.Load(pool)
	if !ok {
		c, _ = failures.LoadOrStore(pool, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "caddy", Subsystem: "keycycler", Name: "upstream_failures_total", ConstLabels: prometheus.Labels{"pool": pool},
			Help: "Calls to the upstream that failed for no key's fault: connect, timeout, reset; or unavailable, for answers of 502, 503 and 504.",
		}, []string{"kind"}))
	}
	return c.(*prometheus.CounterVec)
}

var restingNow = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
	Namespace: "caddy", Subsystem: "keycycler", Name: "upstreams_resting",
	Help: "Addresses of upstreams that the process leaves alone for a while, since calls failed there.",
}, func() float64 { return float64(Resting.Count(time.Now())) })

// CollectorsOf returns what a config's registry shows of the pool's upstreams.
func CollectorsOf(pool string) []prometheus.Collector {
	return []prometheus.Collector{failuresOf(pool), restingNow}
}

// FaultCounts count a pool's faults.
type FaultCounts [Faults]prometheus.Counter

// CountFaults returns those of the pool.
func CountFaults(pool string) (c FaultCounts) {
	for f := Connect; int(f) < Faults; f++ {
		c[f] = failuresOf(pool).WithLabelValues(f.String())
	}
	return c
}
