package shared

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

func to(s *redistest.Server) func() *redis.UniversalOptions {
	return func() *redis.UniversalOptions { return clientOptions(s.Addr()) }
}

// cutOff starts two nodes that reach Redis, and one that does so through a proxy.
func cutOff(t *testing.T, s *redistest.Server) ([]*node, *redistest.Proxy) {
	t.Helper()
	proxy := redistest.StartProxy(t, s.Addr())
	nodes := startAll(t, 2, 20, to(s), impatient)
	far := func() *redis.UniversalOptions { return clientOptions(proxy.Addr()) }
	return append(nodes, startAll(t, 1, 20, far, impatient)...), proxy
}

// A node that was cut off goes on where it stopped, without reading everything.
func TestCatchesUpFromTheStream(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, proxy := cutOff(t, server)
	nodes[0].Cool(0, time.Hour)
	agreeOn(t, nodes, 1)
	proxy.Blackhole(true)
	unhealthy(t, nodes[2:])
	for s := range rotator.Slot(5) {
		nodes[s%2].Cool(1+s, time.Hour)
	}
	nodes[2].Cool(7, time.Hour)
	agreeOn(t, nodes[:2], 6)
	proxy.Blackhole(false)
	proxy.Cut()
	agreeOn(t, nodes, 7)
	for i, n := range nodes {
		if h := n.journal.Health(); h.Resyncs != 1 {
			t.Errorf("node %d has read everything %d times, want once", i, h.Resyncs)
		}
	}
}

// While the node was cut off what it has not heard was taken out of the stream.
func TestTrimmedStream(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, proxy := cutOff(t, server)
	nodes[2].Cool(0, time.Hour)
	agreeOn(t, nodes, 1)
	proxy.Blackhole(true)
	unhealthy(t, nodes[2:])
	for s := range rotator.Slot(5) {
		nodes[s%2].Cool(1+s, time.Hour)
		agreeOn(t, nodes[:2], 2+int(s))
	}
	server.Do("XTRIM", "{keycycler}:log", "MAXLEN", 1)
	proxy.Blackhole(false)
	proxy.Cut()
	agreeOn(t, nodes, 6)
	until(t, "the node to have read everything twice", func() bool { return nodes[2].journal.Health().Resyncs == 2 })
}

// The server comes back without the last writes, and others write as many, before
// the node that was cut off looks: the number of writes alone would not tell.
func TestLostWrites(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, proxy := cutOff(t, server)
	nodes[0].Cool(0, time.Hour)
	agreeOn(t, nodes, 1)
	server.Save()
	for s := range rotator.Slot(3) {
		nodes[2].Cool(1+s, time.Hour)
		agreeOn(t, nodes, 2+int(s))
	}
	proxy.Blackhole(true)
	nodes[0].Leave()
	nodes[1].Leave() // nobody else knows the last three
	server.Kill()
	server.Restart()
	others := startAll(t, 2, 20, to(server))
	for s := range rotator.Slot(4) {
		others[0].Cool(10+s, time.Hour)
		agreeOn(t, others, 2+int(s))
	}
	proxy.Blackhole(false)
	proxy.Cut()
	agreeOn(t, append(others, nodes[2]), 8)
}

// deaf is a connection over which nothing of the stream arrives, while it is on.
type deaf struct {
	on    atomic.Bool
	waits bool // over which nobody may wait for it
}

func (d *deaf) DialHook(next redis.DialHook) redis.DialHook { return next }
func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (d *deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if d.waits && cmd.Name() == "xread" && slices.Contains(cmd.Args(), any("block")) {
			err := io.ErrUnexpectedEOF
			cmd.SetErr(err)
			return err
		}
		err := next(ctx, cmd)
		if cmd.Name() == "xread" && d.on.Load() {
			err = io.ErrUnexpectedEOF
			cmd.SetErr(err)
		}
		return err
	}
}

