package shared

import (
	"math"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/statetest"
)

func TestDecode(t *testing.T) {
	c := codec{reasons: reasons}
	for _, row := range []struct {
		sentence, text string
		want           fact
		ok             bool
	}{
		{"a cooldown", "20 10 0 0 rate_limited retry-after", fact{until: 20, learned: 10, reason: 1, source: "retry-after"}, true},
		{"a cooldown after a clearing", "20 10 5 0 other body:try again in 1s", fact{until: 20, learned: 10, cleared: 5, source: "body:try again in 1s"}, true},
		{"a clearing", "0 0 5 0 - -", fact{cleared: 5}, true},
		{"no source", "20 10 0 0 rate_limited -", fact{until: 20, learned: 10, reason: 1, source: ""}, true},
		{"a reason by number", "20 10 0 0 7 x", fact{until: 20, learned: 10, reason: 7, source: "x"}, true},
		{"a reason of a newer version: the deadline counts", "20 10 0 0 unheard x", fact{until: 20, learned: 10, source: "x"}, true},
		{"a number that is no reason", "20 10 0 0 16 x", fact{until: 20, learned: 10, source: "x"}, true},
		{"a negative one", "20 10 0 0 -1 x", fact{until: 20, learned: 10, source: "x"}, true},
		{"times beyond what a duration holds", "9223372036854775807 10 0 0 other x", fact{until: maxMillis, learned: 10, source: "x"}, true},
		{"a key that is disabled", "0 0 0 1795492992412 - -", fact{off: 1795492992412}, true},
		{"one that cools and was enabled again", "20 10 0 -5 other x", fact{until: 20, learned: 10, off: -5, source: "x"}, true},
		{"a switch beyond what a process can have said", "0 0 0 -9223372036854775807 - -", fact{}, true},
		{"a moment from which it is as good as ready", "2000 10 0 0 rate_limited+1500 x", fact{until: 2000, learned: 10, spare: 1510, equal: true, reason: 1, source: "x"}, true},
		{"one from which it may be asked", "2000 10 0 0 rate_limited*1500 x", fact{until: 2000, learned: 10, spare: 1510, reason: 1, source: "x"}, true},
		{"and a reason by number", "2000 10 0 0 7*1 x", fact{until: 2000, learned: 10, spare: 11, reason: 7, source: "x"}, true},
		{"a moment that is not before the end", "2000 10 0 0 rate_limited+1990 x", fact{until: 2000, learned: 10, reason: 1, source: "x"}, true},
		{"one before it was learned", "2000 10 0 0 rate_limited+-5 x", fact{until: 2000, learned: 10, reason: 1, source: "x"}, true},
		{"one at once", "2000 10 0 0 rate_limited*0 x", fact{until: 2000, learned: 10, reason: 1, source: "x"}, true},
		{"no number there", "2000 10 0 0 rate_limited+soon x", fact{until: 2000, learned: 10, reason: 1, source: "x"}, true},
		{"nothing there", "2000 10 0 0 rate_limited+ x", fact{until: 2000, learned: 10, reason: 1, source: "x"}, true},
		{"two of them", "2000 10 0 0 rate_limited+5*5 x", fact{until: 2000, learned: 10, reason: 1, source: "x"}, true},
		{"a number too large there", "2000 10 0 0 rate_limited+92233720368547758070 x", fact{until: 2000, learned: 10, reason: 1, source: "x"}, true},
		{"one of a key that does not cool", "0 0 0 0 -+5 -", fact{}, true},
		{"one that was learned after the end", "5 10 0 0 rate_limited+5 x", fact{until: 5, learned: 10, reason: 1, source: "x"}, true},
		{"nothing", "", fact{}, false},
		{"what the version before wrote", "20 10 0 rate_limited x", fact{}, false},
		{"too few fields", "20 10 0 0 other", fact{}, false},
		{"a negative time", "-20 10 0 0 other x", fact{}, false},
		{"no number", "soon 10 0 0 other x", fact{}, false},
		{"a number too large", "92233720368547758070 10 0 0 other x", fact{}, false},
		{"a fraction", "2e1 10 0 0 other x", fact{}, false},
	} {
		if got, ok := c.decode(row.text); got != row.want || ok != row.ok {
			t.Errorf("%s: %+v, %t, want %+v, %t", row.sentence, got, ok, row.want, row.ok)
		}
	}
}

// journalAt is a journal without Redis that knows Redis' clock.
func journalAt(now time.Time, redis time.Duration) *Journal {
	j := &Journal{
		codec: codec{reasons: reasons}, now: func() time.Time { return now }, node: "node", timeout: time.Second,
		state: rotator.NewState(now), wake: make(chan struct{}, 1), pending: make(map[subject]rotator.Change),
		changed: func(Health) {}, health: Health{Healthy: true},
	}
	j.clock.sample(now, now, redis)
	return j
}

