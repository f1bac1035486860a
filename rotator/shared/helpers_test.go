package shared

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

var reasons = []string{"other", "rate_limited"}

// clientOptions are those of the Caddy module.
func clientOptions(addrs ...string) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                    addrs,
		ClientName:               "keycycler",
		DialTimeout:              2 * time.Second,
		ReadTimeout:              3 * time.Second,
		WriteTimeout:             3 * time.Second,
		ContextTimeoutEnabled:    true,
		MaxRetries:               -1,
		DialerRetries:            1,
		PoolSize:                 4,
		PipelinePoolSize:         -1,
		FailingTimeoutSeconds:    1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// patient is for what must come to its end on a machine that is busy.
func patient(o *redis.UniversalOptions) *redis.UniversalOptions {
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = limit, limit, limit
	return o
}

func patiently(o *Options) { o.Timeout, o.flush = limit, limit }

// node is a process with a journal and a pool.
type node struct {
	*statetest.Member
	journal *Journal
	turns   *turns
}

// turns collects what a journal tells of its health.
type turns struct {
	mu  sync.Mutex
	all []Health
}

func (c *turns) changed(h Health) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, h)
}

func (c *turns) list() []Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Health(nil), c.all...)
}

// calm waits until all nodes are healthy at once, and forgets that they were not: a busy machine
// may have kept them waiting for Redis before anything was done to it.
func calm(t testing.TB, nodes []*node) {
	t.Helper()
	until(t, "the nodes to be healthy", func() bool {
		return !slices.ContainsFunc(nodes, func(n *node) bool { return !n.journal.Health().Healthy })
	})
	for _, n := range nodes {
		n.journal.telling.Lock() // what is being told is told
		n.turns.forget()
		n.journal.telling.Unlock()
	}
}

// told returns what the node's journal has told of its health, up to what that is now.
func (n *node) told() []Health {
	n.journal.telling.Lock()
	defer n.journal.telling.Unlock()
	return n.turns.list()
}

func (c *turns) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = nil
}

// open starts a journal, which the test closes if nobody else does.
func open(t testing.TB, client redis.UniversalClient, edit ...func(*Options)) (statetest.Node, *Journal, *turns) {
	t.Helper()
	turns := new(turns)
	o := Options{Client: client, Reasons: reasons, Changed: turns.changed, Now: time.Now}
	for _, e := range edit {
		e(&o)
	}
	o.State = rotator.NewState(o.Now())
	j := New(o)
	var once sync.Once
	end := func() { once.Do(func() { j.Close() }) }
	t.Cleanup(end)
	return statetest.Node{State: o.State, Journal: j, Now: o.Now, Close: end}, j, turns
}

// start starts a node that holds the keys.
func start(t testing.TB, o *redis.UniversalOptions, keys int, edit ...func(*Options)) *node {
	t.Helper()
	n, j, turns := open(t, redis.NewUniversalClient(o), edit...)
	return &node{Member: statetest.Join(t, n, statetest.Keys(t, keys)), journal: j, turns: turns}
}

// startAll starts n nodes and waits until each has read what there is.
func startAll(t testing.TB, n, keys int, o func() *redis.UniversalOptions, edit ...func(*Options)) []*node {
	t.Helper()
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = start(t, o(), keys, edit...)
	}
	for _, n := range nodes {
		until(t, "the first reading", func() bool { return n.journal.Health().Resyncs > 0 })
	}
	return nodes
}

// limit is when a test gives up: far more than any healthy run takes.
const limit = time.Minute

func until(t testing.TB, what string, holds func() bool) time.Duration {
	t.Helper()
	return statetest.Until(t, limit, what, holds)
}

func agree(nodes []*node) bool {
	members := make([]*statetest.Member, len(nodes))
	for i, n := range nodes {
		members[i] = n.Member
	}
	return statetest.Agree(members...)
}

// agreeOn waits until all nodes know that exactly the slots below n cool, and have
// nothing left to write.
func agreeOn(t testing.TB, nodes []*node, n int) time.Duration {
	t.Helper()
	t.Cleanup(func() {
		for i, n := range nodes {
			if t.Failed() {
				t.Logf("node %d knows %d keys: %+v", i, len(n.Known()), n.journal.Health())
			}
		}
	})
	took := until(t, "all nodes to agree", func() bool {
		for _, node := range nodes {
			if h := node.journal.Health(); h.Queue > 0 || !h.Healthy || len(node.Known()) != n {
				return false
			}
		}
		return agree(nodes)
	})
	t.Logf("all nodes agree on %d keys after %s", n, took.Round(time.Millisecond))
	return took
}

// unhealthy waits until all nodes have noticed.
func unhealthy(t testing.TB, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		until(t, "the node to notice", func() bool { return !n.journal.Health().Healthy })
	}
}

// checkTurns checks that health has turned so often, each time to the other side. A busy
// machine may keep a node waiting for longer than its patience: such turns, to and fro, do
// not count but for the first.
func checkTurns(t testing.TB, nodes []*node, want int) {
	t.Helper()
	for i, n := range nodes {
		got := n.told()
		for k := 2; k+1 < len(got); {
			if isLate(got[k].Err) && got[k+1].Healthy {
				got = slices.Delete(got, k, k+2)
			} else {
				k += 2
			}
		}
		if len(got) != want {
			t.Errorf("node %d: health has turned %d times, want %d: %v", i, len(got), want, got)
		}
		for k, h := range got {
			if h.Healthy != (k%2 == 1) {
				t.Errorf("node %d: turn %d says healthy: %t", i, k, h.Healthy)
			}
			if h.Healthy != (h.Err == nil) {
				t.Errorf("node %d: healthy: %t, error: %v", i, h.Healthy, h.Err)
			}
		}
	}
}

// isLate tells whether Redis did not answer in time. Whoever waits for a connection hears so from
// the context, and whoever reads or writes from the socket, which has the context's deadline.
func isLate(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// checkLeaks fails the test if, after its other cleanups, goroutines are left that it
// has started from now on. Other tests may run meanwhile.
func checkLeaks(t testing.TB) {
	t.Helper()
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels(leakLabel, t.Name())))
	t.Cleanup(func() {
		var left string
		gone := func() bool {
			left = startedBy(t)
			return left == ""
		}
		deadline := time.Now().Add(limit)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !gone() {
			if <-tick.C; time.Now().After(deadline) {
				t.Errorf("goroutines are left:\n%s", left)
				return
			}
		}
	})
}

// leakLabel names, in profiles, the test that has started a goroutine, or that has
// started one that did.
const leakLabel = "leaks"

// startedBy returns the stacks of the goroutines that the test has started.
func startedBy(t testing.TB) string {
	t.Helper()
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	label := fmt.Sprintf("%q:%q", leakLabel, t.Name())
	var left []string
	for s := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(s, label) && !strings.Contains(s, "testing.tRunner") { // which is the test itself
			left = append(left, s)
		}
	}
	return strings.Join(left, "\n\n")
}
