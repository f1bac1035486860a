//go:build unix

package nodes

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

const (
	probeHeader = "X-Probe" // the upstream fails this one, whatever its key: that teaches nothing of the key
	firstHeader = "X-First" // and limits the first call with each value of this one
	idHeader    = "X-Id"    // and notes the values of this one
)

// probed is what a probe gets from the upstream.
const probed = http.StatusInternalServerError

// limiter is an upstream that limits the keys it is told to, and costs little.
type limiter struct {
	*httptest.Server
	reached sync.Map // values of idHeader

	mu       sync.Mutex
	limited  map[string]bool
	rejected map[string]map[string]int // key → node → how often it met the limit
	met      map[string]bool           // values of firstHeader
	total    int                       // of rejections
}

func startLimiter(t testing.TB) *limiter {
	t.Helper()
	l := &limiter{limited: make(map[string]bool), rejected: make(map[string]map[string]int), met: make(map[string]bool)}
	l.Server = httptest.NewServer(l)
	t.Cleanup(func() { live.CloseServer(t, l.Server) })
	return l
}

func (l *limiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get(idHeader); id != "" {
		l.reached.Store(id, true)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Header.Get(probeHeader) != "" {
		w.WriteHeader(probed)
		return
	}
	if l.rejects(r) {
		w.Header().Set("Retry-After", "3600")
		w.Header().Set("X-Ratelimit-Remaining-Requests", "0") // it is proven, and so told to other nodes
		w.Header().Set("X-Ratelimit-Reset-Requests", "3600s")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, live.RateLimitBody)
		return
	}
	_, _ = io.WriteString(w, "fine")
}

func (l *limiter) rejects(r *http.Request) bool {
	key, first := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get(firstHeader)
	l.mu.Lock()
	defer l.mu.Unlock()
	rejects := l.limited[key]
	if first != "" && !l.met[first] {
		l.met[first], rejects = true, true
	}
	if rejects {
		if l.rejected[key] == nil {
			l.rejected[key] = make(map[string]int)
		}
		l.rejected[key][r.Header.Get("X-Node")]++
		l.total++
	}
	return rejects
}

func (l *limiter) limit(keys ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range keys {
		l.limited[key(i)] = true
	}
}

// hits returns how often the key met its limit through this node.
func (l *limiter) hits(i int, n *node) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rejected[key(i)][n.config.name]
}

func (l *limiter) hitsOfAll() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// keysHit returns how many keys have met a limit.
func (l *limiter) keysHit() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.rejected)
}

// load sends requests over many connections, each the next when it has the answer
// of the last, or some time after the last began, to one node after the other: whatever
// the machine does meanwhile it does to all of them.
type load struct {
	t       testing.TB
	client  *http.Client
	every   time.Duration // a request of each connection; 0: one after the other
	stop    chan struct{}
	workers sync.WaitGroup
	ending  sync.Once

	mu     sync.Mutex
	times  [][]time.Duration // by node, since the last call of window
	served int
	failed []string
}

func startLoad(t testing.TB, connections int, nodes ...*node) *load {
	t.Helper()
	return startPacedLoad(t, connections, 0, nodes...)
}

func startPacedLoad(t testing.TB, connections int, every time.Duration, nodes ...*node) *load {
	t.Helper()
	l := &load{
		t: t, every: every, stop: make(chan struct{}), times: make([][]time.Duration, len(nodes)),
		client: live.Patient(&http.Transport{MaxIdleConnsPerHost: connections}),
	}
	for range connections {
		l.workers.Go(func() { l.work(nodes) })
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) work(nodes []*node) {
	next := l.turns()
	for i := 0; ; i = (i + 1) % len(nodes) {
		if !next() {
			return
		}
		started := time.Now()
		err := l.send(nodes[i])
		took := time.Since(started)
		l.mu.Lock()
		l.times[i] = append(l.times[i], took)
		l.served++
		if err != nil {
			l.failed = append(l.failed, err.Error())
		}
		l.mu.Unlock()
	}
}

// turns returns a function that waits for a connection's next turn, and tells whether
// there is one.
func (l *load) turns() func() bool {
	now := make(chan time.Time)
	close(now)
	turn, paced := (<-chan time.Time)(now), l.every > 0
	if paced {
		// Not all in the same moment: they would wait for each other.
		turn = time.After(rand.N(l.every))
	}
	return func() bool {
		select {
		case <-l.stop:
			return false
		case <-turn:
		}
		if paced {
			turn, paced = time.Tick(l.every), false
		}
		return true
	}
}

func (l *load) send(n *node) error {
	res, err := l.client.Post(n.url, "application/json", strings.NewReader(`{"model":"demo","messages":[]}`))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("node %s: %s %s %w", n.config.name, res.Status, body, err)
	}
	return nil
}

// window returns the requests' times by node since its last call, sorted, and
// fails the test for each request that failed.
func (l *load) window() [][]time.Duration {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, failure := range l.failed {
		if i == 5 {
			l.t.Errorf("and %d more requests", len(l.failed)-5)
			break
		}
		l.t.Errorf("a request failed: %s", failure)
	}
	l.failed = nil
	times := l.times
	l.times = make([][]time.Duration, len(times))
	for _, t := range times {
		slices.Sort(t)
	}
	return times
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served
}

// end stops the load when each connection has its last answer.
func (l *load) end() {
	l.ending.Do(func() { close(l.stop) })
	l.workers.Wait()
	l.client.CloseIdleConnections()
}

// percentile reads sorted times.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(float64(len(sorted))*percent/100), len(sorted)-1)].Round(10 * time.Microsecond)
}
