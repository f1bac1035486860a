package upstream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var failures = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy", Subsystem: "keycycler", Name: "upstream_failures_total",
	Help: "Calls to the upstream that failed for no key's fault: connect, timeout, reset; or unavailable, for answers of 502, 503 and 504.",
}, []string{"pool", "kind"})

var restingNow = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
	Namespace: "caddy", Subsystem: "keycycler", Name: "upstreams_resting",
	Help: "Addresses of upstreams that the process leaves alone for a while, since calls failed there.",
}, func() float64 { return float64(Resting.Count(time.Now())) })

// Collectors are what a config's registry shows of upstreams.
var Collectors = []prometheus.Collector{failures, restingNow}

// FaultCounts count a pool's faults.
type FaultCounts [Faults]prometheus.Counter

// CountFaults returns those of the pool.
func CountFaults(pool string) (c FaultCounts) {
	for f := Connect; int(f) < Faults; f++ {
		c[f] = failures.WithLabelValues(pool, f.String())
	}
	return c
}
