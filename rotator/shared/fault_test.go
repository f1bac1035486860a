package shared

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// stallVariable names how long Redis stalls in the test of that, for a run with a
// minute.
const stallVariable = "KEYCYCLER_STALL"

// fault is a way for Redis to be away, and back.
type fault struct {
	sentence string
	config   []string // of the server
	user     string   // whom the nodes connect as, with the password "secret"
	before   func(s *redistest.Server)
	proxy    bool
	hurt     func(s *redistest.Server, p *redistest.Proxy)
	heal     func(s *redistest.Server, p *redistest.Proxy)
	after    func(t *testing.T, p *redistest.Proxy)
}

const closedPort = 1

var faults = []fault{
	{
		sentence: "killed, and back without data",
		hurt:     func(s *redistest.Server, _ *redistest.Proxy) { s.Kill() },
		heal:     func(s *redistest.Server, _ *redistest.Proxy) { s.Restart() },
	},
	{
		sentence: "killed, and back with old data",
		before:   func(s *redistest.Server) { s.Save() },
		hurt:     func(s *redistest.Server, _ *redistest.Proxy) { s.Kill() },
		heal:     func(s *redistest.Server, _ *redistest.Proxy) { s.Restart() },
	},
	{
		sentence: "stalled",
		hurt:     func(s *redistest.Server, _ *redistest.Proxy) { s.Stall() },
		heal:     func(s *redistest.Server, _ *redistest.Proxy) { s.Resume() },
	},
	{
		sentence: "a replica of nobody who is there",
		hurt:     func(s *redistest.Server, _ *redistest.Proxy) { s.Do("REPLICAOF", "127.0.0.1", closedPort) },
		heal:     func(s *redistest.Server, _ *redistest.Proxy) { s.Do("REPLICAOF", "NO", "ONE") },
	},
	{
		sentence: "a master without the replicas it wants",
		hurt:     func(s *redistest.Server, _ *redistest.Proxy) { s.Do("CONFIG", "SET", "min-replicas-to-write", 1) },
		heal:     func(s *redistest.Server, _ *redistest.Proxy) { s.Do("CONFIG", "SET", "min-replicas-to-write", 0) },
	},
	{
		sentence: "full",
		hurt:     func(s *redistest.Server, _ *redistest.Proxy) { fill(s) },
		heal:     func(s *redistest.Server, _ *redistest.Proxy) { s.Do("CONFIG", "SET", "maxmemory", 0) },
	},
	{
		sentence: "with another password",
		user:     "gateway",
		hurt: func(s *redistest.Server, _ *redistest.Proxy) {
			s.Do("ACL", "SETUSER", "gateway", "resetpass", ">another")
			s.Do("CLIENT", "KILL", "USER", "gateway")
		},
		heal: func(s *redistest.Server, _ *redistest.Proxy) {
			s.Do("ACL", "SETUSER", "gateway", "resetpass", ">secret")
		},
	},
	{
		sentence: "refusing what the user may do",
		user:     "gateway",
		hurt:     func(s *redistest.Server, _ *redistest.Proxy) { s.Do("ACL", "SETUSER", "gateway", "-@all") },
		heal:     func(s *redistest.Server, _ *redistest.Proxy) { s.Do("ACL", "SETUSER", "gateway", "+@all") },
	},
	{
		sentence: "five seconds away",
		proxy:    true,
		hurt:     func(_ *redistest.Server, p *redistest.Proxy) { p.Delay(5 * time.Second) },
		heal:     func(_ *redistest.Server, p *redistest.Proxy) { p.Delay(0) },
		after: func(t *testing.T, p *redistest.Proxy) {
			until(t, "what is late to arrive", func() bool { return p.Pending() == 0 })
		},
	},
	{
		sentence: "behind a black hole",
		proxy:    true,
		hurt:     func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(true) },
		heal:     func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(false); p.Cut() },
	},
}

// fill leaves no memory for commands that may need some.
func fill(s *redistest.Server) {
	s.Do("SET", "ballast", strings.Repeat("x", 1<<20))
	s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1mb")
}

// TestFaults: whatever Redis does, picking and cooling go on, nothing that is
// learned meanwhile is lost, and when it is back all nodes agree within seconds.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.sentence, func(t *testing.T) {
			t.Parallel()
			f.run(t)
		})
	}
}

