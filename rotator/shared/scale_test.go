package shared

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// scaleVariable asks for TestScale: "<nodes> <keys> <rejections a second>", such as
// "100 100000 1000", which takes 10 GB of memory and a minute or two.
const scaleVariable = "KEYCYCLER_SCALE"

// scaleTime is how long news is measured, before and while Redis is filled again.
const scaleTime = 10 * time.Second

// TestScale measures what sharing costs: how long fresh news takes from one node to
// another, and what Redis and this process do meanwhile; then the same while Redis is
// filled again, after it has lost everything.
func TestScale(t *testing.T) {
	var n, keys, rate int
	if _, err := fmt.Sscan(os.Getenv(scaleVariable), &n, &keys, &rate); err != nil {
		t.Skipf("%s is not set", scaleVariable)
	}
	server := redistest.Start(t)
	f := newScale(t, server, n, keys)
	// A node of its own has 40 MB to look through for garbage, and its own processor: here
	// they would all do so at once. It is done before and after.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	f.measure("steady", rate, func(end time.Time) bool { return time.Now().After(end) })
	resyncs := f.written()
	runtime.GC()
	server.Do("FLUSHALL")
	begin := time.Now()
	var full time.Duration
	f.measure("refill", rate, func(end time.Time) bool {
		if full == 0 && server.Client().HLen(context.Background(), "{keycycler}:state").Val() >= int64(keys) {
			full = time.Since(begin)
		}
		return full != 0 && time.Now().After(end)
	})
	t.Logf("refilled after %s; %d changes were sent for %d keys and %d rejections", full.Round(time.Millisecond), f.written()-resyncs, keys, f.told)
}

// scale is many nodes in this process.
type scale struct {
	*testing.T
	server *redistest.Server
	nodes  []*node
	keys   int
	told   int
}

func newScale(t *testing.T, server *redistest.Server, n, keys int) *scale {
	f := &scale{T: t, server: server, keys: keys}
	all := statetest.Keys(t, keys)
	for range n {
		nd, j, turns := open(t, redis.NewUniversalClient(clientOptions(server.Addr())))
		f.nodes = append(f.nodes, &node{Member: statetest.Join(t, nd, all), journal: j, turns: turns})
	}
	for _, n := range f.nodes {
		statetest.Until(t, time.Minute, "the first reading", func() bool { return n.journal.Health().Resyncs > 0 })
	}
	for s := range rotator.Slot(keys) {
		f.nodes[int(s)%n].Cool(s, time.Hour)
	}
	for _, n := range f.nodes {
		statetest.Until(t, 5*time.Minute, "all nodes to know all", func() bool { return n.Ready() == 0 && n.journal.Health().Queue == 0 })
	}
	return f
}

func (f *scale) written() (sum uint64) {
	for _, n := range f.nodes {
		sum += n.journal.Health().Written
	}
	return sum
}

// measure lets nodes meet rejections, and logs what that costs, until done.
func (f *scale) measure(what string, rate int, done func(end time.Time) bool) {
	begin, cpu, own := time.Now(), f.redisCPU(), ownCPU(f.T)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var mu sync.Mutex
	var took []time.Duration
	var samples sync.WaitGroup
	told := 0
	for looked := begin; ; {
		<-tick.C
		for ; told < int(time.Since(begin).Seconds()*float64(rate)); told++ {
			f.told++
			from, s := rand.IntN(len(f.nodes)), rotator.Slot(f.told%f.keys)
			d := 2*time.Hour + time.Duration(f.told)*time.Second
			f.nodes[from].Cool(s, d)
			if told%20 == 0 { // to another node
				to := (from + 1 + rand.IntN(len(f.nodes)-1)) % len(f.nodes)
				samples.Go(func() {
					late := f.arrives(f.nodes[to], s, time.Now().Add(d-time.Second/2))
					mu.Lock()
					defer mu.Unlock()
					took = append(took, late)
				})
			}
		}
		if time.Since(looked) > 200*time.Millisecond {
			if looked = time.Now(); done(begin.Add(scaleTime)) {
				break
			}
		}
	}
	samples.Wait()
	passed := time.Since(begin).Seconds()
	slices.Sort(took)
	at := func(part int) time.Duration { return took[(len(took)-1)*part/1000].Round(100 * time.Microsecond) }
	f.Logf("%s: %d nodes, %d keys, %.0f rejections/s: news p50 %s, p99 %s, p99.9 %s, max %s (of %d); Redis %.1f %% of a core, this process %.0f %%",
		what, len(f.nodes), f.keys, float64(told)/passed, at(500), at(990), at(999), at(1000), len(took),
		100*(f.redisCPU()-cpu)/passed, 100*(ownCPU(f.T)-own)/passed)
}

// arrives returns how long it takes for the node to know that the key cools so long.
func (f *scale) arrives(n *node, s rotator.Slot, until time.Time) time.Duration {
	begin := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Since(begin) < limit {
		if n.Now().Add(n.Pool.Status(n.Now(), s).Left).After(until) {
			return time.Since(begin)
		}
		<-tick.C
	}
	f.Errorf("news did not arrive within %s", limit)
	return limit
}

// redisCPU is how long Redis has worked, in seconds.
func (f *scale) redisCPU() (sum float64) {
	for line := range strings.Lines(f.server.Info("cpu")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			n, _ := strconv.ParseFloat(value, 64)
			sum += n
		}
	}
	return sum
}

// ownCPU is how long this process has worked, in seconds, where the system tells.
func ownCPU(t *testing.T) float64 {
	file, err := os.Open("/proc/self/stat")
	if err != nil {
		return 0
	}
	defer file.Close()
	line, err := bufio.NewReader(file).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(line[strings.LastIndex(line, ")")+1:])
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}
