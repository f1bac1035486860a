package shared

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

func TestFields(t *testing.T) {
	id := rotator.IDOf("sk-1")
	for _, row := range []struct {
		sentence, field string
		want            subject
		ok              bool
	}{
		{"a key", id.String(), subject{id: id}, true},
		{"a key in a scope", id.String() + " gpt-4o", subject{id, "gpt-4o"}, true},
		{"only the first space is between them", id.String() + "  a  model ", subject{id, " a  model "}, true},
		{"the scope that others share", id.String() + " *", subject{id, rotator.Overflow}, true},
		{"no scope after the space", id.String() + " ", subject{}, false},
		{"a scope that is not printable", id.String() + " a\tb", subject{}, false},
		{"one that is too long", id.String() + " " + strings.Repeat("x", rotator.MaxScopeLen+1), subject{}, false},
		{"another sign between them", id.String() + ":gpt-4o", subject{}, false},
		{"no id", "n", subject{}, false},
		{"a scope without a key", " gpt-4o", subject{}, false},
		{"nothing", "", subject{}, false},
	} {
		got, ok := parseField(row.field)
		if ok != row.ok || ok && (got != row.want || got.field() != row.field) {
			t.Errorf("%s: %q was read as %+v, %t", row.sentence, row.field, got, ok)
		}
	}
}

func FuzzField(f *testing.F) {
	for _, field := range []string{"0123456789ab", "0123456789ab gpt-4o", "0123456789ab ", "0123456789ab  ", "0123456789AB x", "n"} {
		f.Add(field)
	}
	f.Fuzz(func(t *testing.T, field string) {
		if about, ok := parseField(field); ok && about.field() != field {
			t.Fatalf("%q was read as %+v", field, about)
		}
	})
}

// The queue holds one change a key and scope, and a batch names both.
func TestQueueOfScopes(t *testing.T) {
	now := time.Now()
	j := journalAt(now, 1000*time.Hour)
	pool, err := rotator.NewPool(statetest.Keys(t, 2), j.state, now, rotator.WithJournal(j))
	if err != nil {
		t.Fatal(err)
	}
	cool := func(s rotator.Slot, scope string, d time.Duration) {
		pool.Cool(now, s, rotator.Cooldown{For: d, Scope: scope})
	}
	cool(0, "", time.Minute)
	cool(0, "gpt-x", time.Minute)
	cool(0, "gpt-y", time.Minute)
	cool(0, "gpt-x", time.Hour)
	cool(1, "gpt-x", time.Minute)
	if n := j.Health().Queue; n != 4 {
		t.Errorf("%d changes are queued", n)
	}
	taken := j.take()
	fields := make(map[string]int64)
	args := j.arguments(shortName(), taken, nil, "")
	for i := fixedArguments; i < len(args); i += 7 {
		fields[args[i].(string)] = args[i+1].(int64)
	}
	redis, a, b := (1000 * time.Hour).Milliseconds(), pool.Key(0).String(), pool.Key(1).String()
	for field, want := range map[string]int64{a: 60_000, a + " gpt-x": 3_600_000, a + " gpt-y": 60_000, b + " gpt-x": 60_000} {
		if fields[field] != redis+want {
			t.Errorf("%q cools until %d, want %d", field, fields[field], redis+want)
		}
	}
	cool(0, "gpt-y", time.Hour)
	if j.putBack(taken); !j.pending[subject{pool.Key(0).ID(), "gpt-y"}].Until.Equal(now.Add(time.Hour)) || len(j.pending) != 4 {
		t.Errorf("put back, %d are queued: %+v", len(j.pending), j.pending)
	}
}

