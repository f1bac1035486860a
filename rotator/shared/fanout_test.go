package shared

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// attach gives the node one more journal, as a reload with another password does, and a
// pool of the keys that has it.
func attach(t *testing.T, n *node, addr string, keys int) *node {
	t.Helper()
	j := New(Options{Client: redis.NewUniversalClient(clientOptions(addr)), State: n.State, Reasons: reasons})
	t.Cleanup(func() { j.Close() })
	until(t, "the first reading", func() bool { return j.Health().Resyncs > 0 })
	more := statetest.Node{State: n.State, Journal: j, Now: n.Now}
	return &node{Member: statetest.Join(t, more, statetest.Keys(t, keys)), journal: j}
}

// A reload gives the keys another journal and closes the old one. A request that began
// before it meets its limit after it, makes a file, and an operator's word comes late.
func TestJournalIsReplaced(t *testing.T) {
	server := miniredis.RunT(t)
	nodes := startAll(t, 2, 5, func() *redis.UniversalOptions { return clientOptions(server.Addr()) })
	old, file := nodes[0].Member, rotator.ResourceOf([]byte("file-1"))
	nodes[0] = attach(t, nodes[0], server.Addr(), 5)
	old.Leave()
	old.Cool(0, time.Hour)
	old.Disable(1)
	old.Pool.Own(old.Now(), 2, file)
	agreeOn(t, nodes, 1)
	until(t, "the other node to hear of the switch", func() bool { return nodes[1].Disabled(1) })
	until(t, "the other node to hear of the file", func() bool {
		_, known := nodes[1].Pool.Owner(nodes[1].Now(), file)
		return known
	})
}

// Two nodes share through two Redis each, and others through one of them: all hear
// everything, and then nobody writes any more.
func TestTwoJournals(t *testing.T) {
	const keys = 5
	a, b := miniredis.RunT(t), miniredis.RunT(t)
	onA := startAll(t, 3, keys, func() *redis.UniversalOptions { return clientOptions(a.Addr()) })
	onB := startAll(t, 1, keys, func() *redis.UniversalOptions { return clientOptions(b.Addr()) })
	onB = append(onB, attach(t, onA[0], b.Addr(), keys), attach(t, onA[1], b.Addr(), keys))
	all := append(onA, onB...)
	onA[2].Cool(0, time.Hour)
	onB[0].CoolIn("gpt-x", 1, time.Hour)
	onA[0].Cool(2, time.Hour)
	onB[0].Disable(3)
	file := rotator.ResourceOf([]byte("file-1"))
	onB[0].Pool.Own(onB[0].Now(), 4, file)
	agreeOn(t, all, 3)
	until(t, "a node of the other Redis to hear of the switch", func() bool { return onA[2].Disabled(3) })
	until(t, "it to hear of the file", func() bool {
		_, known := onA[2].Pool.Owner(onA[2].Now(), file)
		return known
	})
	onA[2].Clear(0)
	onA[2].Enable(3)
	agreeOn(t, all, 2)
	until(t, "the switch to come back", func() bool { return !onB[0].Disabled(3) })

	entries := func() (n int) {
		for _, s := range []*miniredis.Miniredis{a, b} {
			log, err := s.Stream("{keycycler}:log")
			if err != nil {
				t.Fatal(err)
			}
			n += len(log)
		}
		return n
	}
	agreeOn(t, all, 2)
	before := entries()
	onA[2].Cool(4, time.Hour) // a mark: what came before it has been passed on
	agreeOn(t, all, 3)
	if after := entries(); after != before+2 {
		t.Errorf("%d entries more for one cooldown in two streams", after-before)
	}
}
