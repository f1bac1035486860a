package quota

import "github.com/prometheus/client_golang/prometheus"

// refusedTotal counts for the process, so that a reload resets nothing.
var refusedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy", Subsystem: "keycycler", Name: "client_limited_total",
	Help: "Requests that were answered by keycycler, since their client was at a limit of its own, by which.",
}, []string{"pool", "limit"})

// Collectors are the metrics of all pools' books.
var Collectors = []prometheus.Collector{refusedTotal}

// CountRefused counts a request that a limit has met.
func CountRefused(pool string, k Kind) { refusedTotal.WithLabelValues(pool, k.String()).Inc() }
