package rotator

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// refused is a refusal in the tests' words, which came at that time.
func refused(at time.Duration, c Cooldown) Refusal {
	return Refusal{Cooldown: c, Began: in(at), At: in(at), Step: time.Second, Max: time.Minute}
}

// convicted makes the slot cool: it was refused and another one has served.
func convicted(t testing.TB, p *Pool, at time.Duration, s Slot, r Refusal) {
	t.Helper()
	if p.Suspect(s, r); !p.Convict(in(at), s, r) {
		t.Fatalf("slot %d is not convicted", s)
	}
}

// A request finds out about a key that is not ready, where another is: at most one request
// at a time about each, and only what is worth it.
func TestExplore(t *testing.T) {
	const explore = time.Minute
	day := Cooldown{For: 24 * time.Hour, Reason: quota}
	for _, row := range []struct {
		sentence string
		do       func(p *Pool)
		at       time.Duration
		w        Want
		want     []Slot // that are explored by requests which come one after the other, and stay
	}{
		{"nothing where all are ready", func(*Pool) {}, 0, Want{Explore: explore}, nil},
		{"a suspect that is older than its step", func(p *Pool) { p.Suspect(0, refused(0, day)) }, time.Second, Want{Explore: explore}, []Slot{0}},
		{"not a younger one", func(p *Pool) { p.Suspect(0, refused(0, day)) }, time.Second - 1, Want{Explore: explore}, nil},
		{"however long a time the answer has stated", func(p *Pool) {
			r := refused(0, day)
			r.Stated = time.Hour
			p.Suspect(0, r)
		}, time.Second, Want{Explore: explore}, []Slot{0}},
		{"also if it was refused again since", func(p *Pool) {
			p.Suspect(0, refused(0, day))
			p.Suspect(0, refused(time.Second/2, day))
		}, time.Second, Want{Explore: explore}, []Slot{0}},
		{"several, one for each request", func(p *Pool) {
			p.Suspect(0, refused(0, day))
			p.Suspect(1, refused(0, day))
		}, time.Second, Want{Explore: explore}, []Slot{0, 1}},
		{"not by a request that must not", func(p *Pool) { p.Suspect(0, refused(0, day)) }, time.Second, Want{}, nil},
		{"not by one that has tried it", func(p *Pool) { p.Suspect(0, refused(0, day)) }, time.Second, Want{Explore: explore, Tried: span(0, 1)}, nil},
		{"not where nothing is ready", func(p *Pool) {
			for s := range Slot(6) {
				p.Suspect(s, refused(0, day))
			}
		}, time.Second, Want{Explore: explore}, nil},
		{"a spare key that would rest for long", func(p *Pool) { convicted(t, p, 0, 1, refused(0, day)) }, time.Second, Want{Explore: explore}, []Slot{1}},
		{"not one before its moment", func(p *Pool) { convicted(t, p, 0, 1, refused(0, day)) }, time.Second - 1, Want{Explore: explore}, nil},
		{"not one that is back soon", func(p *Pool) { convicted(t, p, 0, 1, refused(0, Cooldown{For: explore + time.Second})) }, time.Second, Want{Explore: explore}, nil},
		{"nor one that cools for good", func(p *Pool) { p.Cool(start, 1, day) }, time.Hour, Want{Explore: explore}, nil},
		{"nor one that is as good as ready: it has its turn", func(p *Pool) {
			r := refused(0, day)
			r.Limit = true
			convicted(t, p, 0, 1, r)
		}, time.Second, Want{Explore: explore}, nil},
		{"not a disabled one", func(p *Pool) { p.Suspect(0, refused(0, day)); p.Disable(start, 0) }, time.Second, Want{Explore: explore}, nil},
		{"not one of a higher tier than what is ready", func(p *Pool) { p.Suspect(4, refused(0, day)) }, time.Second, Want{Explore: explore}, nil},
		{"but one of the same, where no lower one is ready", func(p *Pool) {
			for s := range Slot(4) {
				p.Cool(start, s, day)
			}
			p.Suspect(4, refused(0, day))
		}, time.Second, Want{Explore: explore}, []Slot{4}},
		{"and of a lower one", func(p *Pool) {
			for s := range Slot(4) {
				p.Suspect(s, refused(0, day))
			}
			p.Cool(start, 0, Cooldown{For: 48 * time.Hour})
		}, time.Second, Want{Explore: explore}, span(1, 4)},
		{"a suspect in the request's scope", func(p *Pool) {
			p.Suspect(0, refused(0, Cooldown{For: explore, Scope: "x"}))
		}, time.Second, Want{Explore: explore, Scope: "x"}, []Slot{0}},
		{"which is ready for others", func(p *Pool) {
			p.Suspect(0, refused(0, Cooldown{For: explore, Scope: "x"}))
		}, time.Second, Want{Explore: explore, Scope: "y"}, nil},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			for _, options := range [][]Option{nil, {WithTurns()}} {
				ranks := []Rank{{Tier: 1, Weight: 1}, {Tier: 1, Weight: 1}, {Tier: 1, Weight: 1}, {Tier: 1, Weight: 1}, {Tier: 2, Weight: 1}, {Tier: 2, Weight: 1}}
				p, err := NewPool(makeKeys(t, len(ranks)), NewState(start), start, append(options, WithRanks(ranks))...)
				if err != nil {
					t.Fatal(err)
				}
				row.do(p)
				for range 2 { // once they are settled, others may
					got := exploreAll(t, p, in(row.at), row.w)
					if !slices.Equal(got, row.want) {
						t.Errorf("explored %v, want %v", got, row.want)
					}
				}
				checkPool(t, p)
			}
		})
	}
}

