package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/draw"
)

func makeEven(t testing.TB, n int, seed uint64, options ...Option) *Pool {
	t.Helper()
	options = append(options, WithTurns(), WithSource(rand.NewPCG(seed, 3)))
	p, err := NewPool(makeKeys(t, n), NewState(start), start, options...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// take draws a slot for a request that is served at once.
func take(t testing.TB, p *Pool, now time.Time, w Want) Slot {
	t.Helper()
	d, ok := p.Draw(now, w)
	if !ok {
		t.Fatal("no key")
	}
	p.End(d.Slot)
	return d.Slot
}

// In a small pool the key that was not used for longest comes next, exactly, whatever
// cools and comes back meanwhile, also where requests do not get the keys of some lots.
func TestTurnsAreExact(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, draw.ShortWay, draw.ShortWay + 1} {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 8))
			p, last := makeEven(t, n, seed, WithLots(randomLots(r, n))), make([]time.Time, n)
			for i := range 40 * n {
				now := in(time.Duration(i))
				if n <= draw.ShortWay || i < n { // beyond, slots that come and go may be late
					disturb(p, r, now)
				}
				w := Want{Shut: p.randomShut(r)}
				if p.CensusFor(now, w).Ready == 0 {
					continue
				}
				s := take(t, p, now, w)
				for other := range Slot(n) {
					if p.all.IsReady(other) && p.isOpen(other, w) && last[other].Before(last[s]) {
						t.Fatalf("%d keys, seed %d, draw %d: slot %d, used at %v, before slot %d, used at %v", n, seed, i, s, last[s], other, last[other])
					}
				}
				last[s] = now
				checkPool(t, p)
			}
		}
	}
}

// disturb may take a key out for a while, or put one back.
func disturb(p *Pool, r *rand.Rand, now time.Time) {
	switch s := Slot(r.IntN(p.Len())); r.IntN(6) {
	case 0:
		p.Cool(now, s, Cooldown{For: time.Duration(1 + r.IntN(2*p.Len()))})
	case 1:
		p.Disable(now, s)
	case 2, 3:
		p.Enable(now, s)
	case 4:
		p.Clear(now, s)
	}
}

// In a large pool slots may come late where others come and go, one or two for each that
// does, and none early: between two turns of a key all others have theirs, but those.
func TestTurnsOfManyAreNeverEarly(t *testing.T) {
	for _, n := range []int{draw.ShortWay + 2, 200, 1500} {
		for seed := range uint64(6) {
			c := newCircle(t, n, seed)
			for i := range 10 * n {
				c.turn(in(time.Duration(i)))
				if i%50 == 0 {
					checkPool(t, c.p)
				}
			}
			t.Logf("%d keys, seed %d: %d came or went; a ready key waited for at most %.1f rounds", n, seed, c.moves, float64(c.longest)/float64(n))
			if c.longest > 5*n {
				t.Errorf("%d keys, seed %d: a ready key had no turn in %d draws", n, seed, c.longest)
			}
		}
	}
}

// circle is a large pool whose keys come and go, and what was seen of their turns.
type circle struct {
	*testing.T
	p       *Pool
	r       *rand.Rand
	draws   int
	moves   int    // of slots that became ready, or ceased to be
	ready   []bool // before the last draw
	since   []int  // slot → the draw since which it is ready
	last    []int  // slot → its last draw
	then    []int  // slot → the moves before that
	longest int    // wait of a slot that was ready all the time
}

func newCircle(t *testing.T, n int, seed uint64) *circle {
	return &circle{
		T: t, p: makeEven(t, n, seed), r: rand.New(rand.NewPCG(seed, 9)), ready: make([]bool, n),
		since: make([]int, n), last: make([]int, n), then: make([]int, n),
	}
}

func (c *circle) turn(now time.Time) {
	if c.r.IntN(30) == 0 {
		disturb(c.p, c.r, now)
	}
	n := c.p.Census(now).Ready
	for s := range Slot(c.p.Len()) {
		is := c.p.all.IsReady(s)
		if is != c.ready[s] && c.draws > 0 {
			c.moves++
			c.since[s] = c.draws
		}
		if c.ready[s] = is; is {
			c.longest = max(c.longest, c.draws-max(c.since[s], c.last[s]))
		}
	}
	s := take(c, c.p, now, Want{})
	c.draws++
	if gap := c.draws - c.last[s]; c.last[s] > 0 && gap < n-2*(c.moves-c.then[s]) {
		c.Fatalf("%d keys: slot %d again after %d draws, %d are ready and %d have come or gone meanwhile", c.p.Len(), s, gap, n, c.moves-c.then[s])
	}
	c.last[s], c.then[s] = c.draws, c.moves
}

