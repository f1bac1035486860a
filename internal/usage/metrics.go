package usage

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Collectors are the metrics of all pools' ledgers. They count for the process, so that a
// reload resets nothing.
var Collectors = []prometheus.Collector{collector{}}

var (
	tokensDesc = prometheus.NewDesc("caddy_keycycler_tokens_total",
		"Tokens that answers say they used. Those of type reasoning are of type output, too.", []string{"pool", "client", "model", "type"}, nil)
	answersDesc = prometheus.NewDesc("caddy_keycycler_usage_answers_total",
		"Answers by whether they say what they used (stated), or not (unknown).", []string{"pool", "client", "model", "usage"}, nil)
	costDesc = prometheus.NewDesc("caddy_keycycler_cost_usd_total",
		"What answers have cost, by the file of prices, in USD. Models that have no price there cost nothing.", []string{"pool", "client", "model"}, nil)
)

// collector looks at the ledgers when it is asked to.
type collector struct{}

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- tokensDesc
	descs <- answersDesc
	descs <- costDesc
}

// Collect implements prometheus.Collector.
func (collector) Collect(into chan<- prometheus.Metric) {
	ledgers.Range(func(_, l any) bool {
		l.(*Ledger).collect(into)
		return true
	})
}

func (l *Ledger) collect(into chan<- prometheus.Metric) {
	for p, c := range l.copyTotals() {
		send := func(desc *prometheus.Desc, n float64, kind ...string) {
			into <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, n, append([]string{l.pool, p.client, p.model}, kind...)...)
		}
		for t, n := range c.Tokens {
			send(tokensDesc, float64(n), Names[t])
		}
		send(answersDesc, float64(c.Answers-c.Unknown), "stated")
		send(answersDesc, float64(c.Unknown), "unknown")
		if c.Cost > 0 {
			send(costDesc, c.Cost.Float())
		}
	}
}

func (l *Ledger) copyTotals() map[pair]Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	totals := make(map[pair]Counts, len(l.totals))
	for p, c := range l.totals {
		totals[p] = c.Counts
	}
	return totals
}
