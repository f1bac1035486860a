package shared

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/shared/lua"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// tally is a node's meter of a limit, or of what all have used.
type tally struct {
	most    int64
	per     time.Duration
	now     func() int64
	all     *tally // nil: this is that of all
	mu      sync.Mutex
	ceiling int64
	wanted  int64
	uses    []int64
	peak    int
}

func (m *tally) Most() int64        { return m.most }
func (m *tally) Per() time.Duration { return m.per }

func (m *tally) SetCeiling(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ceiling = n
}

func (m *tally) Wanted(int64) (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, m.wanted = m.wanted, 0
	return n
}

func (m *tally) Used(at int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used(at)
}

func (m *tally) used(at int64) int64 {
	gone, _ := slices.BinarySearch(m.uses, at-int64(m.per)+1)
	m.uses = m.uses[gone:]
	return int64(len(m.uses))
}

// take uses one, if there is one.
func (m *tally) take() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.now()
	if m.used(at) >= min(m.ceiling, m.most) {
		m.wanted++
		return false
	}
	m.add(at)
	if m.all != nil {
		m.all.note(at)
	}
	return true
}

// add counts one. m.mu is held.
func (m *tally) add(at int64) {
	i, _ := slices.BinarySearch(m.uses, at)
	m.uses = slices.Insert(m.uses, i, at)
	m.peak = max(m.peak, len(m.uses))
}

// note counts what a node has used.
func (m *tally) note(at int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used(at)
	m.add(at)
}

// high is the most that was in a window since the last call.
func (m *tally) high() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, m.peak = m.peak, 0
	return n
}

// count is how much is in the window that ends now.
func (m *tally) count() int64 { return m.Used(m.now()) }

func (m *tally) allowed() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ceiling
}

// sharer is a node that shares a limit.
type sharer struct {
	*node
	meter *tally
}

// shareAll starts n nodes that share a limit.
func shareAll(t testing.TB, n int, most int64, per time.Duration, o func() *redis.UniversalOptions, edit ...func(*Options)) (nodes []*sharer, all *tally) {
	t.Helper()
	all = &tally{most: 1 << 40, ceiling: 1 << 40, per: per, now: func() int64 { return time.Now().UnixNano() }}
	for _, member := range startAll(t, n, 1, o, edit...) {
		state := member.State
		m := &tally{most: most, per: per, all: all, now: func() int64 { return state.Unix(time.Now()) }}
		member.journal.Share("client ada", m)
		nodes = append(nodes, &sharer{member, m})
	}
	together(t, nodes, n)
	return nodes, all
}

// together waits until all know how many they are.
func together(t testing.TB, nodes []*sharer, n int) {
	t.Helper()
	until(t, "the nodes to know of each other", func() bool {
		return !slices.ContainsFunc(nodes, func(s *sharer) bool {
			return s.meter.allowed() != max(s.meter.most/(25*int64(n)), 1)
		})
	})
}

// want makes a node use so many in a window, as it gets them.
func (s *sharer) want(t testing.TB, n int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d of the limit", n), func() bool {
		for s.meter.count() < n && s.meter.take() {
		}
		return s.meter.count() >= n
	})
}

// grab makes a node use all that it gets, until that is so many in a window.
func (s *sharer) grab(t testing.TB, n int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d of the limit", n), func() bool {
		for s.meter.take() {
		}
		return s.meter.count() >= n
	})
}

// The script and statetest.Ledger say the same, whatever is asked, lost and set.
func TestLeaseScriptAgainstTheLedger(t *testing.T) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		server := miniredis.RunT(t)
		now := time.UnixMilli(1_800_000_000_000)
		compareLeases(t, redis.NewClient(&redis.Options{Addr: server.Addr()}), 800, func(r *rand.Rand) {
			switch steps := []time.Duration{-time.Hour, time.Hour, 11 * time.Second, 25 * time.Second, 100 * time.Second}; {
			case r.IntN(60) == 0:
				now = now.Add(steps[r.IntN(len(steps))])
			default:
				now = now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
			}
			server.SetTime(now)
		})
	})
	t.Run("redis", func(t *testing.T) {
		compareLeases(t, redistest.Start(t).Client(), 3000, func(*rand.Rand) {})
	})
}