func TestRefillOfScopes(t *testing.T) {
	const hour, redis = int64(3_600_000), int64(3_600_000_000)
	cools := fact{until: redis + hour, learned: redis}
	for _, row := range []struct {
		sentence string
		do       func(p *rotator.Pool, now time.Time)
		whole    fact // what Redis knows of the key, and in the scope
		scoped   fact
		want     bool // whether the scope is queued
	}{
		{"a cooldown that Redis does not know", nil, fact{}, fact{}, true},
		{"one that it knows", nil, fact{}, cools, false},
		{"it knows a longer one", nil, fact{}, fact{until: redis + 2*hour, learned: redis}, false},
		{"a longer one that is void by a clearing of the key", nil, fact{cleared: redis - 5}, fact{until: redis + 2*hour, learned: redis - 10}, true},
		{"one that a success has ended, and that Redis knows", func(p *rotator.Pool, now time.Time) {
			p.Cool(now, 0, rotator.Cooldown{For: 2 * time.Hour, Scope: "gpt-x"})
			p.Serve(now, now, 0, "gpt-x")
		}, fact{}, fact{until: redis + 2*hour, learned: redis}, true},
		{"one that it does not: others may still tell it", func(p *rotator.Pool, now time.Time) {
			p.Cool(now, 0, rotator.Cooldown{For: 2 * time.Hour, Scope: "gpt-x"})
			p.Serve(now, now, 0, "gpt-x")
		}, fact{}, fact{}, true},
		{"and when it has", func(p *rotator.Pool, now time.Time) {
			p.Cool(now, 0, rotator.Cooldown{For: 2 * time.Hour, Scope: "gpt-x"})
			p.Serve(now, now, 0, "gpt-x")
		}, fact{}, fact{cleared: redis + 200}, false},
		{"one that was cleared with the key", func(p *rotator.Pool, now time.Time) { p.Clear(now, 0) }, fact{cleared: redis + 200}, fact{}, false},
	} {
		now := time.Now()
		j := journalAt(now, 1000*time.Hour)
		pool, err := rotator.NewPool(statetest.Keys(t, 1), j.state, now, rotator.WithJournal(j))
		if err != nil {
			t.Fatal(err)
		}
		pool.Cool(now, 0, rotator.Cooldown{For: time.Hour, Scope: "gpt-x"})
		if row.do != nil {
			row.do(pool, now)
		}
		clear(j.pending)
		id := pool.Key(0).ID()
		lacking := lacking(j, map[subject]fact{{id: id}: row.whole, {id, "gpt-x"}: row.scoped})
		if c, got := lacking[subject{id, "gpt-x"}]; got != row.want {
			t.Errorf("%s: queued %t, %+v", row.sentence, got, c)
		}
	}
}

// In whichever order Redis hears of keys and scopes, it knows in the end what a
// node's memory does.
func TestScriptAgainstStateInScopes(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		for seed := range uint64(60) {
			r := rand.New(rand.NewPCG(seed, 3))
			begin, now := time.Now(), s.now()
			j := journalAt(begin, time.Duration(now)*time.Millisecond)
			key, err := rotator.NewKey(fmt.Sprint("sk-", seed))
			if err != nil {
				t.Fatal(err)
			}
			pool, err := rotator.NewPool([]rotator.Key{key}, j.state, begin, rotator.WithJournal(j))
			if err != nil {
				t.Fatal(err)
			}
			subjects := []subject{{id: key.ID()}, {key.ID(), "gpt-x"}, {key.ID(), `a "scope" %d é`}}
			for range 30 {
				about, f := subjects[r.IntN(3)], fact{}
				if r.IntN(3) > 0 {
					f.until, f.learned = now+60_000+1000*r.Int64N(8), now-200*r.Int64N(10)
				}
				if f.until == 0 || r.IntN(3) == 0 {
					f.cleared = now - 200*r.Int64N(10)
				}
				s.saveNow(map[string]fact{about.field(): f})
				j.state.Learn(begin, j.local(about, f), j)
				want := make(map[subject]fact)
				j.state.Known(begin, j, func(c rotator.Change) bool { want[subjectOf(c)] = j.remote(c); return true })
				whole := s.known(key.String())
				for _, about := range subjects {
					got, want := s.known(about.field()), want[about]
					if want.void(want.cleared) { // it says how long the clearing is kept
						want = fact{cleared: want.cleared}
					}
					if about.scope != "" {
						if got.void(whole.cleared) { // as in the next change, and in each node
							got = fact{cleared: got.cleared}
						}
						got.cleared, want.cleared = max(got.cleared, whole.cleared), max(want.cleared, whole.cleared)
					}
					if got != want {
						t.Fatalf("seed %d: after %+v of %q Redis knows of %q %+v, the node %+v", seed, f, about.scope, about.scope, got, want)
					}
				}
			}
			pool.Close(begin)
		}
	})
}