// The same before anybody has read the entries that are lost, not even who wrote them: none
// is missing between those that come, and no gap tells.
func TestLostWritesThatNobodyRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, d := redis.NewUniversalClient(to(server)()), new(deaf)
	client.AddHook(d)
	n, j, turns := open(t, client, impatient)
	writer := &node{Member: statetest.Join(t, n, statetest.Keys(t, 20)), journal: j, turns: turns}
	writer.Cool(0, time.Hour)
	agreeOn(t, []*node{writer}, 1)
	until(t, "the writer to have read its own entry", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.unseen) == 0
	})
	server.Save()
	d.on.Store(true)
	before := j.Health().Written
	for s := range rotator.Slot(3) {
		writer.Cool(1+s, time.Hour)
	}
	until(t, "Redis to have them", func() bool { return j.Health().Written >= before+3 })
	server.Kill()
	server.Restart()
	others := startAll(t, 1, 20, to(server))
	for s := range rotator.Slot(4) {
		others[0].Cool(10+s, time.Hour)
	}
	d.on.Store(false)
	agreeOn(t, append(others, writer), 8)
}

// Something between a node and Redis cuts off who waits there, as proxies do whose timeouts are
// short. The node hears the news all the same, and does not say that Redis is away.
func TestWhoWaitsIsCutOff(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := redis.NewUniversalClient(to(server)())
	client.AddHook(&deaf{waits: true})
	n, j, turns := open(t, client)
	reader := &node{Member: statetest.Join(t, n, statetest.Keys(t, 20)), journal: j, turns: turns}
	nodes := append(startAll(t, 1, 20, to(server)), reader)
	for s := range rotator.Slot(3) {
		nodes[0].Cool(s, time.Hour)
		agreeOn(t, nodes, int(s)+1)
	}
	checkTurns(t, nodes, 0)
}

// A node's first look at Redis has to connect, and takes long. What it writes goes by a better
// one: else a cooldown would seem to have been learned after what has ended it.
func TestWhatIsWrittenGoesByAGoodLook(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := redis.NewUniversalClient(to(server)())
	s := &sluggish{begin: make(chan struct{})}
	client.AddHook(s)
	n, j, turns := open(t, client, func(o *Options) { o.Now = s.now })
	node := &node{Member: statetest.Join(t, n, statetest.Keys(t, 1)), journal: j, turns: turns}
	learned := time.Now()
	node.Cool(0, time.Hour)
	close(s.begin)
	until(t, "it stands in Redis", func() bool { return j.Health().Written > 0 })
	text, _ := server.Do("HGET", "{keycycler}:state", rotator.IDOf("sk-statetest-00000000").String()).(string)
	f, ok := j.codec.decode(text)
	if off := time.UnixMilli(f.learned).Sub(learned.Add(-slow)); !ok || off.Abs() > slow/4 {
		t.Errorf("Redis has %q, which is %s off", text, off)
	}
}

// sluggish is a connection whose first command takes that long, by the node's clock.
type sluggish struct {
	deaf
	begin  chan struct{} // closed: commands may go out
	passed atomic.Int64
}

const slow = slowTrip * 4 / 5

func (s *sluggish) now() time.Time { return time.Now().Add(time.Duration(s.passed.Load())) }

func (s *sluggish) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		<-s.begin
		err := next(ctx, cmd)
		s.passed.CompareAndSwap(0, int64(slow))
		return err
	}
}

// Data was made anew, by a node that knew nothing else, and its first entry had the id of
// the old data's last one. The nodes that had read that took all for read, and never
// heard of the first key.
func TestDataMadeAnewWithTheSameEntry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := startAll(t, 2, 10, to(server))
	nodes[0].Cool(0, time.Hour)
	agreeOn(t, nodes, 1)
	id, now := rotator.IDOf("sk-statetest-00000001").String(), time.Now().UnixMilli()
	text := fmt.Sprintf("%d %d 0 0 rate_limited retry-after", now+3_600_000, now)
	server.Do("EVAL", `
local last = redis.call('HGET', KEYS[1], 'last')
redis.call('UNLINK', unpack(KEYS))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
redis.call('XADD', KEYS[3], last .. '-0', '2', table.concat({'another', 'third', ARGV[4], 'mark', '', ARGV[1], ARGV[2]}, '\n'))
redis.call('HSET', KEYS[1], 'version', 2, 'epoch', 'another', 'last', last, 'mark', 'mark', 'fields', 1, 'shift', 0, 'time', ARGV[4])`,
		4, "{keycycler}:meta", "{keycycler}:state", "{keycycler}:log", "{keycycler}:deadlines", id, text, now+3_600_000, now)
	nodes[0].Cool(2, time.Hour) // the next entry
	agreeOn(t, append(nodes, start(t, to(server)(), 10)), 3)
}

