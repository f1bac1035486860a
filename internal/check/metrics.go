package check

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/observe"
)

// checks holds the pools' counters by their names. They count for the process, so that a
// reload resets nothing; a config's registry gets those of its pools.
var checks sync.Map

// checksOf returns the pool's.
func checksOf(pool string) *prometheus.CounterVec {
	c, ok := checks.Load(pool)
	if !ok {
		c, _ = checks.LoadOrStore(pool, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "caddy", Subsystem: "keycycler", Name: "checks_total", ConstLabels: prometheus.Labels{"pool": pool},
			Help: "Checks of keys by what came of them: good, inconclusive, failed, or the class of the refusal.",
		}, []string{"result"}))
	}
	return c.(*prometheus.CounterVec)
}

// CollectorsOf returns the metrics of the pool's checks.
func CollectorsOf(pool string) []prometheus.Collector { return []prometheus.Collector{checksOf(pool)} }

// outcomeOf is how metrics have it.
func outcomeOf(s *observe.CheckStatus) string {
	if s.Result == observe.CheckRefused {
		return s.Class
	}
	return s.Result
}
