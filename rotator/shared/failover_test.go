package shared

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// failoverLimit is generous: what takes longest is that sentinels and clusters
// agree among themselves.
const failoverLimit = 40 * time.Second

// survive checks that what is known before a failover is known after it, and so is
// what is learned meanwhile. settled tells that another server has taken over.
func survive(t *testing.T, nodes []*node, failover func(), settled func() bool) {
	t.Helper()
	known := len(nodes[0].Known())
	stop := busy(t, nodes)
	begin := time.Now()
	failover()
	for i, n := range nodes {
		n.Cool(rotator.Slot(known+i), time.Hour)
	}
	nodes[0].Clear(0)
	nodes[1].CoolIn(begin.String(), 1, time.Hour)
	known += len(nodes)
	statetest.Until(t, failoverLimit, "another server to take over", settled)
	t.Logf("another server took over after %s", time.Since(begin).Round(time.Millisecond))
	stop()
	nodes[0].Cool(0, time.Hour)
	nodes[2].Cool(busySlot, 2*time.Hour)
	agreeOn(t, nodes, known+2)
	nodes[1].Clear(busySlot)
	agreeOn(t, nodes, known+1)
	t.Logf("all nodes agree %s after the failover began", time.Since(begin).Round(time.Millisecond))
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		sentence string
		failover func(*redistest.Sentinels)
	}{
		{"the master is killed", func(s *redistest.Sentinels) { s.Hurry(); s.Servers[0].Kill() }},
		{"SENTINEL FAILOVER", func(s *redistest.Sentinels) { s.Sentinels[0].Do("SENTINEL", "FAILOVER", redistest.MasterName) }},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			group := redistest.StartSentinels(t)
			o := func() *redis.UniversalOptions {
				o := clientOptions(group.Addrs()...)
				o.MasterName = redistest.MasterName
				return o
			}
			nodes := startAll(t, 3, faultKeys, o, impatient)
			coolSome(t, nodes)
			group.Servers[0].Do("WAIT", 1, 5000)
			survive(t, nodes, func() { row.failover(group) }, func() bool { return group.Master() == group.Servers[1] })
			late := start(t, o(), faultKeys)
			agreeOn(t, append(nodes, late), len(nodes[0].Known()))
		})
	}
}

func coolSome(t *testing.T, nodes []*node) {
	t.Helper()
	for s := range rotator.Slot(knownSlots) {
		nodes[0].Cool(s, time.Hour)
	}
	agreeOn(t, nodes, knownSlots)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	o := func() *redis.UniversalOptions { return clientOptions(cluster.Addrs()...) }
	nodes := startAll(t, 3, faultKeys, o, impatient)
	coolSome(t, nodes)
	const name = "{keycycler}:meta"
	master, replica := cluster.Holder(t, cluster.Servers[0], name)
	survive(t, nodes, func() { replica.Do("CLUSTER", "FAILOVER") }, func() bool {
		now, behind := cluster.Holder(t, replica, name)
		return now == replica && behind == master
	})
	until(t, "the old master to follow", func() bool { return replica.Do("WAIT", 1, 100) == int64(1) })
	survive(t, nodes, func() { cluster.Hurry(); replica.Kill() }, func() bool {
		now, _ := cluster.Holder(t, master, name)
		return now == master
	})
	agreeOn(t, append(nodes, start(t, o(), faultKeys)), len(nodes[0].Known()))
}
