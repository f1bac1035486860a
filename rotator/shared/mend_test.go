package shared

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// healTime is how long Redis may go without what it has lost: until a node looks at it, and for
// its pause before it fills. A busy machine needs more.
const (
	healTime = 5 * time.Second
	slack    = 10 * time.Second
)

// What nodes wait for leaves the rest of that time for what they do.
func TestHealTime(t *testing.T) {
	if waits := heartbeat + maxPause; waits > healTime-time.Second {
		t.Errorf("nodes wait for %s of the %s in which Redis has all again", waits, healTime)
	}
}

// healed starts nodes that share a cooldown, a disabled key and an owner, does something
// to Redis, and checks that all of it stands there again soon and that one line was
// logged by those who found out, if any; then, that news still passes.
func healed(t *testing.T, server *redistest.Server, hurt func(), told bool) {
	t.Helper()
	var tales [2]atomic.Int32
	var nodes []*node
	for i := range tales {
		nodes = append(nodes, startAll(t, 1, 20, to(server), func(o *Options) {
			o.Mended = func(string) { tales[i].Add(1) }
		})...)
	}
	nodes[0].Cool(0, time.Hour)
	nodes[1].CoolIn("gpt-x", 1, time.Hour)
	nodes[0].Disable(2)
	nodes[1].own(3, 0, 5)
	agreeOn(t, nodes, 2)
	until(t, "the owners", func() bool { return nodes[0].owns(3, 0, 5) })
	before := nodes[0].journal.Health().Resyncs + nodes[1].journal.Health().Resyncs

	hurt()
	begin := time.Now()
	until(t, "Redis to hold all again", func() bool { return holdsAll(server) })
	took := time.Since(begin)
	t.Logf("healed after %s", took.Round(time.Millisecond))
	if took > healTime+slack {
		t.Errorf("that is much more than %s", healTime)
	}
	nodes[1].Cool(4, time.Hour)
	agreeOn(t, nodes, 3)
	late := start(t, to(server)(), 20)
	agreeOn(t, append(nodes, late), 3)
	until(t, "the late node to know the switch and the owners", func() bool { return late.Disabled(2) && late.owns(3, 0, 5) })
	lines := tales[0].Load() + tales[1].Load()
	if told && (lines == 0 || tales[0].Load() > 1 || tales[1].Load() > 1) {
		t.Errorf("the nodes told of it %d and %d times", tales[0].Load(), tales[1].Load())
	}
	if after := nodes[0].journal.Health().Resyncs + nodes[1].journal.Health().Resyncs; told && after == before {
		t.Error("nothing was counted")
	}
	for i, n := range nodes {
		if h := n.journal.Health(); !h.Healthy {
			t.Errorf("node %d: %v", i, h.Err)
		}
	}
}

// holdsAll tells whether Redis holds what healed has put there, and nothing else.
func holdsAll(s *redistest.Server) bool {
	id := func(i int) string { return rotator.IDOf(fmt.Sprintf("sk-statetest-%08d", i)).String() }
	for _, field := range []string{id(0), id(1) + " gpt-x", id(2)} {
		text, _ := s.Client().HGet(context.Background(), "{keycycler}:state", field).Result()
		if f, ok := (codec{reasons: reasons}).decode(text); !ok || f == (fact{}) {
			return false
		}
	}
	fields := s.Client().HLen(context.Background(), "{keycycler}:state").Val()
	return fields == 3 && s.Client().ZCard(context.Background(), "{keycycler}:deadlines").Val() == 3 &&
		s.Client().ZCard(context.Background(), "{keycycler}:owners").Val() == 5 && sane(s)
}

// sane tells whether the meta data and the stream are of the types that they should be,
// whether the stream ends where the data say, if not before, and whether the journal's time is
// about Redis'.
func sane(s *redistest.Server) bool {
	epoch := s.Client().HGet(context.Background(), "{keycycler}:meta", "epoch").Val()
	shift, err := s.Client().HGet(context.Background(), "{keycycler}:meta", "shift").Int64()
	return epoch != "" && err == nil && max(shift, -shift) < time.Hour.Milliseconds() && ends(s) && slices.Contains([]string{"stream", "none"}, s.Client().Type(context.Background(), "{keycycler}:log").Val())
}

// ends tells whether nothing stands in the stream behind what the data say is its last entry.
func ends(s *redistest.Server) bool {
	last, err := s.Client().HGet(context.Background(), "{keycycler}:meta", "last").Int64()
	top, _ := s.Client().XRevRangeN(context.Background(), "{keycycler}:log", "+", "-", 1).Result()
	if err != nil || len(top) == 0 {
		return err == nil
	}
	end, err := strconv.ParseInt(strings.TrimSuffix(top[0].ID, "-0"), 10, 64)
	return err == nil && end <= last
}

