//go:build unix

package nodes

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// footprint is what a node takes.
type footprint struct{ connections, goroutines, heap, resident int }

func (n *node) footprint(server *redisServer) footprint {
	n.t.Helper()
	number := func(text, pattern string) int {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			n.t.Fatalf("no %s in:\n%s", pattern, tail(text))
		}
		v, _ := strconv.Atoi(m[1])
		return v
	}
	goroutines := n.profile("goroutine?debug=1")
	heap := n.profile("heap?gc=1&debug=1")
	f := footprint{
		connections: server.connections(),
		goroutines:  number(goroutines, `goroutine profile: total (\d+)`),
		heap:        number(heap, `# HeapAlloc = (\d+)`),
	}
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid)); err == nil {
		f.resident = number(string(status), `VmRSS:\s+(\d+) kB`) << 10
	}
	return f
}

func (f footprint) String() string {
	return fmt.Sprintf("%d connections to Redis, %d goroutines, %.1f MB heap, %.1f MB resident",
		f.connections, f.goroutines, float64(f.heap)/1e6, float64(f.resident)/1e6)
}

func (n *node) profile(name string) string {
	n.t.Helper()
	_, text := live.Do(n.t, http.DefaultClient, live.Request(n.t, http.MethodGet, n.admin+"/debug/pprof/"+name, ""))
	return string(text)
}

