package observe

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// The metrics count for the process, so that a config reload resets nothing; each
// config has a registry of its own, which gets those of its pools: so the metrics of a
// pool are gone with it. No label has values that clients could multiply: pools are named
// by the config, the rest are sets that are fixed here.

// counters are what is counted of all pools of one name.
type counters struct {
	attempts, cooldowns, stopped, waits *prometheus.CounterVec
	exhausted, unauthorized, unknown    prometheus.Counter
	requestAttempts, requestWait        prometheus.Histogram

	keys keyCounts // in the place of attempts and cooldowns, where keys are told apart
}

// counted holds the counters by the pools' names: as many as there are in configs.
var counted sync.Map

// countersOf returns the pool's.
func countersOf(pool string) *counters {
	c, ok := counted.Load(pool)
	if !ok {
		c, _ = counted.LoadOrStore(pool, newCounters(prometheus.Labels{"pool": pool}))
	}
	return c.(*counters)
}

const (
	attemptsHelp  = "Calls to the upstream by what came of them: served, failed, or the class of the rejection."
	cooldownsHelp = "Cooldowns by what the response meant and where it stated how long."
)

func newCounters(pool prometheus.Labels) *counters {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "caddy", Subsystem: "keycycler", Name: name, Help: help, ConstLabels: pool}
	}
	histogram := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "caddy", Subsystem: "keycycler", Name: name, Help: help, ConstLabels: pool, Buckets: buckets,
		})
	}
	return &counters{
		attempts:  prometheus.NewCounterVec(counter("attempts_total", attemptsHelp), []string{"outcome"}),
		cooldowns: prometheus.NewCounterVec(counter("cooldowns_total", cooldownsHelp), []string{"class", "source"}),
		stopped: prometheus.NewCounterVec(counter("stopped_total",
			"Requests that got the upstream's refusal: every key that was tried refused it (request), or the pool's pace held it back (pool)."), []string{"fault"}),
		waits: prometheus.NewCounterVec(counter("waits_total",
			"Requests that waited for a key, by what became of it: ready, timeout, canceled, stopped; or full, since too many waited already."), []string{"outcome"}),
		exhausted:    prometheus.NewCounter(counter("exhausted_total", "Requests that were answered by keycycler, since no key was left for them.")),
		unauthorized: prometheus.NewCounter(counter("unauthorized_total", "Requests that were answered by keycycler, since they had no valid client token.")),
		unknown:      prometheus.NewCounter(counter("unknown_model_total", "Requests that were answered by keycycler, since no key serves their model.")),

		requestAttempts: histogram("request_attempts", "Calls to the upstream that one request took.", 0, 1, 2, 3, 5, 10, 15, 30),
		requestWait: histogram("request_wait_seconds", "Time from a request's arrival to its last attempt, or to the answer that no key is left.",
			0, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
	}
}

// collectors are the counters, but for those by key.
func (c *counters) collectors(perKey bool) []prometheus.Collector {
	all := []prometheus.Collector{c.exhausted, c.unauthorized, c.unknown, c.stopped, c.requestAttempts, c.requestWait, c.waits}
	if !perKey {
		all = append(all, c.attempts, c.cooldowns)
	}
	return all
}

var (
	keysDesc = prometheus.NewDesc("caddy_keycycler_keys", "Keys by state.", []string{"pool", "state"}, nil)

	coolingDesc = prometheus.NewDesc("caddy_keycycler_cooling_keys",
		"Keys that cool, by what their last rejection meant.", []string{"pool", "class"}, nil)

	modelsDesc = prometheus.NewDesc("caddy_keycycler_models_exhausted",
		"Models that no key is ready for, while keys are for others.", []string{"pool"}, nil)

	waitingDesc = prometheus.NewDesc("caddy_keycycler_waiting_requests",
		"Requests that wait for a key.", []string{"pool"}, nil)

	resourcesDesc = prometheus.NewDesc("caddy_keycycler_resources",
		"Resources whose key is known in this process.", nil, nil)

	stateHealthyDesc = prometheus.NewDesc("caddy_keycycler_state_healthy",
		"Whether the shared state can be read and written: 1 or 0.", []string{"pool"}, nil)
	stateLagDesc = prometheus.NewDesc("caddy_keycycler_state_lag_seconds",
		"How old the last change of another node was when it was applied here.", []string{"pool"}, nil)
	stateQueueDesc = prometheus.NewDesc("caddy_keycycler_state_queue",
		"Changes that are still to be written to the shared state.", []string{"pool"}, nil)
	stateFailuresDesc = prometheus.NewDesc("caddy_keycycler_state_failures_total",
		"Commands to the shared state that failed.", []string{"pool"}, nil)
	stateResyncsDesc = prometheus.NewDesc("caddy_keycycler_state_resyncs_total",
		"How often all of the shared state was read: at the start, and where it had lost something.", []string{"pool"}, nil)
)

// Outcomes of an attempt, besides the classes.
const (
	outcomeServed = "served" // the client got the response, and it was no rejection
	outcomeFailed = "failed" // there was no response
)

// Metrics are one pool's, looked up once.
type Metrics struct {
	of        *counters
	served    prometheus.Counter
	failed    prometheus.Counter
	rejected  [ttl.Unknown + 1]prometheus.Counter // by class
	keys      *keyCounts                          // nil: keys are not told apart
	Exhausted prometheus.Counter
	Stopped   prometheus.Counter // every key that was tried refused it
	Closed    prometheus.Counter // the pace held it back

	Unauthorized prometheus.Counter // requests without a valid client token
	UnknownModel prometheus.Counter // requests for a model that no key serves

	Attempts prometheus.Observer
	Wait     prometheus.Observer
}

