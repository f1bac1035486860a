package rotator

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"
)

const minute = time.Minute

func TestPoolsShareWhatIsKnown(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 4)
	a := makePool(t, keys[:3], s, start)
	b := makePool(t, []Key{keys[3], keys[2], keys[1]}, s, start)
	other := makePool(t, keys, NewState(start), start)

	if !a.Cool(start, 2, Cooldown{For: minute, Reason: limited}) { // in b it is slot 1
		t.Error("the deadline did not move")
	}
	if got := picked(b, start, nil); !slices.Equal(got, []Slot{0, 2}) {
		t.Errorf("the other pool picks %v", got)
	}
	if b.Cool(start, 1, Cooldown{For: minute / 2, Reason: quota}) {
		t.Error("an earlier deadline from the other pool moved it")
	}
	if !b.Cool(start, 1, Cooldown{For: 2 * minute, Reason: quota}) {
		t.Error("a later deadline from the other pool did not move it")
	}
	want := flat(Census{Keys: 3, Ready: 2, Soonest: 2 * minute, Cooling: [MaxReasons]int{quota: 1}})
	if ca, cb := a.Census(start), b.Census(start); ca != want || cb != want {
		t.Errorf("censuses %+v and %+v, want %+v", ca, cb, want)
	}
	if got := picked(a, start.Add(2*minute-1), nil); !slices.Equal(got, []Slot{0, 1}) {
		t.Errorf("before the later deadline the first pool picks %v", got)
	}
	if got := picked(a, start.Add(2*minute), nil); !slices.Equal(got, []Slot{0, 1, 2}) {
		t.Errorf("at the later deadline the first pool picks %v", got)
	}
	if c := other.Census(start); c.Ready != 4 {
		t.Errorf("a pool of another state has %+v", c)
	}
}

func TestReload(t *testing.T) {
	k := makeKeys(t, 5)
	for _, row := range []struct {
		sentence string
		reloaded []Key
		after    time.Duration
		want     []Slot
	}{
		{"the same keys: the cooling ones stay out", []Key{k[0], k[1], k[2], k[3]}, 0, []Slot{0, 3}},
		{"in another order: the key counts, not its place", []Key{k[2], k[3], k[1], k[0]}, 0, []Slot{1, 3}},
		{"new keys are ready, removed ones no matter", []Key{k[4], k[2], k[0]}, 0, []Slot{0, 2}},
		{"cooling ones alone: none is ready", []Key{k[2], k[1]}, 0, nil},
		{"what was learned still ends in time, not earlier", []Key{k[2], k[1]}, minute - 1, nil},
		{"what was learned still ends in time, not later", []Key{k[2], k[1]}, minute, []Slot{1}},
		{"each at its own", []Key{k[2], k[1]}, 2 * minute, []Slot{0, 1}},
	} {
		for _, order := range []string{"new before old is closed", "old closed first"} {
			t.Run(row.sentence+", "+order, func(t *testing.T) {
				s := NewState(start)
				old := makePool(t, k[:4], s, start)
				old.Cool(start, 1, Cooldown{For: minute, Reason: limited})
				old.Cool(start, 2, Cooldown{For: 2 * minute, Reason: quota})
				if order == "old closed first" {
					old.Close(start)
				}
				p := makePool(t, row.reloaded, s, start)
				old.Close(start)
				if got := picked(p, start.Add(row.after), nil); !slices.Equal(got, row.want) {
					t.Errorf("picked %v, want %v", got, row.want)
				}
				checkPool(t, p)
				checkState(t, s)
			})
		}
	}
}

// checkState checks what must hold between any two calls.
func checkState(t testing.TB, s *State) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	orphans := 0
	for id, e := range s.entries {
		checkTerm(t, &e.term)
		if len(e.members) == 0 {
			orphans++
		}
		for _, m := range e.members {
			if m.pool.keys[m.slot].ID() != id {
				t.Fatalf("the entry of %s leads to %v", id, m.pool.keys[m.slot])
			}
		}
	}
	if orphans != s.orphans {
		t.Fatalf("%d entries without a pool, %d counted", orphans, s.orphans)
	}
	for name, sc := range s.scopes {
		checkScope(t, name, sc)
	}
	if len(s.scopes) > MaxScopes+1 {
		t.Fatalf("%d scopes", len(s.scopes))
	}
}

// checkTerm checks that nothing is kept of what is over.
func checkTerm(t testing.TB, known *term) {
	t.Helper()
	d := known.doubt
	if d == nil {
		return
	}
	if known.until == 0 && d.spare != never || d.spare > known.until || d.step < 0 || (d.step == 0) != (d.last == never) {
		t.Fatalf("what is known until %d has the doubt %+v", known.until, *d)
	}
}

func checkScope(t testing.TB, name string, sc *scope) {
	t.Helper()
	cooling, doubted, end := 0, 0, int64(never)
	for _, term := range sc.terms {
		checkTerm(t, term)
		if term.until != 0 {
			cooling++
			end = max(end, term.until)
		}
		if d := term.doubt; d != nil && d.since != never {
			doubted++
			end = max(end, d.end)
		}
	}
	if cooling != sc.cooling || doubted != sc.doubted || sc.end < end || sc.name != name {
		t.Fatalf("scope %s: %d cooling and %d suspect until %d, it says %d and %d until %d", name, cooling, doubted, end, sc.cooling, sc.doubted, sc.end)
	}
}

