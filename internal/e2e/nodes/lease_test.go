//go:build unix

package nodes

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// hits is an upstream that notes when it was called with each key.
type hits struct {
	*httptest.Server
	mu    sync.Mutex
	times map[string][]time.Time
}

func startHits(t testing.TB) *hits {
	t.Helper()
	h := &hits{times: make(map[string][]time.Time)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		h.times[key] = append(h.times[key], time.Now())
		_, _ = w.Write([]byte("fine"))
	}))
	t.Cleanup(func() { live.CloseServer(t, h.Server) })
	return h
}

// within returns how many calls with the key came in the window of that length that ends
// then, and how many in the one with the most.
func (h *hits) within(key string, per time.Duration, end time.Time) (last, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	times := h.times[key]
	for i, first := 0, 0; i < len(times); i++ {
		for times[i].Sub(times[first]) >= per {
			first++
		}
		most = max(most, i-first+1)
	}
	recent := func(at time.Time) bool { return at.After(end.Add(-per)) && !at.After(end) }
	for _, at := range times {
		if recent(at) {
			last++
		}
	}
	return last, most
}

// drive sends so many requests in a window, evenly, until then, and returns how many were
// refused.
func (n *node) drive(demand int, per time.Duration, end time.Time) int {
	return ask(demand, per, end, func() int { return n.get("/") })
}

// ask asks so often in a window, evenly, until then, and returns how often the status was not
// 200. Nobody waits for the one before: who answers slowly is asked no less.
func ask(demand int, per time.Duration, end time.Time, once func() (status int)) int {
	tick := time.NewTicker(per / time.Duration(demand))
	defer tick.Stop()
	var refused atomic.Int64
	var running sync.WaitGroup
	for now := range tick.C {
		if now.After(end) {
			break
		}
		running.Go(func() {
			if once() != http.StatusOK {
				refused.Add(1)
			}
		})
	}
	running.Wait()
	return int(refused.Load())
}

// Five nodes with uneven load use the limits of their keys together, and no more of them.
func TestNodesShareALimit(t *testing.T) {
	if !live.Long() {
		t.Skip("it takes long: KEYCYCLER_LONG=1 runs it")
	}
	t.Parallel()
	redistest.Binary(t)
	const keys, most, per = 2, 200, 8 * time.Second
	server, upstream := startRedis(t), startHits(t)
	config := nodeConfig{
		keys: keys, state: "redis " + server.Addr(), upstream: upstream.URL,
		options: fmt.Sprintf("limit {\nrequests %d %s\nshared\n}", most, per),
	}
	nodes := startNodes(t, 5, config)
	live.Eventually(t, "the nodes know of each other", func() bool {
		here, _ := server.Client().HGet(t.Context(), "{keycycler}:leases", "nodes").Result()
		return strings.Count(here, ";") == len(nodes)
	})
	end := time.Now().Add(3 * per)
	refused := make([]int, len(nodes))
	var running sync.WaitGroup
	for i, demand := range []int{2 * keys * most, keys * most / 4, keys * most / 20, 4, 1} {
		running.Go(func() { refused[i] = nodes[i].drive(demand, per, end) })
	}
	running.Wait()
	total := 0
	for i := range keys {
		last, peak := upstream.within(key(i), per, end)
		total += last
		if peak > most+most/50 { // what was on its way for long arrives beside what followed it
			t.Errorf("key %d was used %d times in a window, want at most %d", i, peak, most)
		}
		t.Logf("key %d was used %d times in the last window, at most %d times in any", i, last, peak)
	}
	t.Logf("refused by each node: %v", refused)
	// A window counts in 32 parts, each until all of it has left: that costs one node alone
	// up to 3 % as well.
	if total < keys*most*92/100 {
		t.Errorf("the keys were used %d times in the last window, of %d", total, keys*most)
	}
	if !slices.ContainsFunc(refused, func(n int) bool { return n > 0 }) {
		t.Error("nothing was refused: the limit was not met")
	}
	// A reload with the same limit forgets nothing.
	nodes[0].reload(nodes[0].config)
	nodes[0].drive(100, time.Second, time.Now().Add(time.Second))
	if _, peak := upstream.within(key(0), per, time.Now()); peak > most+most/50 {
		t.Errorf("after a reload %d in a window, want at most %d", peak, most)
	}
}
