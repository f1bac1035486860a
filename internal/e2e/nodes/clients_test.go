//go:build unix

package nodes

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// each is how many tokens an answer of a teller says that it has used.
const each = 100

// teller is an upstream whose answers say what they have used. It notes when it was called
// for which client.
type teller struct {
	*httptest.Server
	hits
}

func startTeller(t testing.TB) *teller {
	t.Helper()
	u := &teller{hits: hits{times: make(map[string][]time.Time)}}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		team := r.Header.Get("X-Team")
		u.times[team] = append(u.times[team], time.Now())
		u.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"model":"demo","usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, each-60, 60)
	}))
	t.Cleanup(func() { live.CloseServer(t, u.Server) })
	return u
}

// count returns how often the upstream was called for the client.
func (u *teller) count(team string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.times[team])
}

// ask sends a request of the client's, and returns the answer's status and after how many
// seconds it should come again.
func (n *node) ask(team string) (status, seconds int) {
	n.t.Helper()
	r := live.Request(n.t, http.MethodPost, n.url+"/v1/chat/completions", `{"model":"demo","max_tokens":60}`)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Team", team)
	res, _ := live.Do(n.t, http.DefaultClient, r)
	seconds, _ = strconv.Atoi(res.Header.Get("Retry-After"))
	return res.StatusCode, seconds
}

// exhaust sends the client's requests to all nodes, most of them to the first, until each node
// says that there is nothing before the next day.
func exhaust(t *testing.T, nodes []*node, team string) {
	t.Helper()
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			tick := time.NewTicker(time.Duration(1+10*i) * 5 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(live.Patience); time.Now().Before(end); <-tick.C {
				if status, seconds := n.ask(team); status == http.StatusTooManyRequests && seconds > 61 {
					return
				}
			}
			t.Errorf("node %s never says that the day's budget is used up", n.config.name)
		})
	}
	all.Wait()
}

// beginOfDay waits where a day of UTC would end within the test.
func beginOfDay(t *testing.T) {
	t.Helper()
	if left := time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)); left < 2*time.Minute {
		live.Eventually(t, "the day's last minute", func() bool { return time.Now().UTC().Format("15:04") != "23:58" })
		live.Eventually(t, "the next day", func() bool { return time.Now().UTC().Hour() == 0 })
	}
}

// A client's budget is one of all nodes, by default where there is Redis. What was used of it
// outlives each of them, and all of them.
func TestNodesShareAClientsBudget(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	beginOfDay(t)
	const most, count = 150, 5 // requests of so many tokens
	server, upstream := startRedis(t), startTeller(t)
	config := nodeConfig{
		keys: 3, state: "redis " + server.Addr(), upstream: upstream.URL,
		options: fmt.Sprintf("clients {header.X-Team} {\n * {\n budget %d tokens day\n }\n }", most*each),
	}
	nodes := startNodes(t, count, config)
	check := func(when string, started int) {
		t.Helper()
		exhaust(t, nodes, "ada")
		n := upstream.count("ada")
		t.Logf("%s: %d requests of %d", when, n, most)
		if n > most+started || n < most*95/100 {
			t.Errorf("%s, %d requests were served, of %d, and one for each of %d nodes that were started", when, n, most, started)
		}
	}
	check("all used it", count)
	if status, _ := nodes[3].ask("grace"); status != http.StatusOK {
		t.Errorf("another client gets %d", status)
	}
	again := func(which ...int) {
		for _, i := range which {
			nodes[i].stop()
		}
		for _, i := range which {
			config.name = nodeNames[i]
			nodes[i] = startNode(t, config)
		}
	}
	again(0)
	for range 20 {
		nodes[0].ask("ada")
	}
	if n := upstream.count("ada"); n > most+count+1 {
		t.Errorf("after one has come back, %d requests of %d were served", n, most)
	}
	again(0, 1, 2, 3, 4)
	check("after all have come back", 2*count+1)
}

// Five nodes with uneven load serve a client as often as one would, and hardly more often.
func TestNodesShareAClientsRequests(t *testing.T) {
	if !live.Long() {
		t.Skip("it takes long: KEYCYCLER_LONG=1 runs it")
	}
	t.Parallel()
	redistest.Binary(t)
	const most, count, per = 400, 5, 10 * time.Second
	server, upstream := startRedis(t), startTeller(t)
	nodes := startNodes(t, count, nodeConfig{
		keys: 3, state: "redis " + server.Addr(), upstream: upstream.URL,
		options: fmt.Sprintf("clients {header.X-Team} {\n * {\n requests %d %s\n tokens %d %s\n }\n }", most, per, 10*most*each, per),
	})
	end := time.Now().Add(3 * per)
	var running sync.WaitGroup
	var refused atomic.Int32
	for i, demand := range []int{2 * most, most / 4, most / 10, 4, 1} {
		running.Go(func() {
			refused.Add(int32(ask(demand, per, end, func() int { status, _ := nodes[i].ask("ada"); return status })))
		})
	}
	running.Wait()
	last, peak := upstream.within("ada", per, end)
	t.Logf("%d in the last window, at most %d in any, of %d; %d were refused", last, peak, most, refused.Load())
	if peak > most+most/50 || last < most*92/100 || refused.Load() == 0 {
		t.Errorf("%d in the last window, at most %d in any, of %d; %d were refused", last, peak, most, refused.Load())
	}
	if here, _ := server.Client().HGet(t.Context(), "{keycycler}:leases", "nodes").Result(); strings.Count(here, ";") != count {
		t.Errorf("the nodes are %q", here)
	}
}