// So it is while requests are under way, which are passed over: where the round begins
// anew no key that was used just now comes first.
func TestTurnsOfManyPassOverTheBusy(t *testing.T) {
	const n, busiest = 300, 40
	for seed := range uint64(10) {
		p, r := makeEven(t, n, seed), rand.New(rand.NewPCG(seed, 11))
		last := make([]int, n)
		var open []Slot
		for i := 1; i < 30*n; i++ {
			d, _ := p.Draw(in(time.Duration(i)), Want{})
			if gap := i - last[d.Slot]; last[d.Slot] > 0 && gap < n-2*busiest {
				t.Fatalf("seed %d, draw %d: slot %d again after %d", seed, i, d.Slot, gap)
			}
			last[d.Slot] = i
			if open = append(open, d.Slot); r.IntN(3) > 0 || len(open) > busiest { // some for long
				k := r.IntN(len(open))
				if r.IntN(2) == 0 {
					k = len(open) - 1
				}
				p.End(open[k])
				open = slices.Delete(open, k, k+1)
			}
			for len(open) > busiest {
				k := 1 + r.IntN(len(open)-1)
				p.End(open[k])
				open = slices.Delete(open, k, k+1)
			}
		}
		checkPool(t, p)
	}
}

// The key with the fewest requests under way comes first, and of these the one that was
// not used for longest.
func TestTurnsGoToTheIdle(t *testing.T) {
	for seed := range uint64(50) {
		const n = 9
		r := rand.New(rand.NewPCG(seed, 10))
		p := makeEven(t, n, seed, WithLots(randomLots(r, n)))
		inFlight, last := make([]int, n), make([]int, n)
		var open []Slot
		for i := 1; i < 2000; i++ {
			if len(open) > 0 && r.IntN(5) < 2 {
				k := r.IntN(len(open))
				p.End(open[k])
				inFlight[open[k]]--
				open = slices.Delete(open, k, k+1)
				continue
			}
			w := Want{Shut: p.randomShut(r)}
			d, ok := p.Draw(in(time.Duration(i)), w)
			if !ok {
				continue // none of its lots has keys
			}
			for s := range Slot(n) {
				if !p.isOpen(s, w) {
					continue
				}
				if inFlight[s] < inFlight[d.Slot] || inFlight[s] == inFlight[d.Slot] && last[s] < last[d.Slot] {
					t.Fatalf("seed %d, draw %d: slot %d with %d under way, used at %d, before slot %d with %d, used at %d",
						seed, i, d.Slot, inFlight[d.Slot], last[d.Slot], s, inFlight[s], last[s])
				}
			}
			inFlight[d.Slot]++
			last[d.Slot] = i
			open = append(open, d.Slot)
			if len(open) > 30 {
				p.End(open[0])
				inFlight[open[0]]--
				open = open[1:]
			}
			checkPool(t, p)
		}
	}
}

// Keys have turns in proportion to their weights, spread over the time, and those of a
// higher tier none while a lower one is ready.
func TestTurnsByRank(t *testing.T) {
	ranks := []Rank{{Tier: 1, Weight: 1}, {Tier: 1, Weight: 1}, {Tier: 1, Weight: 3}, {Tier: 1, Weight: 5}, {Tier: 1, Weight: 5}, {Tier: 2, Weight: 9}, {Tier: 2, Weight: 1}}
	p := makeEven(t, len(ranks), 1, WithRanks(ranks))
	const total = 15
	counts := make([]int, len(ranks))
	for i := 1; i <= 40*total; i++ {
		counts[take(t, p, in(time.Duration(i)), Want{})]++
		for s, n := range counts {
			want := 0.0
			if ranks[s].Tier == 1 {
				want = float64(i*int(ranks[s].Weight)) / total
			}
			// Those of one weight take turns: a key's share is even to one or two turns.
			if off := float64(n) - want; off < -2 || off > 2 {
				t.Fatalf("after %d draws slot %d of rank %+v had %d, want %.1f", i, s, ranks[s], n, want)
			}
		}
	}
	for s := range Slot(5) {
		p.Cool(start, s, Cooldown{For: time.Hour})
	}
	clear(counts)
	for i := range 100 {
		counts[take(t, p, in(time.Second+time.Duration(i)), Want{})]++
	}
	if !slices.Equal(counts, []int{0, 0, 0, 0, 0, 90, 10}) {
		t.Errorf("of the second tier %v", counts)
	}
}