// compareLeases asks both the same.
func compareLeases(t *testing.T, client *redis.Client, calls int, pass func(*rand.Rand)) {
	ctx, names, r := t.Context(), namesFor("test"), rand.New(rand.NewPCG(7, 7))
	var ledger statetest.Ledger
	epochs, held := make(map[string]string), make(map[string]int64)
	limits := []lease.Ask{{Name: "a", Most: 10, Per: time.Minute}, {Name: "b", Most: 1000, Per: 5 * time.Second}, {Name: "c", Most: 1 << 40, Per: time.Hour}}
	for i := range calls {
		pass(r)
		if r.IntN(300) == 0 {
			client.FlushDB(ctx)
			ledger.Flush()
		}
		node := string(rune('a' + r.IntN(5)))
		c := lease.Call{Number: int64(i + 11), Epoch: epochs[node], Beat: r.IntN(8) == 0, Leaves: r.IntN(50) == 0}
		if r.IntN(20) == 0 {
			c.Number -= int64(r.IntN(10)) // it comes late
		}
		for _, a := range limits[:r.IntN(len(limits)+1)] {
			a.Held = held[node+a.Name]
			a.Want = a.Held + r.Int64N(a.Most+1-min(a.Held, a.Most))
			if r.IntN(4) == 0 {
				a.Held = r.Int64N(a.Held + 1)
				a.Want = a.Held
			}
			a.Exact = r.IntN(3) == 0
			if c.Leaves && r.IntN(2) == 0 {
				for left := a.Held; left > 0; {
					n := 1 + r.Int64N(left)
					a.Tail, left = append(a.Tail, lease.Piece{N: n, Left: time.Duration(r.Int64N(int64(a.Per)))}), left-n
				}
			}
			c.Asks = append(c.Asks, a)
		}
		words, err := lua.Divide.Run(ctx, client, []string{names.leases, names.lapses}, leaseArguments(node, c)...).StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseLeases(words, len(c.Asks))
		meta := strings.Fields(client.HGet(ctx, names.leases, "meta").Val())
		now, wrong := strconv.ParseInt(meta[2], 10, 64)
		if err != nil || wrong != nil {
			t.Fatal(err, wrong, meta)
		}
		want := ledger.Answer(now, node, got.Epoch, c)
		if got.Epoch != want.Epoch || got.Nodes != want.Nodes || got.Frozen != want.Frozen || !slices.Equal(got.Grants, want.Grants) {
			t.Fatalf("call %d, %+v of %s at %d: got %+v, want %+v\n%v", i, c, node, now, got, want, client.HGetAll(ctx, names.leases).Val())
		}
		epochs[node] = got.Epoch
		for k, g := range got.Grants {
			held[node+c.Asks[k].Name] = max(g.Ceiling, 0)
		}
	}
	if n := client.HLen(ctx, names.leases).Val(); int(n) != 2+ledger.Size() {
		t.Errorf("%d fields, want %d limits, meta and nodes", n, ledger.Size())
	}
}

// long skips what takes half a minute, unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("KEYCYCLER_LONG") != "1" {
		t.Skip("it takes long: KEYCYCLER_LONG=1 runs it")
	}
}

// Five nodes with uneven load use what one node would use of the limit, and no more.
func TestFiveNodesShareALimit(t *testing.T) {
	long(t)
	t.Parallel()
	const most, per = 400, 10 * time.Second
	nodes, all := shareAll(t, 5, most, per, to(redistest.Start(t)))
	demand := []int{2 * most, most / 4, most / 10, most / 100, 0} // in a window
	var running sync.WaitGroup
	end := time.Now().Add(3 * per)
	for i, s := range nodes {
		running.Go(func() { s.drive(demand[i], end) })
	}
	running.Wait()
	peak, last := all.high(), all.Used(end.UnixNano())
	t.Logf("at most %d of %d in a window, %d in the last one", peak, most, last)
	if peak > most || last < most*95/100 {
		t.Errorf("at most %d of %d in a window, %d in the last one", peak, most, last)
	}
}

// drive makes requests come evenly, so many in a window, until then.
func (s *sharer) drive(demand int, end time.Time) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begin, came := time.Now(), 0
	for now := range tick.C {
		if now.After(end) {
			return
		}
		for want := int(time.Since(begin) * time.Duration(demand) / s.meter.per); came < want; came++ {
			s.meter.take()
		}
	}
}