// What clients can make Redis keep ends with the cooldowns, also if those were ended
// by a success: a clearing of what is not known leaves nothing.
func TestScopesAreForgotten(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, c *redis.Client) {
		s := newSaver(t, c)
		ctx := context.Background()
		id := rotator.IDOf("sk-1").String()
		var wrong []string
		complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
		play := func(now, short, long int64) {
			s.saveNow(map[string]fact{id + " long": {until: long, learned: now}, id + " short": {until: short, learned: now}})
			if n := s.saveNow(map[string]fact{
				id + " unknown": {cleared: now}, id + " over": {until: now - 1, cleared: now}, id + " kept": {until: short, cleared: now}, id + " long": {cleared: now},
			}); n != 2 || s.known(id+" kept") != (fact{cleared: now}) {
				complain("%d were news, want the clearing of what is known and that of what may come", n)
			}
			if n := s.saveNow(map[string]fact{id + " kept": {until: short, learned: now}}); n != 0 {
				complain("what was cleared before it was known has come")
			}
			s.saveNow(map[string]fact{id + " long": {until: short, learned: now + 1, cleared: now}})
			if got := s.known(id + " long"); got != (fact{until: short, learned: now + 1, cleared: now}) {
				complain("after the clearing, %+v", got)
			}
			// The clearing stays for as long as the longest that it ended would have lasted.
			if until := c.ZScore(ctx, s.names.deadlines, id+" long").Val(); int64(until) != long {
				complain("kept until %d, want %d", int64(until), long)
			}
			if n := s.saveNow(map[string]fact{id + " long": {until: long, learned: now - 1}}); n != 0 {
				complain("what was cleared is back")
			}
			if n := c.HLen(ctx, s.names.state).Val(); n != 3 {
				complain("%d fields", n)
			}
		}
		// All is done before the short cooldown is over, however slow the machine is.
		short := int64(0)
		for span := int64(2000); short <= s.now(); span *= 2 {
			c.FlushAll(ctx)
			wrong = nil
			now := s.now()
			short = now + span
			play(now, short, now+30*span)
		}
		for _, w := range wrong {
			t.Error(w)
		}
		until(t, "the short cooldown to end", func() bool { return s.now() > short })
		s.saveNow(nil)
		if n := c.HLen(ctx, s.names.state).Val(); n != 1 || c.ZCard(ctx, s.names.deadlines).Val() != 1 {
			t.Errorf("%d fields when one is over", n)
		}
	})
}

// A node that was cut off while keys cooled in scopes, were cleared and served, and that
// has news itself.
func TestScopesAfterAnOutage(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		sentence string
		meantime func(s *redistest.Server)
	}{
		{"the stream has what came since", func(*redistest.Server) {}},
		{"it has not", func(s *redistest.Server) { s.Do("XTRIM", "{keycycler}:log", "MAXLEN", 1) }},
		{"Redis has lost everything", func(s *redistest.Server) { s.Do("FLUSHALL") }},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			nodes, proxy := cutOff(t, server)
			a, b, far := nodes[0], nodes[1], nodes[2]
			a.CoolIn("gpt-x", 0, time.Hour)
			far.CoolIn("gpt-x", 1, time.Hour)
			a.CoolIn("gpt-x", 2, time.Hour)
			a.CoolIn("gpt-y", 2, time.Hour)
			a.CoolIn("gpt-y", 3, time.Hour)
			agreeOn(t, nodes, 5)
			proxy.Blackhole(true)
			unhealthy(t, nodes[2:])
			if !a.Serve("gpt-x", 0, a.Now()) || !far.Serve("gpt-x", 1, far.Now()) {
				t.Error("nothing was ended")
			}
			b.Clear(2)
			b.CoolIn("gpt-x", 2, time.Minute)
			cleared := time.Now()
			until(t, "more time to pass than clocks differ by", func() bool { return time.Since(cleared) > 300*time.Millisecond })
			far.CoolIn("gpt-y", 2, 2*time.Hour) // before it has heard of the clearing, and after that
			far.CoolIn("gpt-y", 3, 2*time.Hour)
			far.CoolIn("gpt-z", 4, time.Hour)
			agreeOn(t, nodes[:2], 3)
			row.meantime(server)
			proxy.Blackhole(false)
			proxy.Cut()
			agreeOn(t, nodes, 4)
			agreeOn(t, append(nodes, start(t, to(server)(), 20)), 4)
			for i, n := range nodes {
				if n.LeftIn("gpt-x", 0) != 0 || n.LeftIn("gpt-x", 1) != 0 || n.LeftIn("gpt-x", 2) > time.Minute ||
					n.LeftIn("gpt-y", 3) < time.Hour || n.LeftIn("gpt-z", 4) == 0 || n.ReadyIn("gpt-x") != 19 {
					t.Errorf("node %d knows %v", i, n.Known())
				}
			}
		})
	}
}