// exploreAll lets requests go out that stay under way, and then come back.
func exploreAll(t *testing.T, p *Pool, now time.Time, w Want) (explored []Slot) {
	t.Helper()
	var drawn []Drawn
	for range 12 {
		d, ok := p.Draw(now, w)
		if !ok {
			t.Fatal("no key")
		}
		if drawn = append(drawn, d); d.Explores {
			explored = append(explored, d.Slot)
		}
	}
	for _, d := range drawn {
		p.Settled(d)
		p.End(d.Slot)
	}
	slices.Sort(explored)
	return explored
}

// Of many that are to be found out about each has its turn, though a request looks at a
// few only.
func TestExploreMany(t *testing.T) {
	const n = 500
	p := makePool(t, makeKeys(t, n), nil, start)
	for s := range Slot(n - 1) {
		p.Suspect(s, refused(0, Cooldown{For: time.Hour}))
	}
	explored := make(map[Slot]int)
	for range 20 * n {
		d, ok := p.Draw(in(minute), Want{Explore: minute})
		if !ok {
			t.Fatal("no key")
		}
		if d.Explores {
			explored[d.Slot]++
		}
		p.End(d.Slot) // and not settled: each is explored once
	}
	if len(explored) != n-1 {
		t.Errorf("%d keys were explored, want %d", len(explored), n-1)
	}
	for s, times := range explored {
		if times != 1 {
			t.Errorf("slot %d is explored by %d requests at a time", s, times)
		}
	}
}

// So it is where suspects and spare keys, of several ranks, share the looks.
func TestExploreManyOfEachKind(t *testing.T) {
	for _, n := range []int{32, 64, 96, 256} {
		ranks := make([]Rank, 4*n+1)
		for s := range ranks {
			ranks[s] = Rank{Tier: 1, Weight: uint8(1 + s%2)}
		}
		p, err := NewPool(makeKeys(t, len(ranks)), NewState(start), start, WithRanks(ranks))
		if err != nil {
			t.Fatal(err)
		}
		for s := range Slot(4 * n) {
			if r := refused(0, Cooldown{For: time.Hour}); s < Slot(2*n) {
				p.Suspect(s, r)
			} else {
				convicted(t, p, 0, s, r)
			}
		}
		explored := 0
		for range 100 * n {
			d, ok := p.Draw(in(minute), Want{Explore: time.Second})
			if !ok {
				t.Fatal("no key")
			}
			if d.Explores {
				explored++
			}
			p.End(d.Slot)
		}
		if explored != 4*n {
			t.Errorf("%d of %d keys were explored", explored, 4*n)
		}
	}
}

