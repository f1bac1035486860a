package rotator

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// The table of sessions does what a list does that is as long: what was not used for longest
// is forgotten first.
func TestSessionsAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := makePool(t, makeKeys(t, 5), nil, start)
	p.state.sessions.Bound(20)
	var model []Session // the latest first
	keys := make(map[Session]Slot)
	for range 20_000 {
		s := Session(1 + r.IntN(40))
		key, known := p.Home(s)
		at := slices.Index(model, s)
		if known != (at >= 0) || known && key != p.Key(keys[s]).ID() {
			t.Fatalf("session %d: %v, %v, want %v", s, key, known, at >= 0)
		}
		if known {
			model = slices.Insert(slices.Delete(model, at, at+1), 0, s)
		}
		if r.IntN(2) == 0 {
			keys[s] = Slot(r.IntN(5))
			p.SetHome(s, keys[s])
			if at := slices.Index(model, s); at >= 0 {
				model = slices.Delete(model, at, at+1)
			}
			model = slices.Insert(model, 0, s)
			model = model[:min(len(model), 20)]
		}
	}
	if _, room := p.state.sessions.Sizes(); room != 20 {
		t.Errorf("%d entries for 20 sessions", room)
	}
}

// Another pool of the state finds what the first one knew, as after a reload, and its
// session of no name is none.
func TestSessionsOutliveThePool(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 3)
	p := makePool(t, keys, s, start)
	p.SetHome(7, 2)
	p.SetHome(0, 1)
	p.Close(start)
	slices.Reverse(keys)
	q := makePool(t, keys, s, start)
	if id, ok := q.Home(7); !ok || id != q.Key(0).ID() {
		t.Errorf("the new pool knows %v, %v", id, ok)
	}
	if _, ok := q.Home(0); ok {
		t.Error("no session has a home")
	}
	if n := testing.AllocsPerRun(100, func() { q.Home(7); q.SetHome(7, 1) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A full table takes no more than the page on performance says.
func TestSessionsMemory(t *testing.T) {
	p := makePool(t, makeKeys(t, 3), nil, start)
	before := heapInUse()
	for s := range Session(3 * maxSessions) {
		p.SetHome(s+1, 0)
	}
	used := heapInUse() - before
	t.Logf("%d bytes a session", used/maxSessions)
	if n, _ := p.state.sessions.Sizes(); n != maxSessions || used > 80*maxSessions {
		t.Errorf("%d sessions take %d bytes", n, used)
	}
	runtime.KeepAlive(p)
}

// A request goes home while that is ready, of an open lot and untried, and no lower tier
// has a key: against everything else that may be wanted, it comes first.
func TestHome(t *testing.T) {
	ranks := []Rank{{Tier: 1}, {Tier: 1}, {Tier: 2}, {Tier: 2}}
	p, err := NewPool(makeKeys(t, 4), NewState(start), start, WithRanks(ranks), WithLots([]uint16{0, 1, 0, 1}), WithTurns(), WithAffinity())
	if err != nil {
		t.Fatal(err)
	}
	goes := func(what string, w Want, want ...Slot) {
		t.Helper()
		for i := range 20 {
			w.Affinity = Affinity(i)
			if s, ok := p.PickFor(start, w); !ok || !slices.Contains(want, s) {
				t.Errorf("%s: %d, %v, want one of %v", what, s, ok, want)
			}
		}
	}
	var shut Lots
	shut.Add(1)
	goes("at home", Want{Home: 2}, 1)
	goes("tried", Want{Home: 2, Tried: []Slot{1}}, 0)
	goes("shut", Want{Home: 2, Shut: shut}, 0)
	goes("a lower tier", Want{Home: 4}, 0, 1)
	goes("a lower tier that is shut", Want{Home: 3, Tried: []Slot{0}, Shut: shut}, 2)
	goes("a lower tier that was tried", Want{Home: 4, Tried: []Slot{0, 1}}, 3)
	p.Cool(start, 1, Cooldown{For: time.Hour, Scope: "m"})
	goes("out for another model", Want{Home: 2}, 1)
	goes("out for the model", Want{Home: 2, Scope: "m"}, 0)
	p.Cool(start, 0, Cooldown{For: time.Hour})
	p.Cool(start, 1, Cooldown{For: time.Hour})
	goes("the lower tier is out", Want{Home: 4}, 3)
	goes("among others", Want{Home: 4, Among: []Slot{2}}, 2)
	checkPool(t, p)
}

// Who is at home finds out about no other key; who is not does.
func TestHomeIsNotLeftToExplore(t *testing.T) {
	p := makePool(t, makeKeys(t, 3), nil, start)
	p.Cool(start, 0, Cooldown{For: time.Hour, Spare: time.Second})
	now := start.Add(time.Minute)
	if d, ok := p.Draw(now, Want{Home: 3, Explore: time.Second}); !ok || d.Explores || d.Slot != 2 {
		t.Errorf("at home: %+v", d)
	}
	if d, ok := p.Draw(now, Want{Home: 1, Explore: time.Second}); !ok || !d.Explores || d.Slot != 0 {
		t.Errorf("away: %+v", d)
	}
}

// Sessions spread over the keys as chance does, and a pool that was made of the same keys
// in another order, on another node, gives each the same first key.
func TestSessionsSpread(t *testing.T) {
	keys := makeKeys(t, 20)
	other := slices.Clone(keys)
	slices.Reverse(other)
	p, q := makeAffinePool(t, keys), makeAffinePool(t, other)
	counts, r := make([]int, len(keys)), rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		w := Want{Affinity: Affinity(r.Uint64())}
		s, _ := p.PickFor(start, w)
		counts[s]++
		if on, _ := q.PickFor(start, w); q.Key(on).ID() != p.Key(s).ID() {
			t.Fatalf("a session is at %s and at %s", p.Key(s), q.Key(on))
		}
	}
	if prob := chiSquare(counts); prob < 1e-4 {
		t.Errorf("%v: p = %v", counts, prob)
	}
}

func makeAffinePool(t testing.TB, keys []Key) *Pool {
	t.Helper()
	p, err := NewPool(keys, NewState(start), start, WithTurns(), WithAffinity())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// firstModel is select first, as written: the key that requests go to, or the next one.
type firstModel struct{ current Slot }

func (m *firstModel) take(p *Pool, w Want, ranks []Rank) (best Slot, ok bool) {
	n := Slot(p.Len())
	free := func(s Slot) bool {
		return p.all.IsReady(s) && p.isOpen(s, w) && !slices.Contains(w.Tried, s)
	}
	for i := range n {
		s := (m.current + i) % n
		if free(s) && (!ok || ranks[s].Tier < ranks[best].Tier) {
			best, ok = s, true
		}
	}
	if ok && (!p.all.IsReady(m.current) || ranks[best].Tier < ranks[m.current].Tier) {
		m.current = best
	}
	return best, ok
}

// One key serves until it is out, then the next one does, in the order of the config; the
// first one is not gone back to when it is ready again.
func TestFirst(t *testing.T) {
	p, err := NewPool(makeKeys(t, 4), NewState(start), start, WithFirst())
	if err != nil {
		t.Fatal(err)
	}
	var got []Slot
	for i := range 8 {
		now := start.Add(time.Duration(i) * time.Minute)
		s := take(t, p, now, Want{})
		got = append(got, s, take(t, p, now, Want{}))
		if p.Cool(now, s, Cooldown{For: 90 * time.Second}); i == 5 {
			p.Disable(now, 3)
		}
	}
	if want := []Slot{0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("keys in turn are %v, want %v", got, want)
	}
}

// Where all keys are alike, and where tiers and tried ones differ, it is as the model says.
func TestFirstAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		n := 1 + r.IntN(30)
		ranks := make([]Rank, n)
		for i := range ranks {
			ranks[i] = Rank{Tier: uint8(1 + r.IntN(1+int(seed%3)))}
		}
		p, err := NewPool(makeKeys(t, n), NewState(start), start, WithFirst(), WithRanks(ranks))
		if err != nil {
			t.Fatal(err)
		}
		m := firstModel{}
		for i := range 500 {
			now := in(time.Duration(i))
			disturb(p, r, now)
			w := Want{}
			p.Census(now) // lets what has passed be so
			want, ok := m.take(p, w, ranks)
			if got, found := p.PickFor(now, w); found != ok || ok && seed%3 == 0 && got != want || ok && ranks[got].Tier != ranks[want].Tier {
				t.Fatalf("seed %d, draw %d: %d, %v, want %d, %v", seed, i, got, found, want, ok)
			}
			checkPool(t, p)
		}
	}
}