// What a node writes it reads as the same, to the millisecond; what it has read it
// writes as the same to the last digit.
func TestTranslation(t *testing.T) {
	now := time.Now()
	j := journalAt(now, 1_795_488_952_365*time.Millisecond)
	for _, c := range []rotator.Change{
		{Until: now.Add(time.Minute), Learned: now, Reason: 1, Source: "retry-after"},
		{Until: now.Add(time.Minute), Learned: now, Cleared: now.Add(-time.Hour)},
		{Cleared: now.Add(-time.Second)},
		{Until: now.Add(100*time.Microsecond + time.Hour), Learned: now.Add(-time.Microsecond)},
		{Until: now.Add(math.MaxInt64), Learned: now},
		{Until: now.Add(time.Minute), Learned: now, Spare: now.Add(1500 * time.Millisecond), Equal: true},
		{Until: now.Add(time.Minute), Learned: now, Spare: now.Add(time.Minute - time.Second)},
		{Off: rotator.Switch(now.UnixMilli())},
		{Off: -5, Until: now.Add(time.Minute), Learned: now},
	} {
		f := j.remote(c)
		back := j.local(subjectOf(c), f)
		for _, pair := range [][2]time.Time{{c.Until, back.Until}, {c.Learned, back.Learned}, {c.Cleared, back.Cleared}, {c.Spare, back.Spare}} {
			far := pair[0].Sub(now) > 200*365*24*time.Hour
			if c.Off != back.Off || c.Equal != back.Equal || pair[0].IsZero() != pair[1].IsZero() || !far && pair[0].Sub(pair[1]).Abs() >= time.Millisecond {
				t.Errorf("%+v was read as %+v", c, back)
			}
		}
		if again := j.remote(back); again != f {
			t.Errorf("%+v was written as %+v", f, again)
		}
	}
}

// A key is cleared and cools again at once, while this process's idea of Redis'
// clock gets better. The cooldown once came before the clearing in Redis then, and
// the other nodes never heard of it.
func TestOrderOutlivesABetterClock(t *testing.T) {
	for _, shift := range []time.Duration{-150 * time.Millisecond, 0, 150 * time.Millisecond} {
		now := time.Now()
		j := journalAt(now, 1000*time.Hour)
		pool, err := rotator.NewPool(statetest.Keys(t, 1), j.state, now, rotator.WithJournal(j))
		if err != nil {
			t.Fatal(err)
		}
		step := func(do func()) fact {
			do()
			return j.remote(j.take()[0])
		}
		first := step(func() { pool.Cool(now, 0, rotator.Cooldown{For: time.Hour}) })
		j.clock.sample(now, now, 1000*time.Hour+shift)
		cleared := step(func() { pool.Clear(now, 0) })
		j.clock.sample(now, now, 1000*time.Hour)
		second := step(func() { pool.Cool(now, 0, rotator.Cooldown{For: time.Hour}) })
		if !first.void(cleared.cleared) || second.void(cleared.cleared) || second.void(second.cleared) {
			t.Errorf("clock moved by %s: cooled %+v, cleared %+v, cooled %+v", shift, first, cleared, second)
		}
	}
}

// adds must say what the script does.
func TestAdds(t *testing.T) {
	const now = 1000 * tombstone
	for _, row := range []struct {
		sentence string
		f, g     fact
		want     bool
	}{
		{"a cooldown that Redis does not know", fact{until: now + 5000, learned: now}, fact{}, true},
		{"one that is over", fact{until: now, learned: now - 5000}, fact{}, false},
		{"the same", fact{until: now + 5000, learned: now}, fact{until: now + 5000, learned: now}, false},
		{"one that differs by the network's doing", fact{until: now + 5100, learned: now}, fact{until: now + 5000, learned: now}, false},
		{"a later one", fact{until: now + 5101, learned: now}, fact{until: now + 5000, learned: now}, true},
		{"one that Redis knows to be void", fact{until: now + 5000, learned: now - 10}, fact{cleared: now - 5}, false},
		{"one after the clearing", fact{until: now + 5000, learned: now - 10, cleared: now - 20}, fact{cleared: now - 20}, true},
		{"a clearing that Redis does not know", fact{cleared: now - 5}, fact{until: now + 5000, learned: now - 10}, true},
		{"a clearing of what Redis does not know", fact{cleared: now - 5}, fact{}, true},
		{"a clearing that Redis knows", fact{cleared: now - 5}, fact{cleared: now - 5}, false},
		{"a clearing so old that nothing can come from before it", fact{cleared: now - tombstone}, fact{}, false},
		{"a switch that Redis does not know", fact{off: 5}, fact{}, true},
		{"one said after what Redis knows", fact{off: -6}, fact{off: 5}, true},
		{"one said before", fact{off: 5}, fact{off: -6}, false},
		{"of two at once the disabling", fact{off: 6}, fact{off: -6}, true},
		{"and not the enabling", fact{off: -6}, fact{off: 6}, false},
		{"the same switch", fact{off: 6}, fact{off: 6}, false},
		{"an earlier clearing", fact{cleared: now - 5000}, fact{cleared: now - 5}, false},
	} {
		if got := row.f.adds(row.g, now); got != row.want {
			t.Errorf("%s: %t", row.sentence, got)
		}
	}
}

func FuzzFact(f *testing.F) {
	for _, text := range []string{"20 10 0 0 rate_limited retry-after", "0 0 5 0 - -", "2000 10 0 0 rate_limited+1500 x", "2000 10 0 0 7*1 -", "9223372036854775807 1 1 0 16 ", " 1 2 3 4", "- - 0 - - -"} {
		f.Add(text)
	}
	c := codec{reasons: reasons}
	j := journalAt(time.Now(), time.Duration(time.Now().UnixNano()))
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := c.decode(text)
		if !ok {
			return
		}
		if got.reason >= rotator.MaxReasons || min(got.until, got.learned, got.cleared) < 0 {
			t.Fatalf("%q was read as %+v", text, got)
		}
		j.state.Learn(j.now(), j.local(subject{}, got), j)
		j.state.Learn(j.now(), j.local(subject{scope: "gpt-x"}, got), j)
		again, ok := c.decode(encode(c, got))
		if got.until == 0 {
			got.reason = 0
		}
		if !ok || again != got {
			t.Fatalf("%q was read as %+v, and written and read again as %+v", text, got, again)
		}
	})
}
