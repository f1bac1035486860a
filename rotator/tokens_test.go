package rotator

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// draw draws a key for a request of so many tokens.
func draws(t *testing.T, p *Pool, now time.Time, tokens int64, model string) (Drawn, bool) {
	t.Helper()
	return p.Draw(now, Want{Tokens: tokens, Model: model})
}

// A key that has room for some requests is left for these by one that is too large for it; one
// that has room for none is out for all, until it has, or a request ends.
func TestTokens(t *testing.T) {
	const part = time.Minute / 32
	p := makeLimited(t, makeKeys(t, 2), NewState(start), Limit{Tokens: 100, TokensPer: time.Minute})
	first, _ := draws(t, p, start, 70, "")
	second, ok := draws(t, p, start, 70, "")
	if !ok || first.Slot == second.Slot {
		t.Fatalf("the second request has key %d, %t", second.Slot, ok)
	}
	large, ok := draws(t, p, start, 50, "")
	if ok || large.Cramped != 2 || large.Room != 0 {
		t.Errorf("a large one has a key: %t, %d have too little room, the first until %s", ok, large.Cramped, large.Room)
	}
	if c := p.Census(start); c.Ready != 2 {
		t.Errorf("census %+v", c)
	}
	small, ok := draws(t, p, start, 30, "")
	if !ok {
		t.Fatal("a small one has no key")
	}
	if c := p.Census(start); c.Ready != 1 || c.Busy != 1 || c.Cooling[atCapacity] != 1 {
		t.Errorf("a key that is full: census %+v", c)
	}
	if st := p.Status(start, small.Slot); !st.Busy || st.Reason != atCapacity {
		t.Errorf("a key that is full: status %+v", st)
	}
	later := start.Add(time.Second)
	p.Finish(later, small, Used{})
	if c := p.Census(later); c.Ready != 2 {
		t.Errorf("an attempt that failed gives nothing back: census %+v", c)
	}
	p.Finish(later, first, Used{Input: 60, Output: 40})
	if st := p.Status(later, first.Slot); st.Condition != Cooling || st.Left != time.Minute+part-time.Second {
		t.Errorf("a key that has used all: status %+v", st)
	}
	if d, ok := draws(t, p, later, 50, ""); ok || d.Cramped == 0 {
		t.Errorf("the request has a key: %t, %+v", ok, d)
	}
	p.Finish(later, second, Used{Unknown: true})
	if d, ok := draws(t, p, later, 31, ""); ok || d.Room != time.Minute+part-time.Second {
		t.Errorf("the request has a key: %t, %+v", ok, d)
	}
	if d, ok := draws(t, p, later, 30, ""); !ok || d.Slot != second.Slot {
		t.Errorf("what was estimated does not stand: %t, %+v", ok, d)
	}
	checkPool(t, p)
}

// A pool wakes who waits when an answer has used less than was held.
func TestTokensWake(t *testing.T) {
	woken := 0
	keys, s := makeKeys(t, 1), NewState(start)
	p, err := NewPool(keys, s, start, WithLimit(Limit{Tokens: 100, TokensPer: time.Minute, Reason: atCapacity}), WithWake(func() { woken++ }))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := draws(t, p, start, 60, "")
	p.Finish(start, d, Used{Input: 60})
	if woken != 0 {
		t.Errorf("nobody waits, and is woken %d times", woken)
	}
	d, _ = draws(t, p, start, 10, "")
	if _, ok := draws(t, p, start, 40, ""); ok {
		t.Fatal("there is room")
	}
	p.Finish(start, d, Used{})
	if woken != 1 {
		t.Errorf("who waits for room is woken %d times", woken)
	}
	if _, ok := draws(t, p, start, 40, ""); !ok {
		t.Error("there is no room")
	}
}

