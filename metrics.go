package keycycler

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

	stoppedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "stopped_total",
		Help: "Requests that were not tried with further keys: they were refused by key after key (request), or all requests were (pool).",
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

	replayBytes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "replay_bytes_total",
		Help: "Bytes of request bodies that were kept for another attempt, by where.",
	}, []string{"kind"})

	replaySpills = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "replay_spills_total",
		Help: "Request bodies that outgrew memory, by where they went: to disk, or dropped, so that they could not be sent again.",
	}, []string{"to"})

	replayMemory = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "keycycler", Name: "replay_memory_bytes",
		Help: "Memory that the process's requests keep copies of their bodies in.",
	}, func() float64 { return float64(keptMemory.Load()) })

	replayToDisk  = replaySpills.WithLabelValues("disk")
	replayDropped = replaySpills.WithLabelValues("dropped")

	replayInMemory = replayBytes.WithLabelValues("memory")
	replayOnDisk   = replayBytes.WithLabelValues("disk")

	keysDesc = prometheus.NewDesc("caddy_keycycler_keys", "Keys by state.", []string{"pool", "state"}, nil)

	coolingDesc = prometheus.NewDesc("caddy_keycycler_cooling_keys",
		"Keys that cool, by what their last rejection meant.", []string{"pool", "class"}, nil)

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
	outcomeOther  = "other"  // a rule of the config rejected a response of no class
)

// metrics are one pool's, looked up once.
type metrics struct {
	pool      string
	served    prometheus.Counter
	failed    prometheus.Counter
	rejected  [len(defaultActions)]prometheus.Counter // by class
	exhausted prometheus.Counter
	stopped   prometheus.Counter // for the request's fault
	closed    prometheus.Counter // while the pool is closed

	unauthorized prometheus.Counter // requests without a valid client token

	attempts prometheus.Observer
	wait     prometheus.Observer
}

// newMetrics registers what there is with a config's registry, once for all its
// pools, and returns the pool's share.
func newMetrics(registry *prometheus.Registry, h *Handler) (*metrics, error) {
	for _, c := range []prometheus.Collector{
		attemptsTotal, cooldownsTotal, exhaustedTotal, unauthorizedTotal, stoppedTotal, requestAttempts, requestWait, waitsTotal,
		replayBytes, replaySpills, replayMemory,
	} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return nil, err
		}
	}
	if err := registerPool(registry, h); err != nil {
		return nil, err
	}
	m := &metrics{
		pool:      h.Pool,
		served:    attemptsTotal.WithLabelValues(h.Pool, outcomeServed),
		failed:    attemptsTotal.WithLabelValues(h.Pool, outcomeFailed),
		exhausted: exhaustedTotal.WithLabelValues(h.Pool),
		stopped:   stoppedTotal.WithLabelValues(h.Pool, "request"),
		closed:    stoppedTotal.WithLabelValues(h.Pool, "pool"),
		attempts:  requestAttempts.WithLabelValues(h.Pool),
		wait:      requestWait.WithLabelValues(h.Pool),

		unauthorized: unauthorizedTotal.WithLabelValues(h.Pool),
	}
	m.rejected[ttl.OK] = attemptsTotal.WithLabelValues(h.Pool, outcomeOther)
	for class := ttl.RateLimited; class <= ttl.Overloaded; class++ {
		m.rejected[class] = attemptsTotal.WithLabelValues(h.Pool, class.String())
	}
	return m, nil
}

// attempt counts one attempt: by the class that its response was found to have, or
// else by whether there was one. It returns what that is called.
func (m *metrics) attempt(judged bool, class ttl.Class, err error) (outcome string) {
	switch {
	case judged:
		m.rejected[class].Inc()
		return reasonName(rotator.Reason(class))
	case err != nil:
		m.failed.Inc()
		return outcomeFailed
	default:
		m.served.Inc()
		return outcomeServed
	}
}

func (m *metrics) waited(outcome string) { waitsTotal.WithLabelValues(m.pool, outcome).Inc() }

func (m *metrics) cooldown(v verdict) {
	cooldownsTotal.WithLabelValues(m.pool, reasonName(v.reason()), v.source).Inc()
}

// poolsCollector looks at a config's pools when it is asked to.
type poolsCollector struct {
	mu       sync.Mutex
	handlers []*Handler
}

// registerPool adds the handler to its config's collector.
func registerPool(registry *prometheus.Registry, h *Handler) error {
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
	c.handlers = append(c.handlers, h)
	return nil
}

// Describe implements prometheus.Collector.
func (*poolsCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{keysDesc, coolingDesc, waitingDesc, resourcesDesc, stateHealthyDesc, stateLagDesc, stateQueueDesc, stateFailuresDesc, stateResyncsDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector. Pools of the same name are one.
func (c *poolsCollector) Collect(into chan<- prometheus.Metric) {
	c.mu.Lock()
	views := viewsOf(c.handlers)
	c.mu.Unlock()
	now := time.Now()
	for _, v := range views[:min(len(views), 1)] { // all pools of the process share it
		into <- gauge(resourcesDesc, float64(v.handlers[0].backend.State().Resources()))
	}
	for _, v := range views {
		pool, census := v.name(), v.census(now)
		into <- gauge(keysDesc, float64(census.Ready), pool, "ready")
		into <- gauge(keysDesc, float64(census.Keys-census.Ready-census.Disabled), pool, "cooling")
		into <- gauge(keysDesc, float64(census.Disabled), pool, "disabled")
		for reason, name := range reasonNames {
			into <- gauge(coolingDesc, float64(census.Cooling[reason]), pool, name)
		}
		into <- gauge(waitingDesc, float64(v.waiting()), pool)
		h, shared := v.health()
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