// Requests that do not get the key all others go to move nobody but themselves.
func TestFirstOfSome(t *testing.T) {
	p, err := NewPool(makeKeys(t, 6), NewState(start), start, WithFirst(), WithLots([]uint16{0, 0, 1, 1, 0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	var shut Lots
	shut.Add(0)
	for range 3 {
		for what, want := range map[*Want]Slot{{}: 0, {Shut: shut}: 2, {Tried: []Slot{0}}: 1, {Shut: shut, Tried: []Slot{2, 3}}: 5} {
			if got := take(t, p, start, *what); got != want {
				t.Errorf("%+v goes to %d, want %d", *what, got, want)
			}
		}
	}
	p.Cool(start, 2, Cooldown{For: time.Hour})
	p.Clear(start, 2)
	if got := take(t, p, start, Want{Shut: shut}); got != 2 {
		t.Errorf("a key that was out between two requests was left for %d", got)
	}
}

// BenchmarkSession measures a pick for a session: with its home ready, and for one that has
// none yet.
func BenchmarkSession(b *testing.B) {
	for _, n := range []int{20, 1000, 100_000} {
		p := makeAffinePool(b, makeKeys(b, n))
		for s := range Session(maxSessions) {
			p.SetHome(s+1, Slot(int(s)%n))
		}
		b.Run(fmt.Sprint(n, "/home"), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s := Session(1 + i*7919%maxSessions)
				p.Home(s)
				p.PickFor(start, Want{Affinity: Affinity(s), Home: Slot(int(s-1)%n) + 1})
				p.SetHome(s, Slot(int(s-1)%n))
			}
		})
		b.Run(fmt.Sprint(n, "/new"), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.PickFor(start, Want{Affinity: Affinity(i + 1)})
			}
		})
	}
}
