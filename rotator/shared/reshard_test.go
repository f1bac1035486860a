package shared

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// While the slot is on its way from one master to another, for as long as that may take,
// nodes go on writing: before, between and after the keys have moved, also where all that
// was known is over.
func TestSlotMigrates(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	nodes := startAll(t, 2, 20, func() *redis.UniversalOptions { return clientOptions(cluster.Addrs()...) })
	const name = "{keycycler}:meta"
	from, _ := cluster.Holder(t, cluster.Servers[0], name)
	to := cluster.Servers[0]
	if to == from {
		to = cluster.Servers[1]
	}
	slot := from.Do("CLUSTER", "KEYSLOT", name)
	until(t, "a short cooldown to be written", func() bool {
		nodes[0].Cool(0, 300*time.Millisecond)
		return from.Client().HLen(context.Background(), "{keycycler}:state").Val() > 0
	})
	agreeOn(t, nodes, 0)

	before := failsOf(nodes)
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do("CLUSTER", "MYID"))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do("CLUSTER", "MYID"))
	next := rotator.Slot(2)
	cool := func() {
		t.Helper()
		nodes[next%2].Cool(next, time.Hour)
		next++
		agreeOn(t, nodes, int(next)-2)
	}
	cool()
	cool()
	checkFails(t, nodes, before)
	// The first file ever must wait. Nothing waits for it.
	nodes[0].Pool.Own(nodes[0].Now(), 0, rotator.ResourceOf([]byte("file-1")))
	nodes[0].Cool(next, time.Hour)
	next++
	until(t, "the other node to hear of the cooldown", func() bool { return len(nodes[1].Known()) == int(next)-2 })

	for _, key := range []string{"log", "state", "deadlines", "meta"} {
		from.Do("MIGRATE", "127.0.0.1", to.Port(), "{keycycler}:"+key, 0, 5000)
	}
	nodes[1].Cool(next, time.Hour)
	next++
	until(t, "a cooldown to be heard of where the keys are now", func() bool { return len(nodes[0].Known()) == int(next)-2 })
	for _, s := range append([]*redistest.Server{to, from}, cluster.Servers[:3]...) {
		s.Do("CLUSTER", "SETSLOT", slot, "NODE", to.Do("CLUSTER", "MYID"))
	}
	cool()
	agreeOn(t, append(nodes, start(t, clientOptions(cluster.Addrs()...), 20)), int(next)-2)
	until(t, "the file to be heard of", func() bool {
		_, known := nodes[1].Pool.Owner(nodes[1].Now(), rotator.ResourceOf([]byte("file-1")))
		return known
	})
}

// Owners may come before any cooldown: what else must be there then is made with them.
func TestSlotMigratesBeforeAnyCooldown(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	nodes := startAll(t, 2, 5, func() *redis.UniversalOptions { return clientOptions(cluster.Addrs()...) })
	file := func(n *node, name string) {
		t.Helper()
		n.Pool.Own(n.Now(), 0, rotator.ResourceOf([]byte(name)))
		until(t, "the file to be heard of by all", func() bool {
			return nodes[0].State.Resources() == nodes[1].State.Resources() && nodes[0].journal.Health().Queue == 0
		})
	}
	file(nodes[0], "file-1")
	from, _ := cluster.Holder(t, cluster.Servers[0], "{keycycler}:meta")
	to := cluster.Servers[0]
	if to == from {
		to = cluster.Servers[1]
	}
	slot := from.Do("CLUSTER", "KEYSLOT", "{keycycler}:meta")
	before := failsOf(nodes)
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do("CLUSTER", "MYID"))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do("CLUSTER", "MYID"))
	file(nodes[0], "file-2")
	nodes[0].Cool(1, time.Hour)
	agreeOn(t, nodes, 1)
	checkFails(t, nodes, before)
}

// failsOf returns how often each node has failed by now: a cluster that has just formed may
// have refused one.
func failsOf(nodes []*node) (all []uint64) {
	for _, n := range nodes {
		all = append(all, n.journal.Health().Fails)
	}
	return all
}

// checkFails checks that no node has failed since.
func checkFails(t *testing.T, nodes []*node, before []uint64) {
	t.Helper()
	for i, n := range nodes {
		if h := n.journal.Health(); h.Fails > before[i] {
			t.Errorf("node %d has failed %d times: %v", i, h.Fails-before[i], h.Err)
		}
	}
}
