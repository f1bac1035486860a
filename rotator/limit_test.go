package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/meter"
)

// atCapacity is the reason of the tests' limits.
const atCapacity = MaxReasons - 1

// running is a request under way.
type running struct {
	pool *Pool
	slot Slot
}

// historyPer is the window of a history's limits: each of its parts is two nanoseconds.
const historyPer = 2 * meter.Parts

// limit returns one, for histories that have them.
func (h *history) limit() Option {
	if !h.limited {
		return func(*Pool) {}
	}
	return WithLimit(Limit{Concurrency: h.r.IntN(4), Requests: 1 + h.r.IntN(9), Per: historyPer, Reason: atCapacity, Source: "config"})
}

// atLimit is what a limit should be: the begins and the requests under way, counted.
func (h *history) atLimit(p *Pool, s Slot) bool {
	if p.limit == nil {
		return false
	}
	id, counted, open := p.Key(s).ID(), 0, 0
	for _, began := range h.begun[id] {
		const part = historyPer / meter.Parts
		if end := (h.state.at(began)/part + 1) * part; end+historyPer > h.state.at(h.now) {
			counted++
		}
	}
	for _, r := range h.open {
		if r.pool.Key(r.slot).ID() == id {
			open++
		}
	}
	return counted >= p.limit.Requests || p.limit.Concurrency > 0 && open >= p.limit.Concurrency
}

// full returns how many keys of the pool are at their limit.
func (h *history) full(p *Pool) (n int) {
	for s := range Slot(p.Len()) {
		if h.atLimit(p, s) {
			n++
		}
	}
	return n
}

// takeOrEnd begins a request or ends one. None may get a key that cools, is disabled,
// has been tried or is at its limit, and none may go without one that is not.
func (h *history) takeOrEnd(p *Pool) {
	if len(h.open) > 0 && h.r.IntN(2) == 0 {
		h.endOne()
		return
	}
	w := Want{Scope: h.scope(), Tried: h.tried(p)}
	out := func(s Slot) bool {
		f := h.model.in(w.Scope, p.Key(s).ID())
		return slices.Contains(w.Tried, s) || f.off || f.until.After(h.now) || h.atLimit(p, s)
	}
	lowest := p.lowest(out)
	s, ok := p.Take(h.now, w)
	if exists := lowest <= MaxRank; ok != exists {
		h.Errorf("took in %q: %t, but a key that can be had exists: %t", w.Scope, ok, exists)
	}
	if !ok {
		return
	}
	if out(s) || p.tier(s) != lowest {
		h.Errorf("took slot %d of tier %d, want one of tier %d; it is out: %t", s, p.tier(s), lowest, out(s))
	}
	h.begin(p, s)
}

func (h *history) begin(p *Pool, s Slot) {
	id := p.Key(s).ID()
	h.open = append(h.open, running{p, s})
	h.begun[id] = append(h.begun[id], h.now)
	inWindow := 0
	for _, began := range h.begun[id] {
		if h.now.Sub(began) < historyPer {
			inWindow++
		}
	}
	if inWindow > p.limit.Requests {
		h.Errorf("%d requests in a window, want %d", inWindow, p.limit.Requests)
	}
}

// endOne ends a request, whose pool may be closed by now.
func (h *history) endOne() {
	i := h.r.IntN(len(h.open))
	h.open[i].pool.End(h.open[i].slot)
	h.open = slices.Delete(h.open, i, i+1)
}

