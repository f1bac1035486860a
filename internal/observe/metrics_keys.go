package observe

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/rotator"
)

// What is counted by key, in pools whose config wants that.

// keyFamilies are the metrics that have a label for the key then.
var keyFamilies = [...]*prometheus.Desc{
	attemptsByKey:  prometheus.NewDesc("caddy_keycycler_attempts_total", attemptsHelp, []string{"pool", "key_id", "outcome"}, nil),
	cooldownsByKey: prometheus.NewDesc("caddy_keycycler_cooldowns_total", cooldownsHelp, []string{"pool", "key_id", "class", "source"}, nil),
}

// The families.
const (
	attemptsByKey = iota
	cooldownsByKey
)

// keyEvent is what can happen to a key: its family, and the values of that one's further
// labels, of which the second may be "".
type keyEvent struct {
	family        int
	key           rotator.ID
	value, second string
}

// labels are the values of the family's labels.
func (e keyEvent) labels(pool string) []string {
	all := []string{pool, e.key.String(), e.value}
	if e.family == cooldownsByKey {
		all = append(all, e.second)
	}
	return all
}

// keyCounts counts what happens to a pool's keys. The zero keyCounts is ready for use. It is
// safe for concurrent use.
type keyCounts struct {
	mu  sync.Mutex
	all map[keyEvent]uint64
}

func (c *keyCounts) add(e keyEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[keyEvent]uint64)
	}
	c.all[e]++
}

// of returns the counts of those keys that the view has. Others are forgotten. Requests do
// not wait while keys are looked for: there may be very many.
func (c *keyCounts) of(v *View) map[keyEvent]uint64 {
	all := c.copy()
	var left []keyEvent
	for e := range all {
		if _, ok := v.Find(e.key); !ok {
			left = append(left, e)
			delete(all, e)
		}
	}
	c.forget(left)
	return all
}

func (c *keyCounts) copy() map[keyEvent]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.all)
}

func (c *keyCounts) forget(events []keyEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		delete(c.all, e)
	}
}

// keysCollector looks at the counts by key of a config's pools. It describes nothing: the
// names are those of metrics of other pools, which do not have the label.
type keysCollector struct{ *poolsCollector }

// Describe implements prometheus.Collector.
func (keysCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c keysCollector) Collect(into chan<- prometheus.Metric) {
	for _, v := range c.views() {
		if !slices.ContainsFunc(v.Pools, func(p *Pool) bool { return p.PerKey }) {
			continue
		}
		for e, n := range countersOf(v.Name()).keys.of(v) {
			into <- prometheus.MustNewConstMetric(keyFamilies[e.family], prometheus.CounterValue, float64(n), e.labels(v.Name())...)
		}
	}
}