// Idle nodes have nothing in Redis, and one that uses the limit gets what others have given
// back.
func TestLeasesComeBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, all := shareAll(t, 2, 100, 2*time.Second, to(server))
	nodes[0].want(t, 90)
	until(t, "what was used to be over, and given back", func() bool {
		return server.Client().HLen(t.Context(), "{keycycler}:leases").Val() == 2 // meta and nodes
	})
	nodes[1].grab(t, 90)
	checkPeak(t, all, 100)
}

// A request has nothing to do with Redis: what it costs is in the background, and where
// nobody uses a limit hardly that.
func TestCommandsOfLeases(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, _ := shareAll(t, 2, 1<<30, time.Hour, to(server))
	nodes[0].meter.take()
	leased(t, server)
	commands(server)
	begin := time.Now()
	for range 100_000 {
		if !nodes[0].meter.take() {
			t.Fatal("it is refused")
		}
	}
	until(t, "a second", func() bool { return time.Since(begin) > time.Second })
	took := time.Since(begin)
	calls := commands(server)
	t.Logf("100,000 requests in %s: %v", took.Round(time.Millisecond), calls)
	if n := calls["evalsha"] + calls["eval"]; n > looks(begin, 2)+2 {
		t.Errorf("%d scripts", n)
	}
}

// leased waits until a node has a part of the limit.
func leased(t *testing.T, server *redistest.Server) {
	t.Helper()
	until(t, "the lease", func() bool {
		return server.Client().HExists(t.Context(), "{keycycler}:leases", lease.Hash("client ada")).Val()
	})
}

// Redis sees hashes of names. All stands in one slot, and expires.
func TestWhatRedisSeesOfLeases(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	seen := monitor(t, server)
	nodes, _ := shareAll(t, 2, 100, time.Minute, to(server))
	nodes[0].want(t, 10)
	ctx, client := t.Context(), server.Client()
	leased(t, server)
	for _, name := range []string{"{keycycler}:leases", "{keycycler}:lapses"} {
		if left := client.PTTL(ctx, name).Val(); left < time.Hour || left > 2*time.Hour {
			t.Errorf("%s expires in %s", name, left)
		}
	}
	if names := client.Keys(ctx, "*").Val(); len(names) != 2 {
		t.Errorf("Redis holds %q", names)
	}
	if text := seen(); strings.Contains(text, "ada") || !strings.Contains(text, lease.Hash("client ada")) {
		t.Error("Redis has seen the name, or nothing")
	}
}

// A node that ends leaves what it has used, and takes nothing else along.
func TestLeasesOfANodeThatEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, all := shareAll(t, 2, 1000, time.Hour, to(server))
	nodes[0].want(t, 300)
	nodes[0].Leave()
	value := server.Client().HGet(t.Context(), "{keycycler}:leases", lease.Hash("client ada")).Val()
	if fields := strings.Fields(value); len(fields) != 5 || fields[1] != "300" {
		t.Errorf("%q is left, want 300", value)
	}
	nodes[1].grab(t, 700)
	checkPeak(t, all, 1000)
}

// debtor is a limit that is lent.
type debtor struct {
	tally
	rested atomic.Bool
}

func (d *debtor) SetRoom(int64) {}
func (d *debtor) Rest()         { d.rested.Store(true) }

func (d *debtor) Tail(at int64) (tail []lease.Piece) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, used := range d.uses {
		tail = append(tail, lease.Piece{N: 1, Left: time.Duration(used + int64(d.per) - at)})
	}
	return tail
}

// lend lends the limit to the node.
func lend(s *node, most int64, per time.Duration) *debtor {
	state := s.State
	d := &debtor{tally: tally{most: most, per: per, now: func() int64 { return state.Unix(time.Now()) }}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ceiling = s.journal.Lend("budget of ada", d, most)
	return d
}

// What was lent is used by all nodes together; what those have used that have ended stands,
// also when all have.
func TestLentLimitsOutliveTheirNodes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const most, per = 1000, time.Hour
	total := int64(0)
	for round := range 3 {
		nodes := startAll(t, 2, 1, to(server))
		for i, n := range nodes {
			d, want := lend(n, most, per), int64(200)
			if round == 2 {
				want = 100
			}
			use := func() bool {
				for d.count() < want && d.take() {
				}
				return d.count() >= want || round == 2 && d.count() >= 75 // a resting node keeps a spare
			}
			until(t, fmt.Sprintf("node %d uses what it wants in round %d", i, round), use)
			total += d.count()
		}
		for _, n := range nodes {
			n.Leave()
		}
	}
	if total < most*95/100 || total > most {
		t.Errorf("%d of %d were used", total, most)
	}
}