// What Redis forgets while nobody is cut off is made good within seconds: all of
// it, or one of the names, since all may be evicted. The rows run at once: most of
// the time is spent waiting for a heartbeat.
func TestDeletedData(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	id := rotator.IDOf("sk-statetest-00000001").String()
	rows := [][]any{
		{"DEL", "{0}:state", "{0}:deadlines", "{0}:meta", "{0}:log"},
		{"DEL", "{1}:state"},
		{"DEL", "{2}:meta"},
		{"DEL", "{3}:log"},
		{"DEL", "{4}:state", "{4}:deadlines"},
		{"DEL", "{5}:meta", "{5}:log"},
		{"HDEL", "{6}:state", id},
	}
	groups := make([][]*node, len(rows))
	prefix := func(i int) func(*Options) {
		return func(o *Options) { o.Prefix = strconv.Itoa(i) }
	}
	for i := range rows {
		groups[i] = startAll(t, 2, 5, to(server), prefix(i))
		groups[i][0].Cool(0, time.Hour)
		groups[i][1].Cool(1, time.Hour)
		agreeOn(t, groups[i], 2)
	}
	for _, gone := range rows {
		server.Do(gone...)
	}
	begin := time.Now()
	for i, gone := range rows {
		names := namesFor(strconv.Itoa(i))
		until(t, "Redis to be filled again", func() bool {
			fields := server.Client().HLen(context.Background(), names.state).Val()
			return fields == 2 && server.Client().Exists(context.Background(), names.meta).Val() == 1
		})
		t.Logf("%v: made good after %s", gone, time.Since(begin).Round(time.Millisecond))
		groups[i][0].Cool(2, time.Hour)
		agreeOn(t, append(groups[i], start(t, to(server)(), 5, prefix(i))), 3)
		checkTurns(t, groups[i], 0)
	}
}

// Connections that get lost all the time slow news down and lose none.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := startAll(t, 3, 200, to(server))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s := range rotator.Slot(200) {
		<-tick.C
		nodes[s%3].Cool(s, time.Hour)
		server.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}
	agreeOn(t, nodes, 200)
	for i, n := range nodes {
		if h, turns := n.journal.Health(), n.told(); h.Fails == 0 || len(turns)%2 != 0 {
			t.Errorf("node %d: %d failures, health has turned %d times", i, h.Fails, len(turns))
		}
	}
}

// Redis takes a batch and the node does not hear of it: it sends the batch again,
// which is no news to anybody.
func TestLostReply(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, proxy := cutOff(t, server)
	a, b := nodes[2], nodes[0]
	a.Cool(2, time.Hour)
	agreeOn(t, nodes, 1)
	proxy.Deafen("evalsha")
	a.Cool(0, time.Hour)
	until(t, "the other to hear", func() bool { return b.Left(0) != 0 })
	unhealthy(t, nodes[2:])
	b.Clear(0) // and it stays cleared, though the cooldown is sent again
	b.Cool(1, time.Minute)
	agreeOn(t, nodes[:2], 2)
	length := func() int64 { return server.Client().XLen(context.Background(), "{keycycler}:log").Val() }
	before := length()
	proxy.Deafen("")
	proxy.Cut()
	agreeOn(t, nodes, 2)
	if after := length(); after != before {
		t.Errorf("the stream has grown from %d to %d entries", before, after)
	}
}