// A key that is found out about is so in all pools of the process, and by one request.
func TestExploreOnceForAllPools(t *testing.T) {
	keys, s := makeKeys(t, 3), NewState(start)
	p, q := makePool(t, keys, s, start), makePool(t, keys, s, start)
	p.Suspect(0, refused(0, Cooldown{For: time.Hour}))
	d, _ := p.Draw(in(minute), Want{Explore: minute})
	if !d.Explores || d.Slot != 0 {
		t.Fatalf("drawn %+v", d)
	}
	if other, _ := q.Draw(in(minute), Want{Explore: minute}); other.Explores {
		t.Errorf("explored twice: %+v", other)
	}
	p.Settled(Drawn{Slot: 0}) // of a request that does not explore: says nothing
	if other, _ := q.Draw(in(minute), Want{Explore: minute}); other.Explores {
		t.Errorf("explored twice: %+v", other)
	}
	p.Settled(d)
	if other, _ := q.Draw(in(minute), Want{Explore: minute}); !other.Explores {
		t.Error("not explored any more")
	}
	if _, ok := p.PickFor(in(minute), Want{Explore: minute}); !ok {
		t.Error("no key")
	}
}

// A key that is at its limit is not explored, and can be when it is not.
func TestExploreAtTheLimit(t *testing.T) {
	p := makeLimited(t, makeKeys(t, 2), NewState(start), Limit{Concurrency: 1})
	p.Suspect(0, refused(0, Cooldown{For: time.Hour}))
	busy, _ := p.Draw(in(1), Want{Tried: []Slot{1}})
	if d, ok := p.Draw(in(minute), Want{Explore: minute}); !ok || d.Slot != 1 || busy.Slot != 0 {
		t.Errorf("drawn %+v, %t while slot %d is at its limit", d, ok, busy.Slot)
	}
	p.End(0)
	p.End(1)
	if d, _ := p.Draw(in(minute), Want{Explore: minute}); !d.Explores {
		t.Errorf("drawn %+v", d)
	}
	checkPool(t, p)
}

// One that another pool has brought to its limit is found out when it is drawn, and is not
// believed to be explored then.
func TestExploreAtTheLimitOfAnotherPool(t *testing.T) {
	keys, s := makeKeys(t, 2), NewState(start)
	p, q := makeLimited(t, keys, s, Limit{Concurrency: 1}), makePool(t, keys, s, start)
	p.Suspect(0, refused(0, Cooldown{For: time.Hour}))
	q.Take(in(1), Want{Among: span(0, 1)})
	if d, ok := p.Draw(in(minute), Want{Explore: minute}); !ok || d.Slot != 1 || d.Explores {
		t.Errorf("drawn %+v, %t", d, ok)
	}
	q.End(0)
	p.End(1)
	if d, _ := p.Draw(in(minute), Want{Explore: minute}); !d.Explores {
		t.Errorf("drawn %+v: the key is believed to be explored", d)
	}
}

// What another node tells of a clearing ends suspicions that are older, for all requests
// and in the scope, and not those since.
func TestClearingElsewhereForgives(t *testing.T) {
	for _, scope := range []string{"", "x"} {
		for _, since := range []time.Duration{0, 2 * time.Second} {
			p := makePool(t, makeKeys(t, 1), nil, start)
			p.Suspect(0, refused(since, Cooldown{For: minute, Scope: scope}))
			c := Change{ID: p.Key(0).ID(), Scope: scope, Cleared: in(time.Second)}
			if ended := p.state.Learn(in(3*time.Second), c, nil); ended != (since == 0) {
				t.Errorf("in %q, of one that came after %s: changed %t", scope, since, ended)
			}
			if ready := p.in(p.state.at(in(3*time.Second)), scope).IsReady(0); ready != (since == 0) {
				t.Errorf("in %q, of one that came after %s: ready %t", scope, since, ready)
			}
			checkPool(t, p)
			checkState(t, p.state)
		}
	}
}

