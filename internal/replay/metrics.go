package replay

import "github.com/prometheus/client_golang/prometheus"

// What the copies of bodies are counted by, for the process.
var (
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
	}, func() float64 { return float64(KeptMemory.Load()) })

	replayToDisk  = replaySpills.WithLabelValues("disk")
	replayDropped = replaySpills.WithLabelValues("dropped")

	replayInMemory = replayBytes.WithLabelValues("memory")
	replayOnDisk   = replayBytes.WithLabelValues("disk")
)

// Collectors are what a config's registry shows of the copies.
var Collectors = []prometheus.Collector{replayBytes, replaySpills, replayMemory}