func makeLimited(t testing.TB, keys []Key, s *State, l Limit) *Pool {
	t.Helper()
	l.Reason, l.Source = atCapacity, "config"
	p, err := NewPool(keys, s, start, WithSource(rand.NewPCG(5, 6)), WithLimit(l))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Operators see a key at its limit cool, for as long as is known.
func TestStatusAtTheLimit(t *testing.T) {
	const minute = time.Minute
	p := makeLimited(t, makeKeys(t, 1), NewState(start), Limit{Concurrency: 2, Requests: 3, Per: minute})
	check := func(sentence string, now time.Time, left time.Duration, busy bool, c Census) {
		t.Helper()
		st := p.Status(now, 0)
		if st.Left != left || st.Busy != busy || (st.Condition == Ready) != (c.Ready == 1) || st.Condition == Cooling && (st.Reason != atCapacity || st.Source != "config") {
			t.Errorf("%s: status %+v", sentence, st)
		}
		c.Keys = 1
		if c = flat(c); p.Census(now) != c {
			t.Errorf("%s: census %+v, want %+v", sentence, p.Census(now), c)
		}
		checkPool(t, p)
	}
	p.Take(start, Want{})
	check("one is under way", start, 0, false, Census{Ready: 1})
	p.Take(start, Want{})
	check("two are", start, 0, true, Census{Cooling: [MaxReasons]int{atCapacity: 1}, Busy: 1})
	if _, ok := p.Take(start, Want{}); ok {
		t.Error("a third began")
	}
	p.Clear(start, 0)
	check("clearing changes nothing", start, 0, true, Census{Cooling: [MaxReasons]int{atCapacity: 1}, Busy: 1})
	p.End(0)
	check("one has ended", start, 0, false, Census{Ready: 1})
	if _, ok := p.Take(start, Want{}); !ok {
		t.Error("the third did not begin")
	}
	p.End(0)
	p.End(0)
	part := minute / meter.Parts
	check("three have been, in this minute", start, minute+part, false, Census{Cooling: [MaxReasons]int{atCapacity: 1}, Soonest: minute + part})
	p.Cool(start, 0, Cooldown{For: time.Second, Reason: limited})
	check("a shorter cooldown changes nothing", start, minute+part, false, Census{Cooling: [MaxReasons]int{atCapacity: 1}, Soonest: minute + part})
	p.Disable(start, 0)
	p.Enable(start, 0)
	check("nor does to disable and enable it", start, minute+part, false, Census{Cooling: [MaxReasons]int{atCapacity: 1}, Soonest: minute + part})
	check("the minute is over", start.Add(minute+part), 0, false, Census{Ready: 1})
	p.Cool(start.Add(2*minute), 0, Cooldown{For: time.Hour, Reason: atCapacity, Source: "config"})
	check("a cooldown counts by itself", start.Add(2*minute), time.Hour, false, Census{Cooling: [MaxReasons]int{atCapacity: 1}, Soonest: time.Hour})
}

// What is counted outlives the pool: a reload opens no second window.
func TestReloadKeepsWhatIsCounted(t *testing.T) {
	for _, row := range []struct {
		sentence string
		before   Limit
		between  bool // no pool holds the key for a moment
		after    Limit
		more     int // requests that can begin
	}{
		{"the same limit", Limit{Requests: 4, Per: time.Minute}, false, Limit{Requests: 4, Per: time.Minute}, 1},
		{"a moment without a pool", Limit{Requests: 4, Per: time.Minute}, true, Limit{Requests: 4, Per: time.Minute}, 1},
		{"more are allowed", Limit{Requests: 4, Per: time.Minute}, false, Limit{Requests: 6, Per: time.Minute}, 3},
		{"fewer are allowed", Limit{Requests: 4, Per: time.Minute}, false, Limit{Requests: 2, Per: time.Minute}, 0},
		{"in a longer window", Limit{Requests: 4, Per: time.Minute}, false, Limit{Requests: 5, Per: time.Hour}, 2},
		{"in a shorter window", Limit{Requests: 4, Per: time.Hour}, false, Limit{Requests: 4, Per: time.Minute}, 1},
		{"at a time", Limit{Concurrency: 4}, false, Limit{Concurrency: 5}, 2},
		{"at a time, after a moment without a pool", Limit{Concurrency: 4}, true, Limit{Concurrency: 4}, 1},
		{"where nothing was limited", Limit{}, false, Limit{Concurrency: 4}, 1},
	} {
		keys, s := makeKeys(t, 1), NewState(start)
		old := makeLimited(t, keys, s, row.before)
		if row.before == (Limit{}) {
			old.Close(start)
			old = makePool(t, keys, s, start)
		}
		for range 3 {
			old.Take(start, Want{})
		}
		if row.between {
			old.Close(start)
		}
		p := makeLimited(t, keys, s, row.after)
		old.Close(start)
		if known := p.Census(start); (known.Ready == 1) != (row.more > 0) {
			t.Errorf("%s: the new pool begins with %+v", row.sentence, known)
		}
		more := 0
		for {
			if _, ok := p.Take(start, Want{}); !ok {
				break
			}
			more++
		}
		if more != row.more {
			t.Errorf("%s: %d more requests, want %d", row.sentence, more, row.more)
		}
		for range 3 + more {
			old.End(0)
		}
		p.Close(start.Add(3 * time.Hour))
		if len(s.entries) != 0 {
			t.Errorf("%s: %d entries are left", row.sentence, len(s.entries))
		}
	}
}

// However many requests come at once, by two pools and in scopes that open and close,
// no key has more than are allowed, and none is left unused.
func TestConcurrentTakes(t *testing.T) {
	const keys, most, takers = 5, 3, 40
	s := NewState(start)
	pools := []*Pool{
		makeLimited(t, makeKeys(t, keys), s, Limit{Concurrency: most}),
		makeLimited(t, makeKeys(t, keys), s, Limit{Concurrency: most}),
	}
	var open [keys]atomic.Int32
	var refused atomic.Int32
	var wg sync.WaitGroup
	for i := range takers {
		wg.Go(func() {
			p := pools[i%2]
			for j := range 2000 {
				slot, ok := p.Take(start, Want{Scope: fmt.Sprint(i % 3)})
				if !ok {
					refused.Add(1)
					continue
				}
				if n := open[slot].Add(1); n > most {
					t.Errorf("%d requests with one key", n)
				}
				if j%10 == 0 {
					p.Cool(start, slot, Cooldown{For: time.Hour, Scope: fmt.Sprint(i % 3)})
					p.Serve(start, start, slot, fmt.Sprint(i%3))
				}
				open[slot].Add(-1)
				p.End(slot)
			}
		})
	}
	wg.Wait()
	checkState(t, s)
	for _, p := range pools {
		checkPool(t, p)
		taken := 0
		for {
			if _, ok := p.Take(start, Want{}); !ok {
				break
			}
			taken++
		}
		if taken != keys*most {
			t.Errorf("%d requests at a time, want %d: a key was forgotten", taken, keys*most)
		}
		if _, ok := pools[0].Take(start, Want{}); ok {
			t.Error("the other pool takes a key that is at its limit")
		}
		for s := range Slot(keys) {
			for range most {
				p.End(s)
			}
		}
	}
	t.Logf("%d of %d were refused", refused.Load(), takers*2000)
}

func BenchmarkTake(b *testing.B) {
	for name, l := range map[string]Option{
		"none":        func(*Pool) {},
		"concurrency": WithLimit(Limit{Concurrency: 10}),
		"full":        WithLimit(Limit{Concurrency: 1}),
		"requests":    WithLimit(Limit{Requests: 1e6, Per: time.Minute}),
		"shared":      WithLimit(Limit{Requests: 1e6, Per: time.Minute, Shares: alone{}}),
	} {
		b.Run("limit="+name, func(b *testing.B) {
			p, err := NewPool(makeKeys(b, 1000), NewState(start), start, l)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s, ok := p.Take(start, Want{})
				if !ok {
					b.Fatal("no key")
				}
				p.End(s)
			}
		})
	}
}