// By model each model has the whole limit of a key, and no key is out for the others.
func TestLimitsByModel(t *testing.T) {
	p := makeLimited(t, makeKeys(t, 2), NewState(start), Limit{Tokens: 100, TokensPer: time.Minute, Concurrency: 3, Requests: 4, Per: time.Minute, ByModel: true})
	var held []Drawn
	for _, model := range []string{"a", "b"} {
		for range 4 {
			d, ok := draws(t, p, start, 50, model)
			if !ok {
				t.Fatalf("model %s has %d requests", model, len(held))
			}
			held = append(held, d)
		}
		if d, ok := draws(t, p, start, 1, model); ok || d.Cramped != 2 {
			t.Errorf("model %s has more than is allowed: %+v", model, d)
		}
	}
	if c := p.Census(start); c.Ready != 2 {
		t.Errorf("census %+v", c)
	}
	for _, d := range held[:4] {
		p.Finish(start, d, Used{Input: 50})
	}
	st := p.Status(start, 0)
	if len(st.Scopes) != 1 || st.Scopes[0].Scope != "a" || st.Scopes[0].Reason != atCapacity || st.Scopes[0].Source != "config" || st.Condition != Ready {
		t.Errorf("status %+v", st)
	}
	if _, ok := draws(t, p, start, 1, "a"); ok {
		t.Error("what model a has used is forgotten")
	}
	for _, d := range held[4:] {
		p.Finish(start, d, Used{})
	}
	if _, ok := draws(t, p, start, 100, "b"); !ok {
		t.Error("model b has no room")
	}
	for range 3 {
		draws(t, p, start, 0, "c")
		draws(t, p, start, 0, "c")
	}
	if d, ok := draws(t, p, start, 0, "c"); ok || d.Room != 0 {
		t.Errorf("there are more at a time than are allowed: %+v", d)
	}
	checkPool(t, p)
}

// What is counted and held outlives the pool, as requests do: a reload opens no second window.
func TestReloadKeepsTokens(t *testing.T) {
	keys, s := makeKeys(t, 1), NewState(start)
	limit := Limit{Tokens: 100, TokensPer: time.Minute}
	old := makeLimited(t, keys, s, limit)
	used, _ := draws(t, old, start, 10, "")
	held, _ := draws(t, old, start, 30, "")
	old.Finish(start, used, Used{Input: 40})
	p := makeLimited(t, keys, s, limit)
	old.Close(start)
	if _, ok := draws(t, p, start, 31, ""); ok {
		t.Error("the new pool has room for 31 tokens")
	}
	d, ok := draws(t, p, start, 30, "")
	if !ok {
		t.Fatal("the new pool has no room for 30 tokens")
	}
	old.Finish(start, held, Used{Input: 30})
	p.Finish(start, d, Used{Input: 29})
	if d, ok = draws(t, p, start, 1, ""); !ok {
		t.Error("what the old pool held is held still")
	}
	p.Finish(start, d, Used{})
	p.Close(start.Add(3 * time.Hour))
	if len(s.entries) != 0 {
		t.Errorf("%d entries are left", len(s.entries))
	}
	old.Draw(start, Want{Tokens: 5}) // a request that has begun goes on
}

// However many requests come at once, by two pools, no key has more than is allowed, and what
// they hold comes back.
func TestTokensAtOnce(t *testing.T) {
	const keys, most, takers = 4, 1000, 32
	s := NewState(start)
	limit := Limit{Tokens: most, TokensPer: time.Minute}
	pools := []*Pool{makeLimited(t, makeKeys(t, keys), s, limit), makeLimited(t, makeKeys(t, keys), s, limit)}
	var out [keys]atomic.Int64
	var all sync.WaitGroup
	for i := range takers {
		all.Go(func() {
			p := pools[i%2]
			for j := range 2000 {
				tokens := int64(1 + (i*7+j*13)%400)
				d, ok := p.Draw(start, Want{Tokens: tokens, Scope: fmt.Sprint(i % 3)})
				if !ok {
					continue
				}
				if n := out[d.Slot].Add(tokens); n > most {
					t.Errorf("%d tokens with one key", n)
				}
				if j%10 == 0 {
					p.Cool(start, d.Slot, Cooldown{For: time.Hour, Scope: fmt.Sprint(i % 3)})
					p.Serve(start, start, d.Slot, fmt.Sprint(i%3))
				}
				out[d.Slot].Add(-tokens)
				p.Finish(start, d, Used{})
			}
		})
	}
	all.Wait()
	checkState(t, s)
	for i := range keys {
		if d, ok := pools[0].Draw(start, Want{Tokens: most}); !ok {
			t.Errorf("after %d: something is still held, or a key was forgotten: %+v", i, d)
		}
	}
	for _, p := range pools {
		checkPool(t, p)
	}
}

// Whoever is too large for many keys looks at some of them alone.
func TestCrampedIsBounded(t *testing.T) {
	p := makeLimited(t, makeKeys(t, 100), NewState(start), Limit{Tokens: 100, TokensPer: time.Minute})
	for range 100 {
		draws(t, p, start, 60, "")
	}
	if d, ok := draws(t, p, start, 60, ""); ok || d.Cramped != mostCramped {
		t.Errorf("%t, %d keys", ok, d.Cramped)
	}
	if _, ok := p.Draw(start, Want{Tokens: 40, Tried: []Slot{1, 2, 3}}); !ok {
		t.Error("a small one has no key")
	}
}