// So it is where requests do not get all keys: they take their turns in proportion to the
// weights of those that they get, together, and keys of one weight stay even.
func TestTurnsByRankAndLot(t *testing.T) {
	ranks := []Rank{{Tier: 1, Weight: 1}, {Tier: 1, Weight: 1}, {Tier: 1, Weight: 3}, {Tier: 1, Weight: 3}, {Tier: 1, Weight: 5}, {Tier: 1, Weight: 5}}
	lots := []uint16{0, 1, 0, 1, 2, 1}
	for seed := range uint64(20) {
		p, r := makeEven(t, len(ranks), seed, WithRanks(ranks), WithLots(lots)), rand.New(rand.NewPCG(seed, 12))
		counts, want := make(map[uint8]float64), make(map[uint8]float64) // by weight
		for i := 1; i <= 3000; i++ {
			w := Want{Shut: [...]Lots{nil, {1}, {2}, {1 | 4}}[r.IntN(4)]}
			s, total := take(t, p, in(time.Duration(i)), w), 0.0
			if !p.isOpen(s, w) {
				t.Fatalf("seed %d: slot %d is of a shut lot", seed, s)
			}
			for other, rank := range ranks {
				if p.isOpen(Slot(other), w) {
					total += float64(rank.Weight)
				}
			}
			for other, rank := range ranks {
				if p.isOpen(Slot(other), w) {
					want[rank.Weight] += float64(rank.Weight) / total
				}
			}
			counts[ranks[s].Weight]++
			for weight, n := range want {
				if off := counts[weight] - n; off < -3 || off > 3 {
					t.Fatalf("seed %d: after %d draws keys of weight %d had %.0f, want %.1f", seed, i, weight, counts[weight], n)
				}
			}
		}
		checkPool(t, p)
	}
}

// A small request does not make the tier forget what it owes: where one that gets a single
// key comes between any two others, these get all keys in proportion.
func TestTurnsAreOwedOverSmallRequests(t *testing.T) {
	ranks := []Rank{{Tier: 1, Weight: 1}, {Tier: 1, Weight: 100}, {Tier: 1, Weight: 100}, {Tier: 1, Weight: 100}, {Tier: 1, Weight: 100}}
	p := makeEven(t, len(ranks), 1, WithRanks(ranks), WithLots([]uint16{0, 1, 1, 1, 1}))
	light := 0
	for i := range 401 * 5 {
		now := in(time.Duration(2 * i))
		take(t, p, now, Want{Shut: Lots{2}}) // the light key
		if take(t, p, now.Add(1), Want{}) == 0 {
			light++
		}
	}
	if light < 4 || light > 6 {
		t.Errorf("the light key had %d turns of %d, want 5", light, 401*5)
	}
}

// Buckets whose keys had more requests under way for long are not owed all the turns that
// they missed.
func TestTurnsAreNotOwedForLong(t *testing.T) {
	p := makeEven(t, 2, 1, WithRanks([]Rank{{Tier: 1, Weight: 1}, {Tier: 1, Weight: 2}}))
	busy, _ := p.Draw(start, Want{Among: []Slot{0}})
	p.Draw(start, Want{Among: []Slot{0}})
	for i := range 1000 {
		if s := take(t, p, in(time.Duration(i)), Want{}); s != 1 {
			t.Fatalf("slot %d, which has requests under way", s)
		}
	}
	p.End(busy.Slot)
	p.End(busy.Slot)
	var counts [2]int
	for i := range 30 {
		counts[take(t, p, in(time.Second+time.Duration(i)), Want{})]++
	}
	if counts[0] < 9 || counts[0] > 12 {
		t.Errorf("turns %v, want a third for the first", counts)
	}
}