// Reloads under load share one journal, and leave nothing behind.
func TestNodesReloadUnderLoad(t *testing.T) {
	t.Parallel()
	const reloads = 100
	server, upstream := startRedis(t), startLimiter(t)
	c := nodeConfig{
		name: "a", keys: 20, only: upTo(4), state: "redis " + server.Addr(), upstream: upstream.URL,
		options: "replay {\nmemory 16B\n}", // bodies of unknown length go to temporary files
	}
	n := startNode(t, c)
	other := c
	other.options += "\nmax_attempts 14"
	for i := range 6 { // until what Caddy itself keeps is there
		n.reload([]nodeConfig{other, c}[i%2])
	}
	upstream.limit(0, 1)
	live.Eventually(t, "the node has told Redis", func() bool {
		// Bare Caddy, too, resets connections that reach it in the moment of a reload.
		if res, err := http.DefaultClient.Do(live.Request(t, http.MethodGet, n.url, "")); err == nil {
			res.Body.Close()
		}
		return server.cooling() == 2
	})
	http.DefaultClient.CloseIdleConnections()
	before := n.footprint(server)

	load := startReloadLoad(t, n, upstream)
	started := time.Now()
	for i := range reloads {
		n.reload([]nodeConfig{other, c}[i%2])
		if i == reloads/2 {
			upstream.limit(2, 3)
		}
	}
	took := time.Since(started)
	for i := range 4 {
		live.Eventually(t, "the node has met the limit", func() bool { return upstream.hits(i, n) > 0 })
	}
	live.Eventually(t, "Redis knows all limits", func() bool { return server.cooling() == 4 })
	load.end()
	load.window()

	t.Logf("%d reloads in %s and %d requests; before: %v", reloads, took.Round(time.Millisecond), load.count(), before)
	http.DefaultClient.CloseIdleConnections()
	var after footprint
	defer func() { t.Logf("after: %v", after) }()
	live.Eventually(t, "what old configs held is given back, with their connections to the upstream", func() bool {
		after = n.footprint(server)
		return after.connections <= before.connections && after.goroutines <= before.goroutines+10 && after.heap <= before.heap+4<<20
	})
	if left, err := filepath.Glob(filepath.Join(n.tmp(), "*")); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
	if lines := n.logged(awayLine) + n.logged(backLine); lines > 0 {
		t.Errorf("the reloads made the node say %d times that Redis is away or back", lines)
	}
	// The command does it, too.
	n.write(other)
	n.run("reload", "--config", n.file(), "--address", strings.TrimPrefix(n.admin, "http://"))
	live.Eventually(t, "a connection is not reset by the reload, as bare Caddy does too", func() bool {
		res, err := http.DefaultClient.Do(live.Request(t, http.MethodGet, n.url+onlyPath(5), ""))
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	if !n.knows(0) {
		t.Error("the node has forgotten what it knew")
	}
}

// startReloadLoad is startLoad for a node that is reloaded. Whoever closes an idle
// connection may cross a request on its way: Caddy does so at a reload, and clients
// try again. What went upstream must be answered.
func startReloadLoad(t *testing.T, n *node, upstream *limiter) *load {
	t.Helper()
	const connections = 50
	l := startLoad(t, 0, n)
	l.client.Transport = &http.Transport{MaxIdleConnsPerHost: connections}
	for i := range connections {
		l.workers.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-l.stop:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", i, k)
				err := sendStreamed(l.client, n.url, id)
				if _, reached := upstream.reached.Load(id); err != nil && !reached {
					continue
				}
				l.mu.Lock()
				l.served++
				if err != nil {
					l.failed = append(l.failed, err.Error())
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

// sendStreamed sends a body of unknown length.
func sendStreamed(client *http.Client, url, id string) error {
	r, err := http.NewRequest(http.MethodPost, url, io.MultiReader(strings.NewReader(strings.Repeat("x", 1000))))
	if err != nil {
		return err
	}
	r.Header.Set(idHeader, id)
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err = io.Copy(io.Discard, res.Body); err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return err
}

// The journal outlives the config that began it; its lines go where the running
// config's log goes.
func TestNodesLogWhereTheRunningConfigSays(t *testing.T) {
	t.Parallel()
	server, upstream := startRedis(t), startLimiter(t)
	n := startNode(t, nodeConfig{name: "a", keys: 2, state: "redis " + server.Addr(), upstream: upstream.URL})
	log := filepath.Join(n.dir, "another.log")
	n.post(strings.Replace(n.caddyfile(n.config), "output stderr", "output file "+log, 1))
	server.Kill()
	live.Eventually(t, "the new log says that Redis is away", func() bool {
		text, _ := os.ReadFile(log)
		return strings.Contains(string(text), awayLine)
	})
	if n.logged(awayLine) > 0 {
		t.Error("the old log has it, too")
	}
}

// What a node knew on memory state reaches the others when a reload joins it to the
// journal.
func TestNodesShareWhatTheyKnewBefore(t *testing.T) {
	t.Parallel()
	server, upstream := startRedis(t), startLimiter(t)
	c := nodeConfig{name: "a", keys: 3, only: upTo(2), state: "memory", upstream: upstream.URL}
	a := startNode(t, c)
	c.name, c.state = "b", "redis "+server.Addr()
	b := startNode(t, c)
	upstream.limit(0)
	live.Eventually(t, "the node on memory has met the limit", func() bool {
		a.get("/")
		return upstream.hits(0, a) == 1
	})
	c.name = "a"
	a.reload(c)
	live.Eventually(t, "the other node knows", func() bool { return b.knows(0) })
}

// An operator disables a key in a pool whose state is in memory. Another pool of the
// process has the key, too, and Redis: the other nodes hear.
func TestNodesHearOfEveryPool(t *testing.T) {
	t.Parallel()
	server, upstream := startRedis(t), startLimiter(t)
	c := nodeConfig{name: "b", keys: 3, only: upTo(1), state: "redis " + server.Addr(), upstream: upstream.URL}
	b := startNode(t, c)
	c.name, c.state = "a", "memory"
	a := startNode(t, c)
	a.post(strings.Replace(a.caddyfile(c), "state memory", "state redis "+server.Addr(), 1)) // of only-0
	a.do("disable", 0, "")
	live.Eventually(t, "the other node hears that it is disabled", func() bool { return b.keyState(0) == "disabled" })
	a.do("enable", 0, "")
	live.Eventually(t, "the other node hears that it is enabled", func() bool { return b.keyState(0) == "ready" })
}

// A request goes on while a reload gives the pool another journal, and meets its limit
// after the old one was closed.
func TestNodesHearOfRequestsThatOutliveAReload(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(probeHeader) != "" {
			w.WriteHeader(probed)
			return
		}
		asked <- struct{}{}
		<-answer
		w.Header().Set("Retry-After", "3600")
		w.Header().Set("X-Ratelimit-Remaining-Requests", "0") // it is proven, and so told to other nodes
		w.Header().Set("X-Ratelimit-Reset-Requests", "3600s")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(upstream.Close)
	c := nodeConfig{name: "b", keys: 2, only: upTo(1), state: "redis " + server.Addr(), upstream: upstream.URL}
	b := startNode(t, c)
	c.name = "a"
	a := startNode(t, c)
	status := make(chan int, 1)
	go func() {
		res, err := http.Get(a.url + onlyPath(0))
		if err != nil {
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	<-asked
	c.state += " {\nread_timeout 4s\n}"
	a.reload(c)
	b.do("disable", 1, "")
	live.Eventually(t, "the new journal has read what there is", func() bool { return a.keyState(1) == "disabled" })
	close(answer)
	if got := <-status; got != http.StatusTooManyRequests {
		t.Errorf("answered %d", got)
	}
	live.Eventually(t, "the other node knows", func() bool { return b.knows(0) })
}

// A node ends at once, also while Redis does not answer.
func TestNodesEndWhileRedisIsStopped(t *testing.T) {
	t.Parallel()
	server, upstream := startRedis(t), startLimiter(t)
	for _, stopped := range []bool{false, true} {
		// Who waits for Redis would wait for as long as a test.
		state := fmt.Sprintf("redis %s {\nread_timeout 1m\nwrite_timeout 1m\ndial_timeout 1m\n}", server.Addr())
		n := startNode(t, nodeConfig{name: "a", keys: 3, state: state, upstream: upstream.URL})
		live.Eventually(t, "the node listens", func() bool { return server.connections() > 0 })
		if stopped {
			server.Stall()
		}
		started := time.Now()
		n.stop()
		took := time.Since(started)
		t.Logf("Redis stopped: %t: the node ends after %s", stopped, took.Round(time.Millisecond))
		if took > 20*time.Second { // the last write has a second
			t.Error("that is too long")
		}
	}
}
