package shared

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// A Redis that comes back empty is filled by one of the nodes that know the same; what
// only another knows, that one adds.
func TestRefilledOnce(t *testing.T) {
	t.Parallel()
	const keys = 3000
	server := redistest.Start(t)
	nodes := startAll(t, 5, keys, to(server))
	for s := range rotator.Slot(keys) {
		nodes[s%5].Cool(s, time.Hour)
	}
	agreeOn(t, nodes, keys)
	// The last node alone has these keys.
	own, j, turns := open(t, redis.NewUniversalClient(to(server)()))
	key, err := rotator.NewKey("sk-another")
	if err != nil {
		t.Fatal(err)
	}
	last := &node{Member: statetest.Join(t, own, []rotator.Key{key}), journal: j, turns: turns}
	until(t, "the first reading", func() bool { return j.Health().Resyncs > 0 })
	last.Cool(0, time.Hour)
	settled(t, append(nodes, last)...)
	written := func() (sum uint64) {
		for _, n := range append(nodes, last) {
			sum += n.journal.Health().Written
		}
		return sum
	}
	before := written()
	server.Do("FLUSHALL")
	until(t, "Redis to hold all", func() bool {
		return server.Client().HLen(context.Background(), "{keycycler}:state").Val() == keys+1
	})
	settled(t, append(nodes, last)...)
	if sent := written() - before; sent > keys*5/4 {
		t.Errorf("%d changes were sent, of %d", sent, keys+1)
	}
}

// What is learned goes before what Redis has forgotten, however much that is.
func TestNewsGoesBeforeRefills(t *testing.T) {
	server := redistest.Start(t)
	now := time.Now()
	j := journalAt(now, time.Duration(now.UnixNano()))
	j.client, j.names = server.Client(), namesFor(defaultPrefix)
	for i, k := range statetest.Keys(t, 3*fillBatch) {
		c := rotator.Change{ID: k.ID(), Until: now.Add(time.Hour), Learned: now}
		if i == 0 {
			j.Record(c)
			continue
		}
		j.fill.facts = append(j.fill.facts, c)
	}
	j.fill.due, j.fill.turn, j.fill.at = true, true, now
	var order []int
	for range 4 {
		if err := j.flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		entries := server.Client().XRange(context.Background(), j.names.log, "-", "+").Val()
		e, _ := parseEntry(entries[len(entries)-1])
		order = append(order, strings.Count(e.news, "\n")/2+1)
	}
	if want := []int{1, fillBatch, fillBatch, fillBatch - 1}; !slices.Equal(order, want) || j.fill.due {
		t.Errorf("batches of %v, want %v", order, want)
	}
}

// While one node fills in, others have to wait, and hear what is told; they take over
// when it does not go on.
func TestOneFillsAtATime(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		n := s.names
		fill := func(node, how string, fields ...any) int64 {
			args := append([]any{"mark" + node, 1 << 20, node, s.now(), 5000, 0, 0, 0, how, 1000, "mend"}, fields...)
			news, err := save.Run(context.Background(), c, []string{n.meta, n.state, n.log, n.deadlines}, args...).Int64()
			if err != nil {
				t.Fatal(err)
			}
			return news
		}
		play := func() (wrong string) {
			c.FlushAll(context.Background())
			switch {
			case fill("a", "fill") != 0 || fill("b", "fill") != notYourTurn || fill("a", "fill") != 0:
				return "the first is not the one that fills in"
			case fill("b", "", "0123456789ab", s.now()+60_000, s.now(), 0, 0, "other", "-") != 1:
				return "others cannot tell their news meanwhile"
			case fill("a", "filled") != 0 || fill("b", "fill") != 0 || fill("a", "fill") != notYourTurn:
				return "the next one's turn did not come"
			}
			return ""
		}
		// A turn lasts three seconds: a machine that is slower shows nothing.
		until(t, "a machine that is fast enough", func() bool {
			begin := time.Now()
			wrong := play()
			slow := time.Since(begin) >= 3*time.Second
			if wrong != "" && !slow {
				t.Error(wrong)
			}
			return wrong == "" || !slow
		})
		until(t, "the node that does not go on to lose its turn", func() bool { return fill("a", "fill") == 0 })
	})
}

// The stream is bounded by its bytes, whatever stands in an entry.
func TestStreamIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newSaver(t, server.Client())
	now := s.now()
	for i := range 200 {
		facts := make(map[string]fact)
		for k := range batch {
			facts[fmt.Sprintf("%012x", k)] = fact{until: now + 60_000 + int64(i)*200, learned: now, source: strings.Repeat("x", 100)}
		}
		s.saveNow(facts)
	}
	used, _ := server.Do("MEMORY", "USAGE", s.names.log, "SAMPLES", 0).(int64)
	entries := server.Client().XLen(context.Background(), s.names.log).Val()
	t.Logf("%d entries take %d bytes", entries, used)
	const asked = 1 << 20
	if used > 2*asked || entries < 5 {
		t.Errorf("the stream takes %d bytes, of which %d were asked for, in %d entries", used, asked, entries)
	}
}

