package usage

import (
	"github.com/prometheus/client_golang/prometheus"
)

// collector looks at a pool's ledger when it is asked to. The ledger counts for the process,
// so that a reload resets nothing; a config's registry gets those of its pools.
type collector struct {
	*Ledger
	tokens, answers, cost *prometheus.Desc
}

// CollectorsOf returns the metrics of the ledger.
func CollectorsOf(l *Ledger) []prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("caddy_keycycler_"+name, help, append([]string{"client", "model"}, labels...), prometheus.Labels{"pool": l.pool})
	}
	return []prometheus.Collector{collector{
		l,
		desc("tokens_total", "Tokens that answers say they used. Those of type reasoning are of type output, too.", "type"),
		desc("usage_answers_total", "Answers by whether they say what they used (stated), or not (unknown).", "usage"),
		desc("cost_usd_total", "What answers have cost, by the file of prices, in USD. Models that have no price there cost nothing."),
	}}
}

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.tokens
	descs <- c.answers
	descs <- c.cost
}

// Collect implements prometheus.Collector.
func (c collector) Collect(into chan<- prometheus.Metric) {
	for p, n := range c.copyTotals() {
		send := func(desc *prometheus.Desc, value float64, kind ...string) {
			into <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value, append([]string{p.client, p.model}, kind...)...)
		}
		for t, tokens := range n.Tokens {
			send(c.tokens, float64(tokens), Names[t])
		}
		send(c.answers, float64(n.Answers-n.Unknown), "stated")
		send(c.answers, float64(n.Unknown), "unknown")
		if n.Cost > 0 {
			send(c.cost, n.Cost.Float())
		}
	}
}

func (l *Ledger) copyTotals() map[pair]Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	totals := make(map[pair]Counts, len(l.totals))
	for p, c := range l.totals {
		totals[p] = c.Counts
	}
	return totals
}