func TestRemovedKeyComesBackCooling(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 3)
	first := makePool(t, keys, s, start)
	first.Cool(start, 2, Cooldown{For: minute, Reason: limited})
	without := makePool(t, keys[:2], s, start.Add(1))
	first.Close(start.Add(1))
	back := makePool(t, keys, s, start.Add(minute/2))
	without.Close(start.Add(minute / 2))
	if got := picked(back, start.Add(minute-1), nil); !slices.Equal(got, span(0, 2)) {
		t.Errorf("before its deadline picked %v", got)
	}
	if got := picked(back, start.Add(minute), nil); !slices.Equal(got, span(0, 3)) {
		t.Errorf("at its deadline picked %v", got)
	}
	checkState(t, s)
}

func TestClosedPool(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 3)
	old := makePool(t, keys, s, start)
	current := makePool(t, keys[:2], s, start)
	for range 3 {
		old.Close(start)
		checkState(t, s)
	}
	if got := picked(old, start, []Slot{1}); !slices.Equal(got, []Slot{0, 2}) {
		t.Errorf("the closed pool picks %v", got)
	}
	if !old.Cool(start, 0, Cooldown{For: minute, Reason: limited}) {
		t.Error("the closed pool's news did not move the deadline")
	}
	if got := picked(current, start, nil); !slices.Equal(got, []Slot{1}) {
		t.Errorf("the current pool picks %v, though slot 0 was cooled by way of the closed one", got)
	}
	// Nobody holds the third key; whoever holds it next must know.
	if !old.Cool(start, 2, Cooldown{For: minute, Reason: limited}) {
		t.Error("news about a key that no pool holds was refused")
	}
	next := makePool(t, keys[2:], s, start)
	if _, ok := next.Pick(start, nil); ok {
		t.Error("the next pool picks a key that was cooled while no pool held it")
	}
	checkPool(t, old)
	checkState(t, s)
}

func TestStateForgets(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 4)
	for _, row := range []struct {
		sentence string
		do       func()
		want     int
	}{
		{"a pool that cooled none leaves none", func() { makePool(t, keys, s, start).Close(start) }, 0},
		{"a closed pool leaves those that cool", func() {
			p := makePool(t, keys, s, start)
			p.Cool(start, 0, Cooldown{For: minute})
			p.Cool(start, 1, Cooldown{For: 2 * minute})
			p.Close(start)
		}, 2},
		{"of two cooldowns one has ended when the next pool comes", func() {
			makePool(t, keys[2:], s, start.Add(minute)).Close(start.Add(minute))
		}, 1},
		{"what a closed pool learns is kept", func() {
			p := makePool(t, keys, s, start.Add(minute))
			p.Close(start.Add(minute))
			p.Cool(start.Add(minute), 3, Cooldown{For: minute})
		}, 2},
		{"a pool that comes sweeps before any goes", func() { makePool(t, nil, s, start.Add(2*minute)) }, 0},
	} {
		row.do()
		checkState(t, s)
		if len(s.entries) != row.want {
			t.Errorf("%s: %d entries, want %d", row.sentence, len(s.entries), row.want)
		}
	}
}

// An entry that outlives its pool once kept it alive, with all its keys, by what
// was left behind the end of the list of members.
func TestClosedPoolIsFreed(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 2)
	p := makePool(t, keys, s, start)
	p.Cool(start, 0, Cooldown{For: minute})
	freed := weak.Make(p)
	p.Close(start)
	p = nil
	runtime.GC()
	if freed.Value() != nil {
		t.Error("the state holds a closed pool")
	}
	if len(s.entries) != 1 {
		t.Errorf("%d entries, want the cooling one", len(s.entries))
	}
}

// All cooldowns of a large pool, each at another time, then all at once.
func TestManyKeys(t *testing.T) {
	const n = 100_000
	s := NewState(start)
	p := makePool(t, makeKeys(t, n), s, start)
	r := rand.New(rand.NewPCG(3, 4))
	for i, slot := range r.Perm(n) {
		// Permuted again: the order of the deadlines is not that of the calls.
		p.Cool(start, Slot(slot), Cooldown{For: time.Duration(1 + i*7919%n), Reason: limited})
	}
	checkPool(t, p)
	if _, ok := p.Pick(start, nil); ok {
		t.Error("picked a cooling key")
	}
	for _, at := range []time.Duration{1, 2, 1000, 1001, n / 2, n - 1} {
		want := flat(Census{Keys: n, Ready: int(at), Soonest: 1, Cooling: [MaxReasons]int{limited: n - int(at)}})
		if got := p.Census(start.Add(at)); got != want {
			t.Errorf("after %d deadlines the census is %+v, want %+v", at, got, want)
		}
	}
	for slot := range Slot(n) {
		p.Cool(start.Add(n), slot, Cooldown{For: minute, Reason: quota})
	}
	end := start.Add(n + minute)
	if c := p.Census(end.Add(-1)); c.Ready != 0 || c.Soonest != 1 || c.Cooling[quota] != n {
		t.Errorf("before the common deadline the census is %+v", c)
	}
	if _, ok := p.Pick(end, nil); !ok {
		t.Error("no key at the common deadline")
	}
	if c := p.Census(end); c.Ready != n || c.Cooling != [MaxReasons]int{} {
		t.Errorf("at the common deadline the census is %+v", c)
	}
	checkPool(t, p)
	p.Close(end)
	if len(s.entries) != 0 {
		t.Errorf("%d entries are left", len(s.entries))
	}
}
