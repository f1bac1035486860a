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
// config has a registry of its own, in which they are registered again. No label
// has values that clients or keys could multiply: pools are named by the config,
// the rest are sets that are fixed here.
var (
	attemptsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "attempts_total",
		Help: "Calls to the upstream by what came of them: served, failed, or the class of the rejection.",
	}, []string{"pool", "outcome"})

	cooldownsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "cooldowns_total",
		Help: "Cooldowns by what the response meant and where it stated how long.",
	}, []string{"pool", "class", "source"})

	exhaustedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "exhausted_total",
		Help: "Requests that were answered by keycycler, since no key was left for them.",
	}, []string{"pool"})

	unauthorizedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "unauthorized_total",
		Help: "Requests that were answered by keycycler, since they had no valid client token.",
	}, []string{"pool"})

	unknownModelTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "unknown_model_total",
		Help: "Requests that were answered by keycycler, since no key serves their model.",
	}, []string{"pool"})

	stoppedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "stopped_total",
		Help: "Requests that got the upstream's refusal: every key that was tried refused it (request), or the pool's pace held it back (pool).",
	}, []string{"pool", "fault"})

	requestAttempts = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "request_attempts",
		Help:    "Calls to the upstream that one request took.",
		Buckets: []float64{0, 1, 2, 3, 5, 10, 15, 30},
	}, []string{"pool"})

	requestWait = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "request_wait_seconds",
		Help:    "Time from a request's arrival to its last attempt, or to the answer that no key is left.",
		Buckets: []float64{0, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"pool"})

	waitsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "waits_total",
		Help: "Requests that waited for a key, by what became of it: ready, timeout, canceled, stopped; or full, since too many waited already.",
	}, []string{"pool", "outcome"})

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
	pool      string
	served    prometheus.Counter
	failed    prometheus.Counter
	rejected  [ttl.Unknown + 1]prometheus.Counter // by class
	Exhausted prometheus.Counter
	Stopped   prometheus.Counter // every key that was tried refused it
	Closed    prometheus.Counter // the pace held it back

	Unauthorized prometheus.Counter // requests without a valid client token
	UnknownModel prometheus.Counter // requests for a model that no key serves

	Attempts prometheus.Observer
	Wait     prometheus.Observer
}

// NewMetrics registers what there is, and more, with a config's registry, once for all
// its pools, and returns the pool's share.
func NewMetrics(registry *prometheus.Registry, pool *Pool, more ...prometheus.Collector) (*Metrics, error) {
	for _, c := range append(more, []prometheus.Collector{
		attemptsTotal, cooldownsTotal, exhaustedTotal, unauthorizedTotal, unknownModelTotal, stoppedTotal, requestAttempts, requestWait, waitsTotal,
	}...) {
		if err := register(registry, c); err != nil {
			return nil, err
		}
	}
	if err := registerPool(registry, pool); err != nil {
		return nil, err
	}
	m := &Metrics{
		pool:      pool.Name,
		served:    attemptsTotal.WithLabelValues(pool.Name, outcomeServed),
		failed:    attemptsTotal.WithLabelValues(pool.Name, outcomeFailed),
		Exhausted: exhaustedTotal.WithLabelValues(pool.Name),
		Stopped:   stoppedTotal.WithLabelValues(pool.Name, "request"),
		Closed:    stoppedTotal.WithLabelValues(pool.Name, "pool"),
		Attempts:  requestAttempts.WithLabelValues(pool.Name),
		Wait:      requestWait.WithLabelValues(pool.Name),

		Unauthorized: unauthorizedTotal.WithLabelValues(pool.Name),
		UnknownModel: unknownModelTotal.WithLabelValues(pool.Name),
	}
	m.rejected[ttl.OK] = attemptsTotal.WithLabelValues(pool.Name, reason.NameOther)
	for class := ttl.RateLimited; class <= ttl.Unknown; class++ {
		m.rejected[class] = attemptsTotal.WithLabelValues(pool.Name, class.String())
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

// Attempt counts one attempt: by the class that its response was found to have, or
// else by whether there was one. It returns what that is called.
func (m *Metrics) Attempt(judged bool, class ttl.Class, err error) (outcome string) {
	switch {
	case judged:
		m.rejected[class].Inc()
		return reason.Name(rotator.Reason(class))
	case err != nil:
		m.failed.Inc()
		return outcomeFailed
	default:
		m.served.Inc()
		return outcomeServed
	}
}

func (m *Metrics) Waited(outcome string) { waitsTotal.WithLabelValues(m.pool, outcome).Inc() }

func (m *Metrics) Cooldown(class, source string) {
	cooldownsTotal.WithLabelValues(m.pool, class, source).Inc()
}

// poolsCollector looks at a config's pools when it is asked to.
type poolsCollector struct {
	mu    sync.Mutex
	pools []*Pool
}

// registerPool adds the pool to its config's collector.
func registerPool(registry *prometheus.Registry, pool *Pool) error {
	c := new(poolsCollector)
	if err := registry.Register(c); err != nil {
		var already prometheus.AlreadyRegisteredError
		if !errors.As(err, &already) {
			return err
		}
		c = already.ExistingCollector.(*poolsCollector)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pools = append(c.pools, pool)
	return nil
}

// Describe implements prometheus.Collector.
func (*poolsCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{keysDesc, coolingDesc, modelsDesc, waitingDesc, resourcesDesc, stateHealthyDesc, stateLagDesc, stateQueueDesc, stateFailuresDesc, stateResyncsDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector. Pools of the same name are one.
func (c *poolsCollector) Collect(into chan<- prometheus.Metric) {
	c.mu.Lock()
	views := viewsOf(c.pools)
	c.mu.Unlock()
	now := time.Now()
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