// ticking is a Redis whose clock can be set.
func ticking(t *testing.T) (s *miniredis.Miniredis, set func(off time.Duration)) {
	server := miniredis.RunT(t)
	offs, end, ended := make(chan time.Duration), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		off := time.Duration(0)
		for {
			server.SetTime(time.Now().Add(off))
			select {
			case <-end:
				return
			case off = <-offs:
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() { close(end); <-ended })
	return server, func(off time.Duration) { offs <- off; offs <- off }
}

// Redis' clock is set, or a replica takes over whose clock is another: what cools
// goes on for as long as it did, also on nodes that join later.
func TestRedisClockIsSet(t *testing.T) {
	t.Parallel()
	offs := []time.Duration{time.Hour, -time.Hour, 3 * time.Second, -3 * time.Second}
	groups, clients := make([][]*node, len(offs)), make([]func() *redis.UniversalOptions, len(offs))
	servers, ends := make([]*miniredis.Miniredis, len(offs)), make([][2]time.Time, len(offs))
	for i, off := range offs {
		server, set := ticking(t)
		servers[i] = server
		clients[i] = func() *redis.UniversalOptions { return clientOptions(server.Addr()) }
		groups[i] = startAll(t, 2, 4, clients[i])
		ends[i][0] = time.Now().Add(time.Minute)
		groups[i][0].Cool(0, time.Minute)
		ends[i][1] = time.Now().Add(time.Minute)
		groups[i][1].Cool(1, time.Minute)
		groups[i][1].Clear(1)
		agreeOn(t, groups[i], 1)
		set(off)
		groups[i][1].Cool(2, time.Minute)
	}
	for i, off := range offs {
		agreeOn(t, groups[i], 2)
		until(t, "the step to be made good for", func() bool {
			shift, _ := strconv.ParseFloat(servers[i].HGet("{keycycler}:meta", "shift"), 64)
			return math.Abs(shift+float64(off.Milliseconds())) < 750
		})
		nodes := append(groups[i], start(t, clients[i](), 4))
		agreeOn(t, nodes, 2)
		for k, n := range nodes {
			from, left, to := time.Until(ends[i][0]), n.Left(0), time.Until(ends[i][1])
			if left < from-time.Second || left > to+time.Second {
				t.Errorf("clock set by %s: the key cools for %s on node %d, want %s to %s", off, left, k, from, to)
			}
		}
	}
}

// The nodes' own clocks do not matter: what counts is how long a key cools.
func TestNodeClocks(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	shifted := func(off time.Duration) func(*Options) {
		return func(o *Options) { o.Now = func() time.Time { return time.Now().Add(off) } }
	}
	var nodes []*node
	for _, off := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
		nodes = append(nodes, startAll(t, 1, 10, to(server), shifted(off))...)
	}
	know := func() bool { return len(nodes[0].Known()) == 6 && agree(nodes) }
	// All know of the short cooldowns before they are over, however slow the machine is.
	var begin, cooled time.Time
	short := 1500 * time.Millisecond
	for !know() {
		short *= 2
		begin = time.Now()
		for i, n := range nodes {
			n.Cool(rotator.Slot(i), time.Minute)
			n.Cool(rotator.Slot(5+i), short)
		}
		cooled = time.Now()
		until(t, "all nodes to agree, or the short cooldowns to be over", func() bool { return know() || time.Since(cooled) > short })
	}
	for i, n := range nodes {
		for s := range rotator.Slot(3) {
			for slot, d := range map[rotator.Slot]time.Duration{s: time.Minute, 5 + s: short} {
				from, left, to := time.Until(begin.Add(d)), n.Left(slot), time.Until(cooled.Add(d))
				if left < from-time.Second || left > max(to, 0)+time.Second {
					t.Errorf("node %d: slot %d cools for %s, want %s to %s", i, slot, left, from, to)
				}
			}
		}
	}
	for _, n := range nodes {
		until(t, "the short cooldowns to end", func() bool { return n.Ready() == 7 })
	}
	if took := time.Since(begin); took < short-time.Second {
		t.Errorf("cooldowns of %s took %s", short, took)
	}
	nodes[1].Clear(0)
	nodes[2].Clear(1)
	nodes[0].Clear(2)
	agreeOn(t, nodes, 0)
}

// An entry that was written just after Redis' clock was set forward reached a node
// which had not yet seen that: it took the cooldown for longer by as much, for good.
func TestEntriesFromTheFutureWaitForTheClock(t *testing.T) {
	n := time.Now()
	j := &Journal{now: func() time.Time { return n }}
	j.clock.sample(n, n, time.Duration(n.UnixMilli())*time.Millisecond)
	for _, row := range []struct {
		off   time.Duration
		ahead bool
	}{{0, false}, {-time.Hour, false}, {900 * time.Millisecond, false}, {3 * time.Second, true}, {time.Hour, true}} {
		if j.ahead(n.Add(row.off).UnixMilli()) != row.ahead {
			t.Errorf("%s: ahead is %t", row.off, !row.ahead)
		}
	}
}