// Each of the names alone is deleted, is of another type, is emptied, or is filled with
// something else.
func TestEachNameHeals(t *testing.T) {
	t.Parallel()
	type row struct {
		sentence string
		commands [][]any
		silent   bool // nobody can tell, and nothing is missing
	}
	var rows []row
	for _, name := range []string{"meta", "state", "log", "deadlines", "owners"} {
		whole := "{keycycler}:" + name
		rows = append(rows,
			row{name + " is deleted", [][]any{{"DEL", whole}}, name == "log"},
			row{name + " is a string", [][]any{{"SET", whole, "junk"}}, name == "log"},
			row{name + " is a list", [][]any{{"DEL", whole}, {"RPUSH", whole, "junk", "junk"}}, name == "log"},
		)
	}
	id := rotator.IDOf("sk-statetest-00000000").String()
	rows = append(rows,
		row{"the hash has more fields", [][]any{{"HSET", "{keycycler}:state", "junk", "junk", "junk2", ""}}, false},
		row{"it has fewer", [][]any{{"HDEL", "{keycycler}:state", id}}, false},
		row{"more deadlines", [][]any{{"ZADD", "{keycycler}:deadlines", "inf", "junk"}}, false},
		row{"fewer deadlines", [][]any{{"ZREM", "{keycycler}:deadlines", id}}, false},
		row{"other deadlines", [][]any{{"ZREM", "{keycycler}:deadlines", id}, {"ZADD", "{keycycler}:deadlines", "inf", "x", 1, "y"}}, false},
		row{"more owners", [][]any{{"ZADD", "{keycycler}:owners", 1, "junk"}, {"ZREM", "{keycycler}:owners", "nobody"}}, false},
		row{"fewer owners", [][]any{{"ZREMRANGEBYRANK", "{keycycler}:owners", 0, 1}}, false},
		row{"an entry of somebody else", [][]any{{"XADD", "{keycycler}:log", "*", "junk", "junk"}}, true},
		row{"an entry of a later version", [][]any{{"XADD", "{keycycler}:log", "*", "3", "junk\njunk\n1\nx\ny"}}, true},
		row{"another version", [][]any{{"HSET", "{keycycler}:meta", "version", "1"}}, false},
		row{"a shift that is no number", [][]any{{"HSET", "{keycycler}:meta", "shift", "nan"}}, false},
		row{"a shift that is longer than Go's times", [][]any{{"HSET", "{keycycler}:meta", "shift", "10000000000000"}}, false},
		row{"one of 16 digits", [][]any{{"HSET", "{keycycler}:meta", "shift", "9999999999999999"}}, false},
		row{"one back beyond 1970", [][]any{{"HSET", "{keycycler}:meta", "shift", "-10000000000000"}}, false},
		row{"an epoch of line breaks", [][]any{{"HSET", "{keycycler}:meta", "epoch", "a\nb"}}, false},
		row{"an entry of another epoch", [][]any{{"XADD", "{keycycler}:log", "9000000000000000-0", "2", "a\nb\n1\nc\nd"}}, true},
		row{"the stream ends before what it holds", [][]any{{"HSET", "{keycycler}:meta", "last", "5"}}, true},
		row{"it ends before it begins", [][]any{{"HSET", "{keycycler}:meta", "last", "-5"}}, false},
		row{"it ends beyond what it holds", [][]any{{"HSET", "{keycycler}:meta", "last", "8999999999999999"}}, true},
		row{"it ends beyond what is counted in ones", [][]any{{"HSET", "{keycycler}:meta", "last", "99999999999999999"}}, false},
		row{"hash and deadlines are strings, and nobody counts", [][]any{
			{"HDEL", "{keycycler}:meta", "fields"},
			{"DEL", "{keycycler}:state", "{keycycler}:deadlines"},
			{"SET", "{keycycler}:state", "junk"},
			{"SET", "{keycycler}:deadlines", "junk"},
		}, false},
		row{"nobody's epoch", [][]any{{"HSET", "{keycycler}:meta", "epoch", "another"}}, true},
		row{"nobody's entry", [][]any{{"HSET", "{keycycler}:meta", "mark", "another"}}, true},
		row{"a filler that is none", [][]any{{"HSET", "{keycycler}:meta", "filler", "junk 9999999999999"}, {"DEL", "{keycycler}:state"}}, false},
		row{"everything is flushed", [][]any{{"FLUSHALL"}}, false},
	)
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			healed(t, server, func() { server.DoAtOnce(row.commands...) }, !row.silent)
		})
	}
}

// Whoever writes a time of the far future that nobody can outdo keeps no node apart from
// the others, and no key ready.
func TestJunkOfTheFuture(t *testing.T) {
	t.Parallel()
	id := rotator.IDOf("sk-statetest-00000000").String()
	for _, junk := range []string{"0 0 0 9000000000000 - -", "0 0 0 -9000000000000 - -", "0 0 9000000000000 0 - -", "0 9000000000000 0 0 - -", "9000000000000 8000000000000 0 0 - -", strings.Repeat("9", 40) + " 1 1 1 - -"} {
		t.Run(junk[:16], func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			early := startAll(t, 1, 5, to(server))[0]
			early.Cool(0, time.Minute)
			agreeOn(t, []*node{early}, 1)
			server.Do("HSET", "{keycycler}:state", id, junk)
			nodes := append(startAll(t, 2, 5, to(server)), early)
			for i, n := range nodes {
				n.Disable(0)
				until(t, "all to have it disabled", func() bool { return !slices.ContainsFunc(nodes, func(n *node) bool { return !n.Disabled(0) }) })
				nodes[(i+1)%3].Enable(0)
				until(t, "all to have it enabled", func() bool { return !slices.ContainsFunc(nodes, func(n *node) bool { return n.Disabled(0) }) })
			}
			nodes[1].Cool(0, time.Hour)
			agreeOn(t, nodes, 1)
			nodes[0].Clear(0)
			agreeOn(t, nodes, 0)
		})
	}
}
