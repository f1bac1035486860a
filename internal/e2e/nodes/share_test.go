//go:build unix

package nodes

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// nodeNames are enough for every test.
var nodeNames = []string{"a", "b", "c", "d", "e"}

// startNodes starts n nodes with the same config but their names.
func startNodes(t testing.TB, n int, c nodeConfig) []*node {
	t.Helper()
	nodes := make([]*node, n)
	for i := range nodes {
		c.name = nodeNames[i]
		nodes[i] = startNode(t, c)
	}
	t.Cleanup(func() { stopAll(nodes) })
	return nodes
}

func stopAll(nodes []*node) {
	var stopping sync.WaitGroup
	for _, n := range nodes {
		stopping.Go(n.stop)
	}
	stopping.Wait()
}

// A key that one node saw limited is used by no other.
func TestNodesShareTheirCooldowns(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	for _, count := range []int{2, 5} {
		t.Run(fmt.Sprintf("%d nodes", count), func(t *testing.T) {
			const keys, limited = 20, 8
			server, upstream := startRedis(t), startLimiter(t)
			nodes := startNodes(t, count, nodeConfig{
				keys: keys, only: upTo(limited), state: "redis " + server.Addr(), upstream: upstream.URL,
			})
			upstream.limit(upTo(limited)...)
			live.Eventually(t, "the first node has met all limits", func() bool {
				nodes[0].get("/")
				return upstream.hitsOfAll() == limited
			})
			live.Eventually(t, "Redis has them", func() bool { return server.cooling() == limited })
			for _, n := range nodes[1:] {
				for i := range limited {
					live.Eventually(t, "node "+n.config.name+" knows", func() bool { return n.knows(i) })
				}
				for range 200 {
					if status := n.get("/"); status != http.StatusOK {
						t.Fatalf("node %s answered %d", n.config.name, status)
					}
				}
			}
			for i := range limited {
				for _, n := range nodes {
					if hits := upstream.hits(i, n); (hits == 1) != (n == nodes[0]) || hits > 1 {
						t.Errorf("key %d met its limit %d times through node %s", i, hits, n.config.name)
					}
				}
			}
		})
	}
}

// What Redis is asked for: nothing for a request that meets no rejection, at most
// one round trip for one that does, and less where they come together.
func TestNodesAskLittleOfRedis(t *testing.T) {
	t.Parallel()
	const requests, rejections = 10_000, 1000
	server, upstream := startRedis(t), startLimiter(t)
	// Usage is written behind, whatever is asked for: what that costs is rotator/shared's to test.
	nodes := startNodes(t, 2, nodeConfig{keys: 2*rejections + 500, state: "redis " + server.Addr(), upstream: upstream.URL, options: "usage off"})
	live.Eventually(t, "both nodes listen", func() bool { return server.listening() == 2 })

	before, started := server.calls(), time.Now()
	load := startLoad(t, 50, nodes[0])
	live.Eventually(t, "all requests are served", func() bool { return load.count() >= requests })
	load.end()
	load.window()
	after := server.calls()
	// Each node listens anew every two seconds, and asks then whether it has missed
	// anything; both may have been about to.
	beats := 2 * (int(time.Since(started)/(2*time.Second)) + 2)
	keeping := map[string]int{"info": 1, "xread": beats, "evalsha": beats, "time": beats, "hmget": beats, "hlen": beats, "zcard": beats, "hset": beats}
	for command, calls := range after {
		if n := calls - before[command]; n > keeping[command] {
			t.Errorf("%d requests without a rejection: %d times %s, want at most %d", load.count(), n, command, keeping[command])
		}
	}

	for _, together := range []int{1, 100} {
		before, started := server.calls(), time.Now()
		reject(t, nodes[0], rejections, together)
		// Requests on their way together may have the same key.
		live.Eventually(t, "Redis knows the keys", func() bool { return server.cooling() == upstream.keysHit() })
		after := server.calls()
		beats := 2 * (int(time.Since(started)/(2*time.Second)) + 2)
		scripts := after["evalsha"] + after["eval"] - before["evalsha"] - before["eval"]
		t.Logf("%d rejections, %d at a time: %d scripts, of which at most %d listen", rejections, together, scripts, beats)
		most := rejections + beats
		if together > 1 {
			most = rejections / 2
		}
		if scripts > most {
			t.Errorf("%d rejections, %d at a time: %d scripts, want at most %d", rejections, together, scripts, most)
		}
	}
}

// reject sends requests through the node whose first attempt is rejected, so many
// at a time.
func reject(t *testing.T, n *node, requests, together int) {
	t.Helper()
	next := make(chan int)
	done := make(chan string, together)
	client := live.Patient(&http.Transport{MaxIdleConnsPerHost: together})
	defer client.CloseIdleConnections()
	for range together {
		go func() {
			failure := ""
			for i := range next {
				r, _ := http.NewRequest(http.MethodGet, n.url, nil)
				r.Header.Set(firstHeader, fmt.Sprintf("%d-%d", together, i))
				res, err := client.Do(r)
				if err != nil {
					failure = err.Error()
					continue
				}
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					failure = res.Status
				}
			}
			done <- failure
		}()
	}
	for i := range requests {
		next <- i
	}
	close(next)
	for range together {
		if failure := <-done; failure != "" {
			t.Error(failure)
		}
	}
}

// A node needs no Redis to start, to serve or to check its config.
func TestNodesStartWithoutRedis(t *testing.T) {
	t.Parallel()
	server, upstream := startRedis(t), startLimiter(t)
	server.Kill()
	started := time.Now()
	nodes := startNodes(t, 2, nodeConfig{keys: 4, only: upTo(2), state: "redis " + server.Addr(), upstream: upstream.URL})
	t.Logf("two nodes serve after %s", time.Since(started).Round(time.Millisecond))
	upstream.limit(0, 1)
	live.Eventually(t, "the first node has met all limits", func() bool {
		if status := nodes[0].get("/"); status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
		return upstream.hitsOfAll() == 2
	})
	for _, command := range []string{"validate", "adapt"} {
		started := time.Now()
		nodes[0].run(command, "--config", nodes[0].file(), "--adapter", "caddyfile")
		t.Logf("caddy %s takes %s", command, time.Since(started).Round(time.Millisecond))
	}
	for _, n := range nodes {
		live.Eventually(t, "the node says that Redis is away", func() bool { return n.logged(awayLine) == 1 })
	}
	if nodes[1].knows(0) || nodes[1].knows(1) {
		t.Error("the second node knows what nobody told")
	}

	server.Restart()
	back := time.Now()
	for i := range 2 {
		live.Eventually(t, "the other node knows", func() bool { return nodes[1].knows(i) })
	}
	t.Logf("shared %s after Redis came", time.Since(back).Round(time.Millisecond))
	for _, n := range nodes {
		live.Eventually(t, "the node says that Redis is back", func() bool { return n.logged(backLine) == 1 })
		if lines := n.logged(awayLine); lines != 1 {
			t.Errorf("node %s says %d times that Redis is away", n.config.name, lines)
		}
	}
}
