//go:build unix

package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// faultRig is what the faults happen to: two nodes that share a Redis, the first of
// them under load, and beside it a node on memory state, under the same load.
type faultRig struct {
	redis    *redisServer
	net      *redistest.Proxy // between the nodes and Redis, where the rig has one
	upstream *limiter
	a, b     *node
	load     *load
	outages  map[*node]int // that the node has spoken of before
	used     int           // of the keys: even ones for the load, odd ones with pools of their own alone
}

const (
	rigKeys     = 60 // of each kind
	rigPassword = "Fm8Rt3Wq-not-for-logs"
	rigUser     = "keycycler"
	rigTimeout  = 500 * time.Millisecond // of each kind, so that faults are seen within the time that a test has
)

// startRig starts it.
func startRig(t *testing.T, withNet bool) *faultRig {
	t.Helper()
	r := &faultRig{upstream: startLimiter(t), outages: make(map[*node]int)}
	r.redis = startRedis(t, "user "+rigUser+" on >"+rigPassword+" ~{keycycler}:* +@all -@dangerous")
	addr := r.redis.Addr()
	if withNet {
		r.net = redistest.StartProxy(t, addr)
		addr = r.net.Addr()
	}
	c := nodeConfig{
		keys: rigKeys, only: upTo(2 * rigKeys), upstream: r.upstream.URL, env: []string{"RIG_PASSWORD=" + rigPassword},
		state: fmt.Sprintf("redis %[1]s {\nusername %[2]s\npassword {env.RIG_PASSWORD}\nread_timeout %[3]s\nwrite_timeout %[3]s\ndial_timeout %[3]s\n}", addr, rigUser, rigTimeout),
	}
	nodes := startNodes(t, 2, c)
	r.a, r.b = nodes[0], nodes[1]
	c.name, c.state = "memory", "memory"
	yardstick := startNode(t, c)
	// 200 connections that do not leave the machine busy: what the fault does shows.
	every := 400 * time.Millisecond
	if live.Long() {
		every = 0
	}
	r.load = startPacedLoad(t, 200, every, r.a, yardstick)
	live.Eventually(t, "both nodes listen", func() bool { return r.redis.listening() == 2 })
	return r
}

// fault is something that happens to Redis or on the way to it.
type fault struct {
	name   string
	begin  func(*faultRig)
	during func(*faultRig) // again and again, until it is over
	end    func(*faultRig)
	lasts  time.Duration // default: 2s
	flaps  bool          // it is many outages, each too short to be sure of a line
}

// run lets the fault happen, and while it does both nodes learn something. No
// request fails, and soon after it the nodes know what the other has learned.
func (r *faultRig) run(t *testing.T, f fault) {
	r.load.t = t
	r.calm(t)
	r.load.window()
	inLoad, alone := r.used, rigKeys+r.used // numbers of keys
	r.used++
	f.begin(r)
	began := time.Now()
	r.upstream.limit(inLoad, alone)
	live.Eventually(t, "the node under load has met the limit", func() bool { return r.upstream.hits(inLoad, r.a) > 0 })
	if status := r.b.get(onlyPath(alone)); status != http.StatusTooManyRequests || r.upstream.hits(alone, r.b) != 1 {
		t.Errorf("the other node answered %d after %d calls", status, r.upstream.hits(alone, r.b))
	}
	lasts := max(f.lasts, 2*time.Second)
	live.EventuallyWithin(t, lasts+20*time.Second, "the fault has lasted, and both nodes have seen it", func() bool {
		if f.during != nil {
			f.during(r)
		}
		seen := f.flaps || r.a.logged(awayLine) > r.outages[r.a] && r.b.logged(awayLine) > r.outages[r.b]
		return seen && time.Since(began) >= lasts
	})
	f.end(r)
	over := time.Now()
	live.Eventually(t, "each node knows what the other has learned", func() bool { return r.b.knows(inLoad) && r.a.knows(alone) })
	shared := time.Since(over).Round(time.Millisecond)
	for _, n := range []*node{r.a, r.b} {
		live.Eventually(t, "the node says that Redis is back", func() bool { return n.logged(backLine) == n.logged(awayLine) })
	}
	times := r.load.window()
	t.Logf("%s: p50 %s, p99 %s; on memory p50 %s, p99 %s; %d requests in %s; shared %s after the return; %d and %d lines that it is away",
		f.name, percentile(times[0], 50), percentile(times[0], 99), percentile(times[1], 50), percentile(times[1], 99),
		len(times[0]), time.Since(began).Round(time.Millisecond), shared, r.a.logged(awayLine)-r.outages[r.a], r.b.logged(awayLine)-r.outages[r.b])
	// A machine on which a request alone takes as long as the nodes wait for Redis makes
	// them lose it by itself.
	if f.flaps || percentile(times[1], 100) >= rigTimeout {
		return
	}
	for _, n := range []*node{r.a, r.b} {
		if lines := n.outagesAfter(r.outages[n]); lines != 1 {
			t.Errorf("node %s has said %d times that Redis is away, of one outage from %s to %s:\n%s", n.config.name, lines,
				began.Format(time.RFC3339Nano), over.Format(time.RFC3339Nano), strings.Join(n.said(awayLine, backLine), ""))
		}
	}
}

