package redistest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// MasterName is what sentinels call their master.
const MasterName = "keycycler"

// How long sentinels and clusters wait before they take a server for dead: longer than a busy
// machine keeps one waiting, until Hurry says that one dies.
const (
	patience = 5 * time.Second
	hurry    = 500 * time.Millisecond
)

// Sentinels are a master with a replica, and sentinels that watch them.
type Sentinels struct {
	Servers   []*Server // the first is the master at the start
	Sentinels []*Server
}

// StartSentinels runs a master, a replica and three sentinels, and waits until
// they know each other.
func StartSentinels(t testing.TB, config ...string) *Sentinels {
	t.Helper()
	s := &Sentinels{}
	s.Servers = append(s.Servers, Start(t, config...))
	master := s.Servers[0]
	s.Servers = append(s.Servers, Start(t, append([]string{fmt.Sprint("replicaof 127.0.0.1 ", master.Port())}, config...)...))
	for range 3 {
		sentinel := &Server{t: t, dir: tempDir(t), port: freePort(t), args: []string{"--sentinel"}, config: []string{
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", MasterName, master.Port()),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", MasterName, patience.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s %d", MasterName, 10*hurry.Milliseconds()),
		}}
		sentinel.Restart()
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	for _, sentinel := range s.Sentinels {
		waitFor(t, "the sentinels to know each other", func() bool {
			info := sentinel.Info("sentinel")
			return strings.Contains(info, "slaves=1,sentinels=3")
		})
	}
	return s
}

// Addrs are the sentinels' addresses.
func (s *Sentinels) Addrs() []string {
	var addrs []string
	for _, sentinel := range s.Sentinels {
		addrs = append(addrs, sentinel.Addr())
	}
	return addrs
}

// Hurry makes the sentinels replace a master that dies from now on within seconds.
func (s *Sentinels) Hurry() {
	for _, sentinel := range s.Sentinels {
		sentinel.Do("SENTINEL", "SET", MasterName, "down-after-milliseconds", hurry.Milliseconds())
	}
}

// Master is whom the sentinels take for the master.
func (s *Sentinels) Master() *Server {
	addr, _ := s.Sentinels[0].Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName).([]any)
	for _, server := range s.Servers {
		if len(addr) == 2 && addr[1] == strconv.Itoa(server.port) {
			return server
		}
	}
	return nil
}

// Cluster is three masters and a replica of each.
type Cluster struct{ Servers []*Server }

const (
	masters = 3
	slots   = 16384
)

// StartCluster runs a cluster and waits until it answers for all slots.
func StartCluster(t testing.TB, config ...string) *Cluster {
	t.Helper()
	c := &Cluster{}
	config = append([]string{
		"cluster-enabled yes",
		fmt.Sprint("cluster-node-timeout ", (2 * hurry).Milliseconds()), // it also sets how soon they know each other
		"cluster-replica-validity-factor 0",
		"cluster-announce-ip 127.0.0.1",
	}, config...)
	for i := range 2 * masters {
		s := Start(t, config...)
		c.Servers = append(c.Servers, s)
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i < masters {
			s.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
		}
	}
	first := c.Servers[0]
	for _, s := range c.Servers[1:] {
		s.Do("CLUSTER", "MEET", "127.0.0.1", first.Port())
	}
	for i, s := range c.Servers {
		waitFor(t, "the cluster's nodes to know each other", func() bool {
			return strings.Contains(fmt.Sprint(s.Do("CLUSTER", "INFO")), fmt.Sprint("cluster_known_nodes:", 2*masters))
		})
		if i >= masters {
			s.Do("CLUSTER", "REPLICATE", c.Servers[i-masters].Do("CLUSTER", "MYID"))
		}
	}
	for i, s := range c.Servers {
		waitFor(t, "the cluster to be whole", func() bool {
			whole := strings.Contains(fmt.Sprint(s.Do("CLUSTER", "INFO")), "cluster_state:ok") && c.replicated(t, s)
			return whole && (i < masters || strings.Contains(s.Info("replication"), "master_link_status:up"))
		})
	}
	c.waits(patience)
	return c
}

// Hurry makes the cluster replace a master that dies from now on within seconds.
func (c *Cluster) Hurry() { c.waits(2 * hurry) }

// waits sets for how long servers wait before they take another one for dead.
func (c *Cluster) waits(d time.Duration) {
	for _, s := range c.Servers {
		s.Do("CONFIG", "SET", "cluster-node-timeout", d.Milliseconds())
	}
}

// replicated reports whether the server knows a replica for each master.
func (c *Cluster) replicated(t testing.TB, seen *Server) bool {
	t.Helper()
	ranges, err := seen.Client().ClusterSlots(context.Background()).Result() //nolint:staticcheck // Redis 6.2 has no other
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ranges {
		if len(r.Nodes) < 2 {
			return false
		}
	}
	return len(ranges) == masters
}

// Addrs are the addresses of all its servers.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Holder returns the master that has the slot of a key, and its replica, as one of
// the servers that run sees it; nil where there is none.
func (c *Cluster) Holder(t testing.TB, seen *Server, key string) (master, replica *Server) {
	t.Helper()
	slot, err := seen.Client().ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := seen.Client().ClusterSlots(context.Background()).Result() //nolint:staticcheck // Redis 6.2 has no other
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ranges {
		if int(slot) < r.Start || int(slot) > r.End || len(r.Nodes) == 0 {
			continue
		}
		if len(r.Nodes) > 1 {
			replica = c.at(r.Nodes[1].Addr)
		}
		return c.at(r.Nodes[0].Addr), replica
	}
	return nil, nil
}

func (c *Cluster) at(addr string) *Server {
	_, port, _ := net.SplitHostPort(addr)
	for _, s := range c.Servers {
		if strconv.Itoa(s.port) == port {
			return s
		}
	}
	return nil
}

// waitFor polls until the condition holds.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(startTime)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