// Once a key has served nothing is kept of what is over, and successes cost no lock.
func TestServedKeysAreForgotten(t *testing.T) {
	for _, scope := range []string{"", "x"} {
		for _, at := range []time.Duration{minute / 2, 2 * minute} { // before it has cooled, and after
			p := makePool(t, makeKeys(t, 1), nil, start)
			convicted(t, p, 0, 0, refused(0, Cooldown{For: minute, Scope: scope}))
			p.Serve(in(at), in(at), 0, scope)
			if e := p.entries[0]; e.usage.marked.Load() || e.doubt != nil || scope != "" && p.state.scopes[scope].terms[p.Key(0).ID()].doubt != nil {
				t.Errorf("in %q after %s: %+v is known of it", scope, at, e.term)
			}
		}
	}
}

// spareAfter returns for how long after at the key is not to be asked.
func spareAfter(t *testing.T, p *Pool, at time.Duration) time.Duration {
	t.Helper()
	d := p.entries[0].doubt
	if d == nil || d.spare == never {
		t.Fatal("the key is not to be asked before its time")
	}
	return time.Duration(d.spare - int64(at))
}

// A key that is convicted again is left alone for twice as long, up to Max.
func TestStepsDouble(t *testing.T) {
	p := makePool(t, makeKeys(t, 2), nil, start)
	again := func(at, began time.Duration) bool {
		r := refused(at, Cooldown{For: 24 * time.Hour, Reason: quota})
		r.Began = in(began)
		p.Suspect(0, r)
		return p.Convict(in(at), 0, r)
	}
	at := time.Duration(0)
	for i, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		want := time.Duration(seconds) * time.Second
		if news := again(at, at); news != (i == 0) {
			t.Errorf("conviction %d is news: %t", i, news)
		}
		if got := spareAfter(t, p, at); got != want {
			t.Errorf("after conviction %d the key rests for %s, want %s", i, got, want)
		}
		again(at+time.Second/2, at-1) // it was under way: says nothing new
		if got := spareAfter(t, p, at); got != want {
			t.Errorf("after one that was under way the key rests for %s, want %s", got, want)
		}
		at += want
	}
	for _, row := range []struct {
		sentence string
		do       func(at time.Duration)
	}{
		{"a success", func(at time.Duration) { p.Serve(in(at), in(at), 0, "") }},
		{"a clearing", func(at time.Duration) { p.Clear(in(at), 0) }},
		{"an enabling", func(at time.Duration) { p.Enable(in(at), 0) }},
		{"a disabling and an enabling", func(at time.Duration) { p.Disable(in(at), 0); p.Enable(in(at), 0) }},
	} {
		at += time.Hour
		again(at, at)
		at += time.Hour
		again(at, at)
		if got := spareAfter(t, p, at); got < 2*time.Second {
			t.Errorf("before %s the key rests for %s", row.sentence, got)
		}
		at += time.Hour
		row.do(at)
		at += time.Second
		again(at, at)
		if got := spareAfter(t, p, at); got != time.Second {
			t.Errorf("after %s the key rests for %s, want the first step", row.sentence, got)
		}
	}
}

// To enable a key that cools takes nothing from it but its step: it may still be asked
// before its time.
func TestEnableKeepsTheSpareMoment(t *testing.T) {
	keys, s := makeKeys(t, 1), NewState(start)
	p := makePool(t, keys, s, start)
	convicted(t, p, 0, 0, refused(0, Cooldown{For: time.Hour, Reason: quota}))
	p.Disable(in(1), 0)
	p.Enable(in(2), 0)
	for _, pool := range []*Pool{p, makePool(t, keys, s, in(3))} {
		if c := pool.Census(in(time.Second)); c.Usable != 1 || c.Ready != 0 {
			t.Errorf("census %+v", c)
		}
	}
	p.Cool(in(minute), 0, Cooldown{For: 2 * time.Hour, Spare: time.Hour})
	p.Enable(in(minute), 0)
	for _, pool := range []*Pool{p, makePool(t, keys, s, in(minute))} {
		if c := pool.Census(in(minute)); c.Usable != 0 || c.Soonest != time.Hour {
			t.Errorf("census %+v", c)
		}
	}
}