// checkPeak fails the test if more was used in a window.
func checkPeak(t *testing.T, all *tally, most int) {
	t.Helper()
	if peak := all.high(); peak > most {
		t.Errorf("%d of %d in a window", peak, most)
	}
}

// lostLeases are what may become of what Redis holds.
var lostLeases = []struct {
	name  string
	parts bool // what nodes have is lost, unnoticed
	crowd bool // for a term there seem to be so many nodes that the limit is small: parts may be a unit a node more
	do    [][]any
}{
	{"all is flushed", false, false, [][]any{{"FLUSHALL"}}},
	{"the hash is lost", false, false, [][]any{{"DEL", "{keycycler}:leases"}}},
	{"the times are lost", false, false, [][]any{{"DEL", "{keycycler}:lapses"}}},
	{"a string for the hash", false, false, [][]any{{"DEL", "{keycycler}:leases"}, {"SET", "{keycycler}:leases", "junk"}}},
	{"a list for the times", false, false, [][]any{{"DEL", "{keycycler}:lapses"}, {"RPUSH", "{keycycler}:lapses", "junk"}}},
	{"junk for the meta data", false, false, [][]any{{"HSET", "{keycycler}:leases", "meta", "junk"}}},
	{"huge numbers in the meta data", false, false, [][]any{{"HSET", "{keycycler}:leases", "meta", "e" + strings.Repeat(" "+strings.Repeat("9", 40), 4)}}},
	{"far times in the meta data", false, false, [][]any{{"HSET", "{keycycler}:leases", "meta", "e 9000000000000 9000000000000 999999 9000000000000"}}},
	{"junk for the nodes", false, true, [][]any{{"HSET", "{keycycler}:leases", "nodes", strings.Repeat("x 99999999999999999999;", 1000)}}},
	{"junk for the limit", true, false, [][]any{{"HSET", "{keycycler}:leases", lease.Hash("client ada"), "x y z; 1 2 3"}}},
	{"huge numbers for the limit", false, false, [][]any{{"HSET", "{keycycler}:leases", lease.Hash("client ada"), "x" + strings.Repeat(" "+strings.Repeat("9", 400), 4) + ";"}}},
	{"megabytes for the limit", true, false, [][]any{{"HSET", "{keycycler}:leases", lease.Hash("client ada"), strings.Repeat("x 1 1 9000000000000 1;", 100_000)}}},
	{"scripts are forgotten", false, false, [][]any{{"SCRIPT", "FLUSH"}}},
}

// Whatever is lost or written by others: nobody dies of it, nodes keep what they have, and
// go on sharing a term later. No more than the limit is used, but for a window where what
// the nodes have was written over.
func TestLostLeases(t *testing.T) {
	long(t)
	for _, row := range lostLeases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			const per = 2 * time.Second
			server := redistest.Start(t)
			nodes, all := shareAll(t, 2, 1000, per, to(server))
			nodes[0].want(t, 500)
			nodes[1].want(t, 300)
			for _, command := range row.do {
				server.Do(command...)
			}
			begin := time.Now()
			use := func(holds func() bool) func() bool {
				return func() bool {
					for nodes[0].meter.take() || nodes[1].meter.take() {
					}
					return holds()
				}
			}
			if row.parts {
				until(t, "a term and a window", use(func() bool { return time.Since(begin) > lease.Term/2+2*per }))
				all.high()
			}
			until(t, "the rest of the limit", use(func() bool { return all.count() > 900 }))
			until(t, "another window", use(func() bool { return time.Since(begin) > lease.Term/2+3*per }))
			most := 1000
			if row.crowd {
				most += len(nodes)
			}
			checkPeak(t, all, most)
			for i, n := range nodes {
				if h := n.journal.Health(); !h.Healthy {
					t.Errorf("node %d: %+v", i, h)
				}
			}
		})
	}
}

