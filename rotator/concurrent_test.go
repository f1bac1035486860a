package rotator

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// While some goroutines pick and count, others cool by way of pools that come
// and go. The time stands still, so a key that is known to cool must not be
// picked any more, by whichever pool.
func TestConcurrentUse(t *testing.T) {
	const n = 400
	keys, s := makeKeys(t, n), NewState(start)
	shared := makePool(t, keys, s, start)
	var cooled [n]atomic.Bool // set once Cool has returned
	var stop atomic.Bool
	var observers, writers sync.WaitGroup

	for range 4 {
		observers.Go(func() {
			for !stop.Load() {
				for _, scope := range []string{"", "x", "y"} {
					checkPicks(t, shared, scope, cooled[:])
					checkCensus(t, shared, scope)
				}
			}
		})
		observers.Go(func() {
			for !stop.Load() {
				known := snapshot(cooled[:])
				p, err := NewPool(keys, s, start)
				if err != nil {
					t.Error(err)
					return
				}
				if c := p.Census(start); c.Ready > n-len(known) {
					t.Errorf("a new pool has %d ready keys, though %d of %d cool", c.Ready, len(known), n)
				}
				p.Close(start)
				checkPicks(t, p, "x", nil)
			}
		})
	}
	for w := range 4 {
		writers.Go(func() {
			p, err := NewPool(keys, s, start)
			if err != nil {
				t.Error(err)
				return
			}
			for i := w; i < n; i += 4 {
				if i > n/2 {
					p.Close(start) // what it learns must still reach the others
				}
				// In scopes cooldowns come and go meanwhile.
				p.Cool(start, Slot(i), Cooldown{For: 2 * time.Hour, Scope: "x"})
				later := start.Add(1)
				if !p.Cool(later, Slot(i), Cooldown{For: time.Hour - 1, Reason: Reason(w)}) {
					t.Errorf("key %d cools already", i)
				}
				cooled[i].Store(true)
				if i%2 == 0 && !p.Serve(later, start, Slot(i), "x") {
					t.Errorf("key %d does not cool in the scope", i)
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	observers.Wait()

	checkPool(t, shared)
	checkState(t, s)
	if c := shared.Census(start); c.Ready != 0 || c.Cooling[0] != n/4 || c.Cooling[3] != n/4 {
		t.Errorf("the census is %+v", c)
	}
	if c := shared.CensusIn(start.Add(time.Hour), "x"); c.Ready != n/2 {
		t.Errorf("in the scope the census is %+v", c)
	}
	shared.Close(start.Add(2 * time.Hour))
	if len(s.entries)+len(s.scopes)+len(s.pools) != 0 {
		t.Errorf("%d entries are left", len(s.entries))
	}
}

func snapshot(cooled []atomic.Bool) []Slot {
	var known []Slot
	for i := range cooled {
		if cooled[i].Load() {
			known = append(known, Slot(i))
		}
	}
	return known
}

func checkPicks(t *testing.T, p *Pool, scope string, cooled []atomic.Bool) {
	known := snapshot(cooled)
	tried := []Slot{Slot(rand.IntN(p.Len())), Slot(rand.IntN(p.Len()))}
	for range 20 {
		if s, ok := p.PickIn(start, scope, tried); ok && (slices.Contains(known, s) || slices.Contains(tried, s)) {
			t.Errorf("picked slot %d, which cools or has been tried", s)
		}
	}
}

func checkCensus(t *testing.T, p *Pool, scope string) {
	c := p.CensusIn(start, scope)
	cooling := 0
	for _, n := range c.Cooling {
		cooling += n
	}
	if c.Keys != p.Len() || c.Ready+cooling != c.Keys || (c.Soonest > 0) != (cooling > 0) {
		t.Errorf("the census contradicts itself: %+v", c)
	}
}

// Of many answers that come in at once, the latest deadline stays, and one that
// all of them state moves once.
func TestConcurrentCooldowns(t *testing.T) {
	p := makePool(t, makeKeys(t, 2), nil, start)
	var wg sync.WaitGroup
	var moved atomic.Int32
	for i := range 50 {
		wg.Go(func() {
			p.Cool(start, 0, Cooldown{For: time.Duration(1 + i*37%50)})
			if p.Cool(start, 1, Cooldown{For: 50}) {
				moved.Add(1)
			}
		})
	}
	wg.Wait()
	if moved.Load() != 1 {
		t.Errorf("one deadline moved %d times", moved.Load())
	}
	if c := p.Census(start.Add(49)); c.Ready != 0 || c.Soonest != 1 {
		t.Errorf("before the latest deadline the census is %+v", c)
	}
	if c := p.Census(start.Add(50)); c.Ready != 2 {
		t.Errorf("at the latest deadline the census is %+v", c)
	}
}

// Close may be called from several places at once.
func TestConcurrentClose(t *testing.T) {
	s := NewState(start)
	p := makePool(t, makeKeys(t, 10), s, start)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { p.Close(start) })
	}
	wg.Wait()
	checkState(t, s)
	if len(s.entries) != 0 {
		t.Errorf("%d entries are left", len(s.entries))
	}
}

// Requests go out, are refused and served in two pools and several scopes at once, while
// an operator clears and disables, and pools come and go. In the end all agrees, no key is
// believed to be under way or explored, and one that serves is ready.
func TestConcurrentVerdicts(t *testing.T) {
	const n = 40
	keys, s := makeKeys(t, n), NewState(start)
	even, err := NewPool(keys, s, start, WithTurns(), WithRanks(randomRanks(rand.New(rand.NewPCG(1, 2)), n)))
	if err != nil {
		t.Fatal(err)
	}
	pools := []*Pool{even, makeLimited(t, keys, s, Limit{Concurrency: 3})}
	var clock atomic.Int64
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 13))
			for range 3000 {
				request(r, pools[w%2], &clock)
			}
		})
	}
	wg.Go(func() {
		for i := range 300 {
			now, slot := in(time.Duration(clock.Load())), Slot(i%n)
			p, err := NewPool(keys, s, now, WithTurns())
			if err != nil {
				t.Error(err)
				return
			}
			p.Disable(now, slot)
			p.Clear(now, Slot((i+7)%n))
			p.Take(now, Want{Scope: "x"}) // and it is under way when the pool is closed
			p.Enable(now, slot)
			p.Close(now)
		}
	})
	wg.Wait()
	now := in(time.Duration(clock.Load()) + time.Hour)
	checkState(t, s)
	for slot, e := range even.entries {
		if e.explored.Load() != 0 {
			t.Errorf("slot %d is explored, though no request is under way", slot)
		}
		for _, scope := range []string{"", "x", "y"} {
			even.Serve(now, now, Slot(slot), scope)
		}
	}
	for _, p := range pools {
		for _, scope := range []string{"", "x", "y"} {
			if c := p.CensusIn(now, scope); c.Ready+c.Busy != n || c.Usable+c.Busy != n {
				t.Errorf("after all have served, in %q %+v", scope, c)
			}
		}
		checkPool(t, p)
	}
}

// request goes out with a key, and with another one if that is refused.
func request(r *rand.Rand, p *Pool, clock *atomic.Int64) {
	now := func() time.Time { return in(time.Duration(clock.Add(int64(time.Millisecond)))) }
	w := Want{Scope: []string{"", "x", "y"}[r.IntN(3)], Explore: 50 * time.Millisecond}
	var met []Refusal
	for range 3 {
		began := now()
		d, ok := p.Draw(began, w)
		if !ok {
			return
		}
		if w.Tried = append(w.Tried, d.Slot); r.IntN(2) == 0 {
			at := now()
			p.Serve(at, began, d.Slot, w.Scope)
			for i, refusal := range met {
				p.Convict(at, w.Tried[i], refusal)
			}
			p.Settled(d)
			p.End(d.Slot)
			return
		}
		refusal := Refusal{
			Cooldown: Cooldown{For: 100 * time.Millisecond, Reason: limited, Scope: w.Scope}, Began: began, At: now(),
			Step: 5 * time.Millisecond, Max: time.Second, Limit: r.IntN(2) == 0, Shown: r.IntN(2) == 0,
		}
		p.Suspect(d.Slot, refusal)
		met = append(met, refusal)
		p.Settled(d)
		p.End(d.Slot)
	}
}