// A node that is far away reads all that has come since it asked last.
func TestReadsManyAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes, proxy := cutOff(t, server)
	nodes[0].Cool(0, time.Hour)
	agreeOn(t, nodes, 1)
	proxy.Blackhole(true)
	unhealthy(t, nodes[2:])
	for i := range 1000 { // each of them an entry
		nodes[0].Cool(1, time.Hour+time.Duration(i)*time.Second)
		settled(t, nodes[0])
	}
	agreeOn(t, nodes[:2], 2)
	commands(server)
	begin := time.Now()
	proxy.Blackhole(false)
	proxy.Cut()
	agreeOn(t, nodes, 2)
	if calls := commands(server)["xread"]; calls > 3*looks(begin, 3) {
		t.Errorf("1,000 entries took %d readings", calls)
	}
	if n := nodes[2].journal.Health().Resyncs; n != 1 {
		t.Errorf("everything was read %d times", n)
	}
}

// Redis has no room, and evicts all that is ours: it is back soon.
func TestEviction(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"allkeys-lru", "volatile-ttl"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			healed(t, server, func() { evict(t, server, policy) }, true)
		})
	}
}

// evict makes Redis itself choose what goes. With room for nothing it keeps none of the names,
// whichever goes first, and takes nothing until there is room again.
func evict(t *testing.T, s *redistest.Server, policy string) {
	t.Helper()
	s.Do("CONFIG", "SET", "maxmemory-policy", policy)
	s.Do("CONFIG", "SET", "maxmemory", 1)
	until(t, "all to be evicted", func() bool { return s.Do("DBSIZE") == int64(0) })
	s.Do("CONFIG", "SET", "maxmemory", 0)
}

// The more nodes hear of what was lost, the smaller are the batches, and the longer the
// rests; and no more than that.
func TestCrowdFillsSlowly(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		nodes, size int
		a1000       time.Duration // how long 1,000 changes rest
	}{
		{0, fillBatch, 0},
		{2, fillBatch, 16 * time.Millisecond},
		{fillCrowd, fillBatch, 200 * time.Millisecond},
		{2 * fillCrowd, fillBatch / 2, 400 * time.Millisecond},
		{100, minFillBatch, 800 * time.Millisecond},
		{1000, minFillBatch, 2 * time.Second},
	} {
		var c crowd
		for i := range row.nodes {
			c.note(now, fmt.Sprint(i))
		}
		if size, rest := c.fillSize(), c.fillPause(1000); size != row.size || rest != row.a1000 {
			t.Errorf("%d nodes: batches of %d, 1,000 changes rest %s, want %d and %s", row.nodes, size, rest, row.size, row.a1000)
		}
	}
}

func TestCrowd(t *testing.T) {
	now := time.Now()
	var c crowd
	if c.pace() != 0 {
		t.Errorf("alone: %s", c.pace())
	}
	for i := range 100 {
		c.note(now, fmt.Sprint(i))
		c.note(now, fmt.Sprint(i))
	}
	if got := c.pace(); got != 100*share {
		t.Errorf("100 nodes: %s", got)
	}
	c.note(now.Add(crowdTerm), "0")
	if got := c.pace(); got != 100*share {
		t.Errorf("after a while: %s", got)
	}
	c.note(now.Add(2*crowdTerm), "0")
	if got := c.pace(); got != share {
		t.Errorf("when all but one have gone: %s", got)
	}
	for i := range 10_000 {
		c.note(now.Add(2*crowdTerm), fmt.Sprint(i))
	}
	if got := c.pace(); got != maxPace || len(c.now) > 10_000 {
		t.Errorf("too many: %s, %d", got, len(c.now))
	}
}

// meanwhile is a hook that does something while the reply to a command is on its way that has
// a word as an argument.
type meanwhile struct {
	word string
	do   func()
}

func (m meanwhile) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (m meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, c redis.Cmder) error {
		err := next(ctx, c)
		if err == nil && slices.Contains(c.Args(), any(m.word)) {
			m.do()
		}
		return err
	}
}

// A Redis that loses everything again while the last batch of a refill is on its way is
// filled again. What this node alone knew was not brought back until all was read again.
func TestARefillThatIsDueWhileAnotherEnds(t *testing.T) {
	for _, word := range []string{"fill", "filled"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer client.Close()
			j, pool := byHand(t, client, 3)
			j.now = time.Now
			for s := range rotator.Slot(3) {
				pool.Cool(j.now(), s, rotator.Cooldown{For: time.Hour})
			}
			until(t, "the time", func() bool { _, err := j.look(t.Context()); return err == nil })
			clear(j.pending)
			j.refill(newKnowledge())
			var once sync.Once
			client.AddHook(meanwhile{word: word, do: func() {
				once.Do(func() {
					server.Do("FLUSHALL")
					j.refill(newKnowledge()) // as the listener does
				})
			}})
			until(t, "the refill to end", func() bool { return j.flush(t.Context()) == nil && j.Health().Queue == 0 })
			if n := client.HLen(t.Context(), j.names.state).Val(); n != 3 {
				t.Errorf("%d of 3 cooldowns stand in Redis", n)
			}
		})
	}
}