// A key that was cleared or has served is convicted all the same by the next refusal, and
// not by those that came before; nor does a conviction need a suspicion of this node.
func TestConvict(t *testing.T) {
	limit := func(r Refusal) Refusal { r.Limit = true; return r }
	stated := func(r Refusal, d time.Duration) Refusal { r.Stated = d; return r }
	r := refused(0, Cooldown{For: minute, Reason: limited})
	for _, row := range []struct {
		sentence string
		do       func(p *Pool)
		r        Refusal
		at       time.Duration
		want     bool
		left     time.Duration
		usable   time.Duration // since the start: when the key may be asked again
		equal    bool
	}{
		{"for a limit: as good as ready a step later", func(p *Pool) { p.Suspect(0, limit(r)) }, limit(r), time.Second / 2, true, minute - time.Second/2, time.Second, true},
		{"for others: a last resort", func(p *Pool) { p.Suspect(0, r) }, r, time.Second / 2, true, minute - time.Second/2, time.Second, false},
		{"with a stated time: then", func(p *Pool) { p.Suspect(0, stated(limit(r), 5*time.Second)) }, stated(limit(r), 5*time.Second), time.Second, true, minute - time.Second, 5 * time.Second, true},
		{"not before the end, if that is stated", func(p *Pool) { p.Suspect(0, stated(r, 2*minute)) }, stated(r, 2*minute), time.Second, true, minute - time.Second, minute, false},
		{"not when the key has served since", func(p *Pool) { p.Suspect(0, r); p.Serve(in(2), in(1), 0, "") }, r, time.Second, false, 0, 0, false},
		{"one that began before says nothing", func(p *Pool) { p.Suspect(0, r); p.Serve(in(2), in(-1), 0, "") }, r, time.Second / 2, true, minute - time.Second/2, time.Second, false},
		{"unless it was a limit: time alone cures it", func(p *Pool) { p.Suspect(0, limit(r)); p.Serve(in(2), in(-1), 0, "") }, limit(r), time.Second, false, 0, 0, false},
		{"and that with a time is not cured", func(p *Pool) {
			p.Suspect(0, stated(limit(r), 5*time.Second))
			p.Serve(in(2), in(-1), 0, "")
		}, stated(limit(r), 5*time.Second), time.Second, true, minute - time.Second, 5 * time.Second, true},
		{"not when it was cleared", func(p *Pool) { p.Suspect(0, r); p.Clear(in(2), 0) }, r, time.Second, false, 0, 0, false},
		{"not when it was enabled", func(p *Pool) { p.Suspect(0, r); p.Enable(in(2), 0) }, r, time.Second, false, 0, 0, false},
		{"not when the stated time is over", func(p *Pool) { p.Suspect(0, stated(limit(r), time.Second/2)) }, stated(limit(r), time.Second/2), time.Second, false, 0, 0, false},
		{"nor when what it would cool for is", func(p *Pool) { p.Suspect(0, r) }, r, minute, false, 0, 0, false},
		{"one that another node made cool, and nothing is known of here", func(p *Pool) {
			p.state.Learn(start, Change{ID: p.Key(0).ID(), Until: in(minute / 2), Learned: start}, nil)
		}, r, time.Second / 2, false, minute - time.Second/2, time.Second, false},
	} {
		p := makePool(t, makeKeys(t, 1), nil, start)
		row.do(p)
		if got := p.Convict(in(row.at), 0, row.r); got != row.want {
			t.Errorf("%s: convicted %t", row.sentence, got)
		}
		if p.Status(in(row.at), 0).Suspect != nil {
			t.Errorf("%s: it is suspect after that", row.sentence)
		}
		if st := p.Status(in(row.at), 0); st.Left != row.left || row.want && (st.Suspect != nil || st.Reason != limited) {
			t.Errorf("%s: status %+v, want %s", row.sentence, st, row.left)
		}
		if row.left > 0 {
			at := row.usable
			before, after := p.Census(in(at-1)), p.Census(in(at))
			_, ready := p.Pick(in(at), nil)
			if before.Usable != 0 || after.Usable != 1 || !ready || p.all.IsReady(0) != (row.equal || at == minute) {
				t.Errorf("%s: censuses %+v and %+v, ready %t", row.sentence, before, after, p.all.IsReady(0))
			}
		}
		checkPool(t, p)
		checkState(t, p.state)
	}
}