// While Redis is away a node goes on with what it has, and is told when it is back.
func TestLeasesWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	far := func() *redis.UniversalOptions { return clientOptions(proxy.Addr()) }
	nodes, all := shareAll(t, 2, 1000, time.Minute, far, impatient)
	nodes[0].want(t, 200)
	proxy.Blackhole(true)
	unhealthy(t, []*node{nodes[0].node, nodes[1].node})
	left := nodes[0].meter.allowed() - nodes[0].meter.Used(nodes[0].meter.now())
	for range left {
		if !nodes[0].meter.take() {
			t.Fatal("its own is refused")
		}
	}
	if nodes[0].meter.take() {
		t.Error("more than its own is used")
	}
	proxy.Blackhole(false)
	proxy.Cut()
	nodes[0].grab(t, 500)
	until(t, "the nodes to be well", func() bool { return nodes[0].journal.Health().Healthy && nodes[1].journal.Health().Healthy })
	checkPeak(t, all, 1000)
}

// In a cluster, with no right that the journal does not need anyhow.
func TestLeasesInACluster(t *testing.T) {
	long(t)
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for _, s := range cluster.Servers {
		allow(s, redistest.Commands, redistest.ClientName, redistest.Keys, aclCluster)
	}
	nodes, all := shareAll(t, 2, 1000, time.Minute, func() *redis.UniversalOptions { return asGateway(clientOptions(cluster.Addrs()...)) })
	nodes[0].want(t, 600)
	nodes[1].grab(t, 350)
	checkPeak(t, all, 1000)
	for _, s := range cluster.Servers {
		if names := s.Denied(); len(names) > 0 {
			t.Errorf("Redis has refused %v", names)
		}
	}
}

// Another master takes over, behind sentinels.
func TestLeasesAfterAFailover(t *testing.T) {
	long(t)
	t.Parallel()
	group := redistest.StartSentinels(t)
	nodes, all := shareAll(t, 2, 1000, time.Minute, func() *redis.UniversalOptions {
		o := clientOptions(group.Addrs()...)
		o.MasterName = redistest.MasterName
		return o
	}, impatient)
	nodes[0].want(t, 400)
	group.Hurry()
	group.Servers[0].Kill()
	nodes[1].grab(t, 500)
	checkPeak(t, all, 1000)
}

// Redis' clock is set: nobody has less of the limit by it, or more.
func TestLeasesWhenRedisClockIsSet(t *testing.T) {
	long(t)
	for _, off := range []time.Duration{-2 * time.Hour, -5 * time.Second, 5 * time.Second, 2 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.StartClocked(t)
			nodes, all := shareAll(t, 2, 1000, time.Minute, to(server))
			nodes[0].want(t, 600)
			server.SetClock(off)
			nodes[1].grab(t, 350)
			checkPeak(t, all, 1000)
		})
	}
}

// A reply that is none is an error.
func TestBadLeaseReplies(t *testing.T) {
	for _, words := range [][]string{nil, {"e", "1"}, {"e", "x", ""}, {"e", "1", "", "2", "3"}, {"e", "1", "", "2", "3", "x"}} {
		if r, err := parseLeases(words, 1); err == nil {
			t.Errorf("%q is read as %+v", words, r)
		}
	}
	r, err := parseLeases([]string{"e", "3", "frozen", "7", "9", "11"}, 1)
	if err != nil || r.Epoch != "e" || r.Nodes != 3 || !r.Frozen || !slices.Equal(r.Grants, []lease.Grant{{Ceiling: 7, Level: 9, Room: 11}}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// What the script costs Redis.
func BenchmarkLeaseScript(b *testing.B) {
	for _, asks := range []int{1, 100} {
		for _, nodes := range []int{5, 100} {
			b.Run(fmt.Sprintf("%d asks, %d nodes", asks, nodes), func(b *testing.B) {
				server := redistest.Start(b)
				client, names := server.Client(), namesFor("test")
				call := lease.Call{Beat: true}
				for i := range asks {
					call.Asks = append(call.Asks, lease.Ask{Name: lease.Hash(strconv.Itoa(i)), Most: 1000, Per: time.Minute, Want: 1000 / int64(nodes), Held: 1})
				}
				ask := func(i int) {
					call.Number, call.Beat = int64(i), i < nodes
					if err := lua.Divide.Run(context.Background(), client, []string{names.leases, names.lapses}, leaseArguments(fmt.Sprint("n", i%nodes), call)...).Err(); err != nil {
						b.Fatal(err)
					}
				}
				for i := range nodes {
					ask(i)
				}
				before := (&scale{server: server}).redisCPU()
				for i := 0; b.Loop(); i++ {
					ask(nodes + i)
				}
				worked := (&scale{server: server}).redisCPU() - before
				b.ReportMetric(1e6*worked/float64(b.N*asks), "µs-of-redis/ask")
			})
		}
	}
}