// Tried keys are passed over, and have their turn afterwards.
func TestTurnsSkipTheTried(t *testing.T) {
	for _, n := range []int{5, 300} {
		p := makeEven(t, n, 4)
		first := take(t, p, start, Want{})
		var order []Slot
		for i := range n - 1 {
			order = append(order, take(t, p, in(time.Duration(1+i)), Want{}))
		}
		now := in(time.Minute)
		if s := take(t, p, now, Want{Tried: []Slot{first, order[0]}}); s != order[1] {
			t.Errorf("%d keys: slot %d, want %d", n, s, order[1])
		}
		want, got := []Slot{first, order[0], order[2]}, make([]Slot, 3)
		for i := range got {
			got[i] = take(t, p, now.Add(time.Duration(i)), Want{})
		}
		if n > draw.ShortWay { // there the tried ones may change places
			slices.Sort(want)
			slices.Sort(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d keys: then slots %v, want %v", n, got, want)
		}
		if _, ok := p.Draw(now, Want{Tried: span(0, Slot(n))}); ok {
			t.Errorf("%d keys: one, though all were tried", n)
		}
		checkPool(t, p)
	}
}

// The first round is in a random order: nodes that start at once do not go through the
// keys in step.
func TestTurnsBeginAtRandom(t *testing.T) {
	const n = 10
	counts := make([]int, n)
	for seed := range uint64(400) {
		counts[take(t, makeEven(t, n, seed), start, Want{})]++
	}
	if q := chiSquare(counts); q < 1e-6 {
		t.Errorf("the first slots are %v, which has p = %v", counts, q)
	}
}

// What a request costs that is drawn, ends and settles allocates nothing; a suspicion
// does once per key.
func TestDrawAllocations(t *testing.T) {
	for _, even := range []bool{false, true} {
		lots := make([]uint16, 1000)
		for i := range lots {
			lots[i] = uint16(i % 2)
		}
		options := []Option{WithRanks(randomRanks(rand.New(rand.NewPCG(1, 1)), 1000)), WithLots(lots), WithAffinity()}
		if even {
			options = append(options, WithTurns())
		}
		p, err := NewPool(makeKeys(t, 1000), NewState(start), start, options...)
		if err != nil {
			t.Fatal(err)
		}
		tried, now := span(3, 18), start
		refusal := func() Refusal {
			return Refusal{Cooldown: Cooldown{For: time.Second, Reason: limited, Source: "default"}, Began: now, At: now, Step: time.Second, Max: time.Minute, Limit: true}
		}
		served := func() {
			now = now.Add(time.Millisecond)
			d, ok := p.Draw(now, Want{Tried: tried, Scope: "gpt-x", Explore: time.Second})
			if !ok {
				t.Fatal("no key")
			}
			p.Settled(d)
			p.Serve(now, now, d.Slot, "gpt-x")
			p.End(d.Slot)
		}
		refused := func() {
			now = now.Add(time.Millisecond)
			d, _ := p.Draw(now, Want{Scope: "gpt-x"})
			p.Suspect(d.Slot, refusal())
			p.Convict(now, d.Slot, refusal())
			p.End(d.Slot)
		}
		for s := range Slot(1000) { // each has been in doubt once
			p.Suspect(s, refusal())
			p.Convict(now, s, refusal())
		}
		for range 5000 {
			refused()
		}
		now = now.Add(time.Minute) // none cools any more, however the keys were drawn
		for _, row := range []struct {
			sentence string
			call     func()
		}{
			{"a request that is served", served},
			{"one that is refused where another serves", refused},
			{"Draw as a last resort", func() {
				d, ok := p.Draw(now, Want{Tried: tried, Among: span20})
				if ok {
					p.End(d.Slot)
				}
			}},
			{"Census", func() { p.CensusIn(now, "gpt-x") }},
			{"a request that does not get all lots", func() {
				for _, w := range []Want{{Shut: Lots{1}}, {Shut: Lots{1}, Affinity: 7}, {Shut: Lots{3}}} {
					if d, ok := p.Draw(now, w); ok {
						p.End(d.Slot)
					}
				}
			}},
			{"its census", func() { p.CensusFor(now, Want{Scope: "gpt-x", Shut: Lots{1}}) }},
		} {
			if got := testing.AllocsPerRun(1000, row.call); got != 0 {
				t.Errorf("even %t: %s allocates %v times", even, row.sentence, got)
			}
		}
	}
}

var span20 = span(0, 20)

// BenchmarkSettle is what a request costs that is served, and one that is refused and
// then served with another key, whose keys come back as fast.
func BenchmarkSettle(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("served/keys=%d", n), func(b *testing.B) {
			p := makeEven(b, n, 1)
			now := start
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Microsecond)
				d, _ := p.Draw(now, Want{})
				p.Serve(now, now, d.Slot, "")
				p.End(d.Slot)
			}
		})
		b.Run(fmt.Sprintf("refused/keys=%d", n), func(b *testing.B) {
			p := makeEven(b, n, 1)
			now := start
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				d, _ := p.Draw(now, Want{})
				r := Refusal{Cooldown: Cooldown{For: time.Duration(n) * time.Millisecond / 2}, Began: now, At: now, Step: time.Second, Max: time.Minute, Limit: true}
				p.Suspect(d.Slot, r)
				p.Convict(now, d.Slot, r)
				p.End(d.Slot)
			}
		})
	}
}