// outagesAfter counts the outages that the node has spoken of after the first ones. A busy machine
// can make another of one: Redis was back, and is late then, for as long as the node waits.
func (n *node) outagesAfter(first int) (count int) {
	n.t.Helper()
	var back float64
	for i, line := range n.said(awayLine, backLine) {
		var entry struct {
			Msg, Error string
			TS         float64
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			n.t.Fatal(err)
		}
		late := strings.Contains(entry.Error, os.ErrDeadlineExceeded.Error()) || strings.Contains(entry.Error, context.DeadlineExceeded.Error())
		switch {
		case entry.Msg == backLine:
			back = entry.TS
		case i >= 2*first && (count == 0 || !late || entry.TS-back < rigTimeout.Seconds()):
			count++
		}
	}
	return count
}

// calm waits until no node says that Redis is away, and notes how often they have said so.
func (r *faultRig) calm(t *testing.T) {
	t.Helper()
	for _, n := range []*node{r.a, r.b} {
		live.Eventually(t, "the node says that Redis is back", func() bool {
			r.outages[n] = n.logged(awayLine)
			return r.outages[n] == n.logged(backLine)
		})
	}
}

// end stops the load, of which the last request must have succeeded, too.
func (r *faultRig) end(t *testing.T) {
	r.load.end()
	r.load.t = t
	r.load.window()
}

// A Redis that fails in any way costs no request anything, and loses nothing.
func TestNodesAndAFailingRedis(t *testing.T) {
	t.Parallel()
	r := startRig(t, false)
	stalled := 2 * time.Second
	if live.Long() {
		stalled = time.Minute
	}
	for _, f := range []fault{
		{
			name:  "killed, and back empty",
			begin: func(r *faultRig) { r.redis.Kill() },
			end:   func(r *faultRig) { r.redis.Restart() },
		},
		{
			name:  "stopped",
			lasts: stalled,
			begin: func(r *faultRig) { r.redis.Stall() },
			end:   func(r *faultRig) { r.redis.Resume() },
		},
		{
			name:  "without its replicas, which it needs to write",
			begin: func(r *faultRig) { r.redis.Do("CONFIG", "SET", "min-replicas-to-write", 1) },
			end:   func(r *faultRig) { r.redis.Do("CONFIG", "SET", "min-replicas-to-write", 0) },
		},
		{
			name:  "full",
			begin: func(r *faultRig) { r.redis.Do("CONFIG", "SET", "maxmemory", "1mb") },
			end:   func(r *faultRig) { r.redis.Do("CONFIG", "SET", "maxmemory", 0) },
		},
		{
			name: "another password",
			begin: func(r *faultRig) {
				r.redis.Do("ACL", "SETUSER", rigUser, "resetpass", ">another")
				r.redis.Do("CLIENT", "KILL", "USER", rigUser)
			},
			end: func(r *faultRig) { r.redis.Do("ACL", "SETUSER", rigUser, "resetpass", ">"+rigPassword) },
		},
		{
			name:  "no rights",
			begin: func(r *faultRig) { r.redis.Do("ACL", "SETUSER", rigUser, "-@all") },
			end:   func(r *faultRig) { r.redis.Do("ACL", "SETUSER", rigUser, "+@all") },
		},
		{
			name:  "read-only",
			begin: func(r *faultRig) { r.redis.Do("REPLICAOF", "127.0.0.1", "1") },
			end:   func(r *faultRig) { r.redis.Do("REPLICAOF", "NO", "ONE") },
		},
		{
			name:   "connections killed again and again",
			flaps:  true,
			begin:  func(r *faultRig) { r.redis.Do("CLIENT", "KILL", "USER", rigUser) },
			during: func(r *faultRig) { r.redis.Do("CLIENT", "KILL", "USER", rigUser) },
			end:    func(*faultRig) {},
		},
	} {
		if !t.Run(f.name, func(t *testing.T) { r.run(t, f) }) {
			break // what follows would fail for the same reason
		}
	}
	r.end(t)
}

// The same for a network that fails.
func TestNodesAndAFailingNetwork(t *testing.T) {
	t.Parallel()
	r := startRig(t, true)
	// A node that only listens sees after its two seconds that nothing comes.
	const hearing = 3 * time.Second
	for _, f := range []fault{
		{
			name:  "everything comes five seconds later",
			lasts: hearing,
			begin: func(r *faultRig) { r.net.Delay(5 * time.Second) },
			end:   func(r *faultRig) { r.net.Delay(0) },
		},
		{
			name:  "everything is lost",
			lasts: hearing,
			begin: func(r *faultRig) { r.net.Blackhole(true) },
			end: func(r *faultRig) {
				r.net.Blackhole(false)
				r.net.Cut()
			},
		},
		{
			name:   "connections break off again and again",
			flaps:  true,
			begin:  func(r *faultRig) { r.net.Cut() },
			during: func(r *faultRig) { r.net.Cut() },
			end:    func(*faultRig) {},
		},
	} {
		if !t.Run(f.name, func(t *testing.T) { r.run(t, f) }) {
			break
		}
	}
	r.end(t)
}