// A spare key that proves at its next request that it is out, for less than it cools for
// already, is not asked again before that time.
func TestProofOfASpareKey(t *testing.T) {
	p := makePool(t, makeKeys(t, 1), nil, start)
	convicted(t, p, 0, 0, refused(0, Cooldown{For: time.Hour, Reason: quota}))
	if p.Cool(in(minute), 0, Cooldown{For: 20 * time.Second, Reason: limited}) {
		t.Error("the deadline has moved")
	}
	for _, row := range []struct {
		at     time.Duration
		usable int
	}{{minute, 0}, {minute + 20*time.Second - 1, 0}, {minute + 20*time.Second, 1}} {
		if c := p.Census(in(row.at)); c.Usable != row.usable || c.Ready != 0 {
			t.Errorf("after %s: %+v", row.at, c)
		}
	}
}

// All pools of a state see a suspect, those that come later, too, and so it is in scopes.
func TestSuspectsInAllPools(t *testing.T) {
	keys, s := makeKeys(t, 3), NewState(start)
	p := makePool(t, keys, s, start)
	p.Suspect(0, refused(0, Cooldown{For: minute, Reason: quota, Source: "default"}))
	p.Suspect(1, refused(0, Cooldown{For: minute, Reason: limited, Source: "default", Scope: "x"}))
	later := makePool(t, keys, s, in(1))
	p.Close(in(1))
	third := makePool(t, keys, s, in(1))
	for i, pool := range []*Pool{p, later, third} {
		for scope, want := range map[string][]Slot{"": {1, 2}, "x": {2}, "y": {1, 2}} {
			for range 50 {
				if d, _ := pool.Draw(in(2), Want{Scope: scope}); !slices.Contains(want, d.Slot) && i > 0 {
					t.Errorf("pool %d, scope %q: drawn %d, a suspect", i, scope, d.Slot)
				}
			}
		}
	}
	if later.Serve(in(3), in(2), 0, "") || later.Serve(in(3), in(2), 1, "x") {
		t.Error("a suspect has cooled")
	}
	for _, scope := range []string{"", "x"} {
		if c := third.CensusIn(in(3), scope); c != flat(Census{Keys: 3, Ready: 3}) {
			t.Errorf("scope %q: %+v", scope, c)
		}
		for slot := range Slot(3) {
			if !third.in(third.state.at(in(3)), scope).IsReady(slot) {
				t.Errorf("scope %q: slot %d is not ready after it has served", scope, slot)
			}
		}
	}
	checkState(t, s)
}

// A suspicion in a scope ends, since the scope may never be asked for again; one for all
// requests lasts until it is known.
func TestSuspicionsEnd(t *testing.T) {
	p := makePool(t, makeKeys(t, 2), nil, start)
	p.Suspect(0, refused(0, Cooldown{For: minute}))
	p.Suspect(1, refused(0, Cooldown{For: minute, Scope: "x"}))
	p.Suspect(1, refused(0, Cooldown{For: time.Hour, Scope: "y"}))
	for _, row := range []struct {
		at            time.Duration
		whole, scopes int
	}{{scopeMemory - 1, 1, 2}, {scopeMemory, 1, 1}, {time.Hour, 1, 0}, {1e6 * time.Hour, 1, 0}} {
		p.Pick(in(row.at), nil)
		whole, scopes := 0, len(p.Status(in(row.at), 1).Scopes)
		if p.Status(in(row.at), 0).Suspect != nil {
			whole++
		}
		if whole != row.whole || scopes != row.scopes || len(p.lanes.byScope) != scopes {
			t.Errorf("after %s %d suspicions, %d in scopes, %d lanes", row.at, whole, scopes, len(p.lanes.byScope))
		}
		checkPool(t, p)
	}
}

