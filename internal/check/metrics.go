package check

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/observe"
)

var checksTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy", Subsystem: "keycycler", Name: "checks_total",
	Help: "Checks of keys by what came of them: good, inconclusive, failed, or the class of the refusal.",
}, []string{"pool", "result"})

// Collectors are the metrics of all pools' checks. They count for the process, so that a
// reload resets nothing.
var Collectors = []prometheus.Collector{checksTotal}

// outcomeOf is how metrics have it.
func outcomeOf(s *observe.CheckStatus) string {
	if s.Result == observe.CheckRefused {
		return s.Class
	}
	return s.Result
}