// NewMetrics registers what there is, and more, with a config's registry, once for all
// its pools of one name, and returns the pool's share.
func NewMetrics(registry *prometheus.Registry, pool *Pool, more ...prometheus.Collector) (*Metrics, error) {
	of := countersOf(pool.Name)
	for _, c := range append(more, of.collectors(pool.PerKey)...) {
		if err := register(registry, c); err != nil {
			return nil, err
		}
	}
	if err := registerPool(registry, pool); err != nil {
		return nil, err
	}
	m := &Metrics{
		of: of, Exhausted: of.exhausted, Unauthorized: of.unauthorized, UnknownModel: of.unknown,
		Stopped: of.stopped.WithLabelValues("request"), Closed: of.stopped.WithLabelValues("pool"),
		Attempts: of.requestAttempts, Wait: of.requestWait,
	}
	if pool.PerKey {
		m.keys = &of.keys
		return m, nil
	}
	m.served, m.failed = of.attempts.WithLabelValues(outcomeServed), of.attempts.WithLabelValues(outcomeFailed)
	m.rejected[ttl.OK] = of.attempts.WithLabelValues(reason.NameOther)
	for class := ttl.RateLimited; class <= ttl.Unknown; class++ {
		m.rejected[class] = of.attempts.WithLabelValues(class.String())
	}
	return m, nil
}

// register adds what counts for the process to a config's registry, unless it is there.
func register(registry *prometheus.Registry, c prometheus.Collector) error {
	var already prometheus.AlreadyRegisteredError
	if err := registry.Register(c); err != nil && !errors.As(err, &already) {
		return err
	}
	return nil
}

// Attempt counts one attempt with the key: by the class that its response was found to have,
// or else by whether there was one. It returns what that is called.
func (m *Metrics) Attempt(key rotator.ID, judged bool, class ttl.Class, failed bool) (outcome string) {
	counter := m.served
	switch {
	case judged:
		counter, outcome = m.rejected[class], reason.Name(rotator.Reason(class))
	case failed:
		counter, outcome = m.failed, outcomeFailed
	default:
		outcome = outcomeServed
	}
	if m.keys != nil {
		m.keys.add(keyEvent{attemptsByKey, key, outcome, ""})
	} else {
		counter.Inc()
	}
	return outcome
}

func (m *Metrics) Waited(outcome string) { m.of.waits.WithLabelValues(outcome).Inc() }

func (m *Metrics) Cooldown(key rotator.ID, class, source string) {
	if m.keys != nil {
		m.keys.add(keyEvent{cooldownsByKey, key, class, source})
		return
	}
	m.of.cooldowns.WithLabelValues(class, source).Inc()
}

// poolsCollector looks at a config's pools when it is asked to.
type poolsCollector struct {
	mu    sync.Mutex
	pools []*Pool
}

// registerPool adds the pool to its config's collector.
func registerPool(registry *prometheus.Registry, pool *Pool) error {
	c := new(poolsCollector)
	var already prometheus.AlreadyRegisteredError
	switch err := registry.Register(c); {
	case err == nil:
		if err := registry.Register(keysCollector{c}); err != nil {
			return err
		}
	case errors.As(err, &already):
		c = already.ExistingCollector.(*poolsCollector)
	default:
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pools = append(c.pools, pool)
	return nil
}

// views returns the config's pools. Those of the same name are one.
func (c *poolsCollector) views() []*View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return viewsOf(c.pools)
}

// Describe implements prometheus.Collector.
func (*poolsCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{keysDesc, coolingDesc, modelsDesc, waitingDesc, resourcesDesc, stateHealthyDesc, stateLagDesc, stateQueueDesc, stateFailuresDesc, stateResyncsDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *poolsCollector) Collect(into chan<- prometheus.Metric) {
	views, now := c.views(), time.Now()
	for _, v := range views[:min(len(views), 1)] { // all pools of the process share it
		into <- gauge(resourcesDesc, float64(v.Pools[0].State.Resources()))
	}
	for _, v := range views {
		pool, census := v.Name(), v.Census(now)
		into <- gauge(keysDesc, float64(census.Ready), pool, "ready")
		into <- gauge(keysDesc, float64(census.Keys-census.Ready-census.Disabled), pool, "cooling")
		into <- gauge(keysDesc, float64(census.Disabled), pool, "disabled")
		for why, name := range reason.Names {
			into <- gauge(coolingDesc, float64(census.Cooling[why]), pool, name)
		}
		into <- gauge(modelsDesc, float64(len(v.Models(now))), pool)
		into <- gauge(waitingDesc, float64(v.waiting()), pool)
		h, shared := v.Health()
		if !shared {
			continue
		}
		healthy := 0.0
		if h.Healthy {
			healthy = 1
		}
		into <- gauge(stateHealthyDesc, healthy, pool)
		into <- gauge(stateLagDesc, h.Lag.Seconds(), pool)
		into <- gauge(stateQueueDesc, float64(h.Queue), pool)
		into <- prometheus.MustNewConstMetric(stateFailuresDesc, prometheus.CounterValue, float64(h.Fails), pool)
		into <- prometheus.MustNewConstMetric(stateResyncsDesc, prometheus.CounterValue, float64(h.Resyncs), pool)
	}
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
