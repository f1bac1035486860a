//go:build unix

package nodes

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator"
)

// adminPool is the part of the admin API's answer that these tests look at.
type adminPool struct {
	Pool                           string
	Keys, Ready, Cooling, Disabled int
	State                          struct {
		Backend string
		Healthy bool
	}
}

// adminKey likewise.
type adminKey struct {
	ID, State, Class, Source string
	Remaining                float64 `json:"remaining_seconds"`
	Attempts                 int
	Rejections               map[string]int
}

// api calls the node's admin API and decodes its answer into out. A reload may
// have closed the connection, or the listener: then it tries again.
func (n *node) api(method, path, body string, out any) {
	n.t.Helper()
	live.Eventually(n.t, method+" "+path+" is answered", func() bool {
		r := live.Request(n.t, method, n.admin+"/keycycler/"+path, body)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return false
		}
		if res.StatusCode != http.StatusOK {
			n.t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
		}
		if err := json.Unmarshal(text, out); err != nil {
			n.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
		return true
	})
}

// keyState asks for the state of the i-th key.
func (n *node) keyState(i int) string {
	n.t.Helper()
	var k adminKey
	n.api("GET", "pools/main/keys/"+idOf(i), "", &k)
	return k.State
}

// idOf returns the id of the i-th key.
func idOf(i int) string { return rotator.IDOf(key(i)).String() }

// do sends an operator's verb.
func (n *node) do(verb string, i int, body string) (k adminKey) {
	n.t.Helper()
	n.api("POST", fmt.Sprintf("pools/main/keys/%s/%s", idOf(i), verb), body, &k)
	return k
}

// What an operator says at one node is so at all nodes, and stays so: over a
// reload, and where there is Redis, over a restart.
func TestNodesObeyOperators(t *testing.T) {
	t.Parallel()
	server, upstream := startRedis(t), startLimiter(t)
	config := nodeConfig{keys: 5, state: "redis " + server.Addr(), upstream: upstream.URL}
	nodes := startNodes(t, 2, config)
	a, b := nodes[0], nodes[1]
	a.do("disable", 0, "")
	a.do("disable", 1, "")
	a.do("cool", 2, `{"seconds": 3600}`)
	for i, want := range []string{"disabled", "disabled", "cooling", "ready"} {
		live.Eventually(t, fmt.Sprintf("key %d is %s at the other node", i, want), func() bool { return b.keyState(i) == want })
	}
	b.do("enable", 1, "")
	b.do("clear", 2, "")
	live.Eventually(t, "the enabling has arrived", func() bool { return a.keyState(1) == "ready" && a.keyState(2) == "ready" })
	for range 100 {
		b.get("/")
	}
	var k adminKey
	b.api("GET", "pools/main/keys/"+idOf(0), "", &k)
	if k.Attempts != 0 {
		t.Errorf("a disabled key was used: %+v", k)
	}

	a.reload(a.config)
	if state := a.keyState(0); state != "disabled" {
		t.Errorf("after a reload the key is %s", state)
	}
	stopAll(nodes)
	again := startNode(t, nodeConfig{name: "again", keys: 5, state: config.state, upstream: upstream.URL})
	live.Eventually(t, "a new node knows that the key is disabled", func() bool { return again.keyState(0) == "disabled" })
	var pools []adminPool
	again.api("GET", "pools", "", &pools)
	if len(pools) != 1 || pools[0].Pool != "main" || pools[0].Keys != 5 || pools[0].Disabled != 1 || pools[0].State.Backend != "redis" || !pools[0].State.Healthy {
		t.Errorf("pools: %+v", pools)
	}
	for i := range 5 {
		again.do("disable", i, "")
	}
	if status := again.get("/"); status != http.StatusServiceUnavailable {
		t.Errorf("with all keys disabled the client gets %d", status)
	}
	again.do("enable", 3, "")
	if status := again.get("/"); status != http.StatusOK {
		t.Errorf("with one key enabled the client gets %d", status)
	}
}

// Without Redis what an operator says outlives reloads.
func TestNodeRemembersItsOperator(t *testing.T) {
	t.Parallel()
	upstream := startLimiter(t)
	n := startNode(t, nodeConfig{name: "a", keys: 3, state: "memory", upstream: upstream.URL})
	n.do("disable", 0, "")
	n.do("cool", 1, `{"seconds": 3600}`)
	for i := range 3 {
		c := n.config
		c.options = fmt.Sprintf("max_attempts %d", i+1)
		n.reload(c)
		if states := [2]string{n.keyState(0), n.keyState(1)}; states != [2]string{"disabled", "cooling"} {
			t.Fatalf("after reload %d the keys are %v", i, states)
		}
	}
	var got struct{ Keys, Changed int }
	n.api("POST", "pools/main/keys/enable", "", &got)
	if got.Keys != 3 || got.Changed != 1 {
		t.Errorf("enabling all says %+v", got)
	}
}