// The slots' parts in what follows: a few that everybody knows beforehand, some
// that are learned while Redis is away, one that cools without end.
const (
	faultKeys  = 50
	knownSlots = 5
	busySlot   = faultKeys - 1
)

func (f fault) run(t *testing.T) {
	server := redistest.Start(t, f.config...)
	o, proxy := f.options(t, server)
	nodes := startAll(t, 3, faultKeys, o, impatient)
	for s := range rotator.Slot(knownSlots) {
		nodes[0].Cool(s, time.Hour)
	}
	agreeOn(t, nodes, knownSlots)
	if f.before != nil {
		f.before(server)
	}
	nodes[1].Cool(knownSlots, time.Hour) // not in the old data
	nodes[1].CoolIn("gpt-x", 1, time.Hour)
	nodes[1].CoolIn("gpt-x", 30, time.Hour)
	agreeOn(t, nodes, knownSlots+3)

	stop := busy(t, nodes)
	calm(t, nodes)
	f.hurt(server, proxy)
	for i, n := range nodes {
		n.Cool(rotator.Slot(10+i), time.Hour)
	}
	unhealthy(t, nodes)
	linger(t)
	nodes[0].Cool(20, time.Hour)
	nodes[1].Clear(0) // everybody knows it
	nodes[2].Clear(1) // in the scope, too
	nodes[2].Cool(1, time.Minute)
	nodes[1].Serve("gpt-x", 30, nodes[1].Now())
	nodes[0].CoolIn("gpt-y", 3, time.Hour)
	for i, n := range nodes {
		if h := n.journal.Health(); h.Queue > faultKeys {
			t.Errorf("node %d has %d changes queued for %d keys", i, h.Queue, faultKeys)
		}
		// They are not queued while the node tries to write them.
		until(t, "changes to be queued", func() bool { return n.journal.Health().Queue > 0 })
	}
	stop()
	f.heal(server, proxy)

	nodes = append(nodes, start(t, o(), faultKeys, impatient)) // one that joins now
	const known = knownSlots + 1 - 1 + 3 + 1 + 1 + 1
	took := agreeOn(t, nodes, known)
	if left := nodes[3].Left(1); left > time.Minute+time.Second {
		t.Errorf("a key that was cleared and cooled for a minute cools for %s", left)
	}
	t.Logf("Redis %s: agreed %s after it was back", f.sentence, took.Round(time.Millisecond))
	if f.after != nil {
		f.after(t, proxy)
		agreeOn(t, append(nodes, start(t, o(), faultKeys, impatient)), known)
	}
	checkTurns(t, nodes[:3], 2)
}

// impatient makes a node notice within less than a second that Redis is away.
func impatient(o *Options) { o.Timeout = 300 * time.Millisecond }

func (f fault) options(t *testing.T, s *redistest.Server) (func() *redis.UniversalOptions, *redistest.Proxy) {
	addr := s.Addr()
	var proxy *redistest.Proxy
	if f.proxy {
		proxy = redistest.StartProxy(t, addr)
		addr = proxy.Addr()
	}
	if f.user != "" {
		s.Do("ACL", "SETUSER", f.user, "on", ">secret", "~*", "&*", "+@all")
	}
	return func() *redis.UniversalOptions {
		o := clientOptions(addr)
		if f.user != "" {
			o.Username, o.Password = f.user, "secret"
		}
		return o
	}, proxy
}

// linger lets the fault last, for as long as the environment says.
func linger(t *testing.T) {
	text := os.Getenv(stallVariable)
	if text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", stallVariable, err)
	}
	<-time.After(d)
}

// busy picks and cools on all nodes until the function it returns is called, which
// checks that no call has hung.
func busy(t *testing.T, nodes []*node) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{}, len(nodes))
	for _, n := range nodes {
		go func() {
			defer func() { ended <- struct{}{} }()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				n.Pool.Pick(n.Now(), nil)
				n.Cool(busySlot, time.Hour)
				n.Ready()
				select {
				case <-end:
					return
				case <-tick.C:
				}
			}
		}()
	}
	return func() {
		close(end)
		for range nodes {
			select {
			case <-ended:
			case <-time.After(limit):
				t.Fatal("picking or cooling hangs")
			}
		}
	}
}