// A draw with limits allocates nothing, also where it goes past keys.
func TestTokensAllocations(t *testing.T) {
	p := makeLimited(t, makeKeys(t, 20), NewState(start), Limit{Tokens: 100, TokensPer: time.Minute})
	for range 19 {
		draws(t, p, start, 60, "")
	}
	tried := make([]Slot, 0, 4)
	if got := testing.AllocsPerRun(100, func() {
		d, ok := p.Draw(start, Want{Tokens: 60, Tried: tried})
		if !ok {
			t.Fatal("no key")
		}
		p.Finish(start, d, Used{})
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// A key of which little is left comes after all others, is used where there are no others, and
// comes as before when it is full again. What holds for a model holds for that alone.
func TestLittleLeft(t *testing.T) {
	for _, row := range []struct {
		sentence    string
		model, want string // that the key has stated it for, and that requests are for
		now         time.Duration
		last        bool // it comes last
	}{
		{"for all", "", "", 0, true},
		{"while it fills up", "", "", 29 * time.Second, true},
		{"when enough is there again", "", "", 30 * time.Second, false},
		{"for a model", "m", "m", 0, true},
		{"for another one", "m", "n", 0, false},
		{"for a request that names none", "m", "", 0, false},
	} {
		p := makeEven(t, 5, 1)
		p.Learn(start, 2, row.model, []Stated{{Of: "tokens", Limit: 1000, Remaining: 0, Left: time.Minute}})
		now := start.Add(row.now)
		var order []Slot
		for range 10 {
			d, ok := p.Draw(now, Want{Scope: row.want})
			if !ok {
				t.Fatal("no key")
			}
			order = append(order, d.Slot)
		}
		turns := 0
		for i, s := range order {
			if s == 2 {
				turns++
				if row.last && i < 8 {
					t.Errorf("%s: it comes early: %v", row.sentence, order)
				}
			}
		}
		if want := 2; !row.last && turns != want || row.last && turns != 0 {
			t.Errorf("%s: it has %d turns: %v", row.sentence, turns, order)
		}
		for s := range Slot(5) {
			if s != 2 {
				p.Cool(now, s, Cooldown{For: time.Minute})
			}
		}
		if d, ok := p.Draw(now, Want{Scope: row.want}); !ok || d.Slot != 2 {
			t.Errorf("%s: it is not used where no other is ready: %+v, %t", row.sentence, d, ok)
		}
	}
}

// Tiers and weights hold: of a lower tier also a key with little left comes first.
func TestLittleLeftWithinTiers(t *testing.T) {
	p := makeEven(t, 3, 1, WithRanks([]Rank{{Tier: 1, Weight: 1}, {Tier: 1, Weight: 50}, {Tier: 2, Weight: 1}}))
	for s := range Slot(2) {
		p.Learn(start, s, "", []Stated{{Of: "requests", Limit: 10, Remaining: 1, Left: time.Minute}})
	}
	for range 20 {
		if d, ok := p.Draw(start, Want{}); !ok || d.Slot == 2 {
			t.Fatalf("key %d of tier 2 is used", d.Slot)
		}
	}
	q := makeEven(t, 2, 1, WithRanks([]Rank{{Weight: 100}, {Weight: 1}}))
	q.Learn(start, 0, "", []Stated{{Of: "requests", Limit: 10, Remaining: 1, Left: time.Minute}})
	for range 20 {
		if d, _ := q.Draw(start, Want{}); d.Slot != 1 {
			t.Fatalf("the key with little left is used")
		}
	}
}

// Operators are told what is known, as long as it is.
func TestStatusTellsWhatIsStated(t *testing.T) {
	p := makePool(t, makeKeys(t, 1), NewState(start), start)
	if st := p.Status(start, 0); st.Stated != nil {
		t.Errorf("%+v", st.Stated)
	}
	p.Learn(start, 0, "m", []Stated{{Of: "tokens", Limit: 10, Remaining: 4, Left: time.Minute}})
	if st := p.Status(start.Add(time.Second), 0); fmt.Sprint(st.Stated) != "[{m tokens 10 4 59s}]" {
		t.Errorf("%+v", st.Stated)
	}
	if st := p.Status(start.Add(time.Minute), 0); st.Stated != nil {
		t.Errorf("%+v", st.Stated)
	}
}