// poll calls the admin API so many times a second until stop is closed, and returns
// how many calls were answered.
func (n *node) poll(perSecond int, stop <-chan struct{}) int {
	const callers = 100
	var done atomic.Int64
	var workers sync.WaitGroup
	paths := []string{"pools", "pools/main/keys?limit=100", "pools/main/keys?state=cooling", "pools/main/keys/" + idOf(1)}
	client := live.Patient(&http.Transport{MaxIdleConnsPerHost: callers})
	for i := range callers {
		workers.Go(func() {
			every := time.Second * callers / time.Duration(perSecond)
			first := time.NewTimer(every * time.Duration(i) / callers) // not all at once
			defer first.Stop()
			<-first.C
			tick := time.NewTicker(every)
			defer tick.Stop()
			for call := i; ; call++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				res, err := client.Get(n.admin + "/keycycler/" + paths[call%len(paths)])
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					done.Add(1)
				}
			}
		})
	}
	workers.Wait()
	client.CloseIdleConnections()
	return int(done.Load())
}

// paced sends requests over so many connections, one of each in every period, until
// stop is closed, and returns how long each took, sorted. The machine is not busy
// with it all the time: what else it does shows, and not that it does anything.
func paced(l *load, n *node, connections int, every time.Duration, stop <-chan struct{}) (times []time.Duration) {
	var workers sync.WaitGroup
	var mu sync.Mutex
	for i := range connections {
		workers.Go(func() {
			first := time.NewTimer(every * time.Duration(i) / time.Duration(connections))
			defer first.Stop()
			<-first.C
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				started := time.Now()
				if err := l.send(n); err != nil {
					n.t.Error(err)
				}
				took := time.Since(started)
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
				select {
				case <-stop:
					return
				case <-tick.C:
				}
			}
		})
	}
	workers.Wait()
	slices.Sort(times)
	return times
}

// BenchmarkAdminUnderLoad measures what 1,000 calls of the admin API a second cost
// the requests of 200 connections, 1,000 a second: windows with and without the
// calls, in turn.
func BenchmarkAdminUnderLoad(b *testing.B) {
	const connections, every = 200, 200 * time.Millisecond
	upstream := startLimiter(b)
	n := startNode(b, nodeConfig{name: "a", keys: 1000, state: "memory", upstream: upstream.URL, level: "ERROR"})
	l := &load{t: b, client: live.Patient(&http.Transport{MaxIdleConnsPerHost: connections})}
	defer l.client.CloseIdleConnections()
	window := func(with bool) (times []time.Duration, calls int) {
		stop := make(chan struct{})
		time.AfterFunc(3*time.Second, func() { close(stop) })
		var calling sync.WaitGroup
		if with {
			calling.Go(func() { calls = n.poll(1000, stop) })
		}
		times = paced(l, n, connections, every, stop)
		calling.Wait()
		return times, calls
	}
	window(false)
	var p99, p50 [2]float64
	calls, windows := 0, 0
	for b.Loop() {
		for i, with := range []bool{false, true} {
			times, n := window(with)
			p99[i] += float64(percentile(times, 99)) / 1e6
			p50[i] += float64(percentile(times, 50)) / 1e6
			calls += n
		}
		windows++
	}
	per := float64(windows)
	b.ReportMetric(p50[0]/per, "ms-p50-without")
	b.ReportMetric(p50[1]/per, "ms-p50-with")
	b.ReportMetric(p99[0]/per, "ms-p99-without")
	b.ReportMetric(p99[1]/per, "ms-p99-with")
	b.ReportMetric(float64(calls)/per/3, "calls/s")
	b.ReportMetric(0, "ns/op")
}

// The page stands at the admin endpoint, and browsers are let in where the config
// allows requests without an origin.
func TestNodeShowsItsPage(t *testing.T) {
	t.Parallel()
	upstream := startLimiter(t)
	n := startNode(t, nodeConfig{name: "a", keys: 3, state: "memory", upstream: upstream.URL})
	res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", n.admin+"/keycycler/", ""))
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), idOf(0)) || res.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("the page: %s %.200s", res.Status, body)
	}
	res, body = live.Do(t, http.DefaultClient, live.Request(t, "GET", n.admin+"/keycycler/none", ""))
	if res.StatusCode != http.StatusNotFound || !strings.Contains(string(body), `"error"`) {
		t.Errorf("beside the page: %s %s", res.Status, body)
	}
}
