package shared

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// BenchmarkLatency is from a node's Cool to another node's knowledge, 1,000 times
// one after the other.
func BenchmarkLatency(b *testing.B) {
	const n = 1000
	server := redistest.Start(b)
	nodes := startAll(b, 2, n+1, to(server))
	nodes[0].Cool(n, time.Hour)
	agreeOn(b, nodes, 1)
	took := make([]time.Duration, 0, n)
	tick := time.NewTicker(20 * time.Microsecond)
	defer tick.Stop()
	for b.Loop() {
		took = took[:0]
		for s := range rotator.Slot(n) {
			ready := nodes[1].Ready()
			begin := time.Now()
			nodes[0].Cool(s, time.Hour)
			for nodes[1].Ready() == ready {
				<-tick.C // a busy loop would keep the nodes from the processor
			}
			took = append(took, time.Since(begin))
		}
		for s := range rotator.Slot(n) {
			nodes[0].Clear(s)
		}
		agreeOn(b, nodes, 1)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[n/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[n*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(float64(took[n-1].Microseconds()), "µs-max")
}

// BenchmarkSnapshot is 100,000 cooling keys: what they take in Redis, and how long
// a node that joins takes to know them all.
func BenchmarkSnapshot(b *testing.B) {
	const n = 100_000
	server := redistest.Start(b)
	proxy := redistest.StartProxy(b, server.Addr())
	before := usedMemory(b, server)
	first := start(b, clientOptions(proxy.Addr()), n)
	begin := time.Now()
	for s := range rotator.Slot(n) {
		first.Cool(s, time.Hour+time.Duration(s)*time.Millisecond)
	}
	until(b, "all to be written", func() bool { h := first.journal.Health(); return h.Resyncs > 0 && h.Queue == 0 })
	written, wrote := time.Since(begin), proxy.Bytes()
	memory := usedMemory(b, server) - before
	keys := statetest.Keys(b, n)

	var read int64
	for b.Loop() {
		passed := proxy.Bytes()
		node, _, _ := open(b, redis.NewUniversalClient(clientOptions(proxy.Addr())))
		m := statetest.Join(b, node, keys)
		until(b, "the node to know all", func() bool { return m.Ready() == 0 })
		b.StopTimer()
		read = proxy.Bytes() - passed
		m.Leave()
		b.StartTimer()
	}
	b.ReportMetric(written.Seconds(), "s-to-write")
	b.ReportMetric(float64(wrote)/n, "B-sent/key")
	b.ReportMetric(float64(read)/n, "B-read/key")
	b.ReportMetric(float64(memory)/n, "B-in-Redis/key")
}

func usedMemory(b *testing.B, s *redistest.Server) int {
	b.Helper()
	for line := range strings.Lines(s.Info("memory")) {
		if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no used_memory")
	return 0
}

// BenchmarkRecord is what a rejection pays for the journal.
func BenchmarkRecord(b *testing.B) {
	j := &Journal{wake: make(chan struct{}, 1), pending: make(map[subject]rotator.Change)}
	changes := make([]rotator.Change, 1000)
	for i, k := range statetest.Keys(b, len(changes)) {
		changes[i] = rotator.Change{ID: k.ID(), Until: time.Now().Add(time.Hour), Learned: time.Now(), Source: "retry-after"}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		j.Record(changes[i%len(changes)])
	}
}

func BenchmarkDecode(b *testing.B) {
	c := codec{reasons: reasons}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.decode("1795488992412 1795488952365 0 0 rate_limited retry-after"); !ok {
			b.Fatal("not decoded")
		}
	}
}

// BenchmarkHear is what a change of another process costs: one that is news, and one that is
// known already, as most are while Redis is filled again.
func BenchmarkHear(b *testing.B) {
	for _, row := range []struct {
		name string
		step int64 // of deadlines from one time to the next, in ms
	}{{"news", 1000}, {"known", 0}} {
		b.Run(row.name, func(b *testing.B) {
			now := time.Now()
			j := journalAt(now, time.Duration(now.UnixNano()))
			keys := statetest.Keys(b, 10_000)
			if _, err := rotator.NewPool(keys, j.state, now, rotator.WithJournal(j)); err != nil {
				b.Fatal(err)
			}
			j.place = place{epoch: "epoch", mark: "mark"}
			j.fill = refill{due: true, seen: newKnowledge()}
			until := now.UnixMilli() + 60_000
			for first := 0; b.Loop(); first = (first + batch) % len(keys) {
				b.StopTimer()
				if first == 0 {
					until += row.step
				}
				text := fmt.Sprintf("epoch\nother\n%d\nmark\nmark", now.UnixMilli())
				for _, k := range keys[first : first+batch] {
					text += fmt.Sprintf("\n%s\n%d %d 0 0 rate_limited retry-after", k.ID(), until, now.UnixMilli())
				}
				b.StartTimer()
				if err := j.applyEntry(redis.XMessage{ID: "1-0", Values: map[string]any{entryField: text}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/change")
		})
	}
}

// BenchmarkArguments is a full batch.
func BenchmarkArguments(b *testing.B) {
	j := &Journal{codec: codec{reasons: reasons}, now: time.Now}
	j.clock.sample(time.Now(), time.Now(), time.Duration(time.Now().UnixNano()))
	changes := make([]rotator.Change, batch)
	for i, k := range statetest.Keys(b, batch) {
		changes[i] = rotator.Change{ID: k.ID(), Until: time.Now().Add(time.Hour), Learned: time.Now(), Source: "retry-after"}
	}
	b.ReportAllocs()
	for b.Loop() {
		j.arguments(shortName(), changes, nil, "")
	}
}