// People see what a key is suspected of, and one that is to be seen as cooling does.
func TestStatusOfSuspects(t *testing.T) {
	p := makePool(t, makeKeys(t, 1), nil, start)
	r := refused(0, Cooldown{For: minute, Reason: limited, Source: "default"})
	p.Suspect(0, r)
	want := Status{Suspect: &Suspicion{Reason: limited, Source: "default", Left: minute - 1}}
	if st := p.Status(in(1), 0); !reflect.DeepEqual(st, want) {
		t.Errorf("status %+v, want %+v", st, want)
	}
	if c := p.Census(in(1)); c.Ready != 1 || c.Usable != 1 || c.Cooling != [MaxReasons]int{} {
		t.Errorf("census %+v", c)
	}
	r.Shown = true
	p.Suspect(0, r)
	want = Status{Condition: Cooling, Left: minute - 1, Reason: limited, Source: "default", Suspect: &Suspicion{Reason: limited, Source: "default", Left: minute - 1, Shown: true}}
	if st := p.Status(in(1), 0); !reflect.DeepEqual(st, want) {
		t.Errorf("status %+v, want %+v", st, want)
	}
	if c := p.Census(in(1)); c.Ready != 0 || c.Usable != 1 || c.Cooling[limited] != 1 || c.Soonest != minute-1 {
		t.Errorf("census %+v", c)
	}
	if st := p.Status(in(2*minute), 0); st.Condition != Ready || st.Suspect == nil || st.Suspect.Left != 0 {
		t.Errorf("when that would be over: %+v", st)
	}
	r.Scope = "x"
	p.Suspect(0, r)
	if st := p.Status(in(1), 0); len(st.Scopes) != 1 || st.Scopes[0].Left != minute-1 || st.Scopes[0].Suspect == nil || !st.Scopes[0].Suspect.Shown {
		t.Errorf("in a scope: %+v", st.Scopes)
	}
}

// As a last resort, suspects come before spare keys, and of either the one that was not
// used for longest.
func TestLastResort(t *testing.T) {
	for _, n := range []int{6, 300} {
		p := makePool(t, makeKeys(t, n), nil, start)
		for s := range Slot(n) {
			if s%2 == 0 {
				convicted(t, p, 0, s, refused(0, Cooldown{For: time.Hour}))
			} else {
				p.Suspect(s, refused(0, Cooldown{For: time.Hour}))
			}
		}
		now := in(minute)
		var tried []Slot
		for i := range n {
			d, ok := p.Draw(now.Add(time.Duration(i)), Want{Tried: tried})
			if want := Slot(1 - i*2/n); !ok || d.Slot%2 != want || d.Explores || d.Suspect {
				t.Fatalf("%d keys, draw %d: %+v, %t", n, i, d, ok)
			}
			tried = append(tried, d.Slot)
			p.End(d.Slot)
		}
	}
	p := makePool(t, makeKeys(t, 4), nil, start)
	for s := range Slot(4) {
		p.Take(in(time.Duration(4-s)), Want{Among: []Slot{s}}) // the last one was not used for longest
	}
	for s := range Slot(4) {
		p.Suspect(s, refused(time.Second, Cooldown{For: time.Hour}))
	}
	for i, want := range []Slot{3, 2, 1, 0, 3} {
		if s := take(t, p, in(minute+time.Duration(i)), Want{}); s != want {
			t.Errorf("drawn %d, want %d, which was not used for longest", s, want)
		}
	}
}
