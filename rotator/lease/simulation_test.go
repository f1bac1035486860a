package lease_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// loads are how much each of n nodes wants, in parts of the limit.
var loads = []struct {
	name string
	want func(w *world, minute, i, n int) float64
}{
	{"even, too much", func(_ *world, _, _, n int) float64 { return 2 / float64(n) }},
	{"even, half of it", func(_ *world, _, _, n int) float64 { return 0.5 / float64(n) }},
	{"all at one node", func(_ *world, _, i, _ int) float64 {
		if i == 0 {
			return 2
		}
		return 0
	}},
	{"most at one node, a little at the others", func(_ *world, _, i, n int) float64 {
		if i == 0 {
			return 2
		}
		return 0.3 / float64(n)
	}},
	{"each twice the one before", func(_ *world, _, i, _ int) float64 { return 1.2 / float64(int(1)<<min(i, 20)) }},
	{"at one node after the other", func(_ *world, minute, i, n int) float64 {
		if minute%n == i {
			return 1.5
		}
		return 0.01
	}},
	{"at random", func(w *world, _, _, n int) float64 { return w.r.ExpFloat64() * 1.2 / float64(n) }},
}

// No window has more than the limit, and hardly less than one node would use of it, however
// the load is spread. Where the limit is below 20 a node, there may be one more a node.
func TestTheLimitIsUsedAndKept(t *testing.T) {
	minutes := 8
	if testing.Short() {
		minutes = 4
	}
	for _, nodes := range []int{2, 5, 20} {
		for _, most := range []int64{10, 30, 100, 450, 10_000} {
			t.Run(fmt.Sprintf("%d nodes, %d", nodes, most), func(t *testing.T) {
				t.Parallel()
				for seed, load := range loads {
					w := newWorld(t, uint64(seed), most, time.Minute, nodes)
					w.run(5 * time.Second) // they find each other
					for minute := range minutes {
						for i, p := range w.nodes {
							p.demand = load.want(w, minute, i, nodes) * float64(most)
						}
						w.run(time.Minute)
						if minute == 0 {
							w.begin()
						}
					}
					t.Logf("%s: %.1f %% of what one node uses, at most %d in a window; %.1f calls and %.1f asks a second and node",
						load.name, 100*w.share(), w.peak, w.rate(w.calls, minutes), w.rate(w.asks, minutes))
					if w.peak > w.allowed() {
						t.Errorf("%s: %d of %d in a window", load.name, w.peak, most)
					}
					if least := leastShare(most, nodes); w.share() < least {
						t.Errorf("%s: %.3f of what one node uses, want %.2f", load.name, w.share(), least)
					}
				}
			})
		}
	}
}

func (w *world) rate(n, minutes int) float64 {
	return float64(n) / float64((minutes-1)*60*len(w.nodes))
}

// leastShare is how much of the limit is of use at least. Nobody here comes again who was
// refused: where a node has but a few of the limit, what it gets for that comes too late.
func leastShare(most int64, nodes int) float64 {
	switch each := most / int64(nodes); {
	case each >= 100, each >= 20 && nodes <= 5:
		return 0.95
	case each >= 20:
		return 0.93
	case each >= 5 && !testing.Short():
		return 0.95
	case each >= 5:
		return 0.93
	}
	return 0.8
}

// Short windows and long ones.
func TestWindows(t *testing.T) {
	for _, per := range []time.Duration{time.Second, 10 * time.Second, 10 * time.Minute} {
		t.Run(per.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 9, 200, per, 5)
			for i, p := range w.nodes {
				p.demand = []float64{300, 60, 20, 2, 0}[i]
			}
			w.run(5*time.Second + 2*per)
			w.begin()
			w.run(max(3*per, time.Minute))
			t.Logf("%.1f %% of what one node uses, at most %d", 100*w.share(), w.peak)
			if w.peak > w.most || w.share() < 0.95 {
				t.Errorf("%.3f of what one node uses, at most %d in a window", w.share(), w.peak)
			}
		})
	}
}

// Two that want all get half each, and one that wants little gets that.
func TestNobodyGoesWithout(t *testing.T) {
	w := newWorld(t, 3, 300, time.Minute, 3)
	w.nodes[0].demand = 600
	w.run(2 * time.Minute) // it has all
	w.nodes[1].demand, w.nodes[2].demand = 600, 30
	w.run(2 * time.Minute)
	used := make([]int64, 3)
	for range 5 {
		w.run(time.Minute)
		for i, p := range w.nodes {
			used[i] += p.meter.Used(w.now) / 5
		}
	}
	for i, want := range []int64{135, 135, 30} {
		if used[i] < want*2/3 || used[i] > want*6/5 {
			t.Errorf("the nodes have %d in a window, want about %d of node %d", used, want, i)
		}
	}
}

// faults are what happens to nodes, to Redis and on the way between them.
var faults = []struct {
	name string
	do   func(w *world)
}{
	{"a node dies, and another comes", func(w *world) {
		w.nodes = slices.Delete(w.nodes, 0, 1)
		w.join().demand = float64(w.most)
	}},
	{"a node is cut off", func(w *world) { w.nodes[w.r.IntN(len(w.nodes))].cut = true }},
	{"all are connected", func(w *world) {
		for _, p := range w.nodes {
			p.cut = false
		}
	}},
	{"Redis is away", func(w *world) { w.away = true }},
	{"Redis is back", func(w *world) { w.away = false }},
	{"Redis is back, and empty", func(w *world) { w.away = false; w.ledger.Flush() }},
	{"Redis is flushed", func(w *world) { w.ledger.Flush() }},
	{"Redis' clock is set forward", func(w *world) { w.clock += int64(w.r.IntN(7200)) * second }},
	{"Redis' clock is set back", func(w *world) { w.clock -= int64(w.r.IntN(7200)) * second }},
	{"the load moves", func(w *world) {
		for _, p := range w.nodes {
			p.demand = w.r.ExpFloat64() * 2 * float64(w.most) / float64(len(w.nodes))
		}
	}},
}

// Whatever happens, there is never more than the limit and one lease a node, which is its
// fair share; and a window and a term after the last of it, no more than the limit. Nor does
// any of it keep the limit from being used then.
func TestFaults(t *testing.T) {
	histories := 24
	if testing.Short() {
		histories = 6
	}
	for seed := range histories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, uint64(seed), []int64{10, 100, 1000}[seed%3], []time.Duration{10 * time.Second, time.Minute}[seed%2], 2+seed%7)
			w.lossy = true
			faults[len(faults)-1].do(w)
			for range 12 {
				f := faults[w.r.IntN(len(faults))]
				f.do(w)
				w.fault = w.now
				w.run(time.Duration(w.r.Int64N(3 * w.per)))
			}
			if most := 2*w.most + int64(len(w.nodes)+w.names); w.peak > most {
				t.Errorf("%d in a window, want at most %d", w.peak, most)
			}
			if most := w.per + int64(2*lease.Term); w.longest > most {
				t.Errorf("more than the limit for %s after something had happened, want %s", time.Duration(w.longest), time.Duration(most))
			}
			w.heal()
			w.begin()
			w.run(3 * time.Duration(w.per))
			if w.peak > w.allowed() || w.share() < leastShare(w.most, len(w.nodes))-0.05 {
				t.Errorf("afterwards %d of %d in a window, %.3f of what one node uses", w.peak, w.most, w.share())
			}
		})
	}
}

// heal ends all faults, and lets what follows from them pass.
func (w *world) heal() {
	w.away, w.lossy, w.late = false, false, nil
	for i, p := range w.nodes {
		p.cut, p.demand = false, float64(w.most)*[]float64{1.5, 0.1, 0}[min(i, 2)]
	}
	w.run(2*time.Duration(w.per) + 4*lease.Term)
}

// While Redis is away, all nodes together use no more than the limit: their leases, and then
// their fair shares, of which nothing is left unused where all want it.
func TestRedisIsAway(t *testing.T) {
	for _, nodes := range []int{2, 5, 10} {
		w := newWorld(t, 4, 1000, time.Minute, nodes)
		w.nodes[0].demand = 2000
		w.run(3 * time.Minute)
		w.away = true
		w.begin()
		for _, p := range w.nodes {
			p.demand = 2000
		}
		w.run(2 * lease.Term)
		for _, p := range w.nodes[1:] {
			if used := p.meter.Used(w.now); used > 1000/20 {
				t.Errorf("%d nodes: one that had nothing has used %d", nodes, used)
			}
		}
		w.run(3 * time.Minute)
		if w.peak > w.most {
			t.Errorf("%d nodes: %d in a window", nodes, w.peak)
		}
		for _, p := range w.nodes {
			if used := p.meter.Used(w.now); used < 1000/int64(nodes)*9/10 || used > 1000/int64(nodes) {
				t.Errorf("%d nodes: one uses %d, want its fair share", nodes, used)
			}
		}
		w.away = false
		w.run(3 * time.Minute)
		if w.peak > w.most {
			t.Errorf("%d nodes: %d in a window after Redis came back", nodes, w.peak)
		}
	}
}

// A node that has never been answered takes a tenth.
func TestNeverAnswered(t *testing.T) {
	w := newWorld(t, 5, 1000, time.Minute, 1)
	w.away, w.nodes[0].demand = true, 2000
	w.run(90 * time.Second)
	if used := w.nodes[0].meter.Used(w.now); used > 5 {
		t.Errorf("%d are used before others can be out, want a spare", used)
	}
	w.run(2 * time.Minute)
	if used := w.nodes[0].meter.Used(w.now); used != 100 {
		t.Errorf("%d are used, want 100", used)
	}
}

// Redis is flushed when one node has nearly all, and does not say so for a while. The other
// one gets no more for a term.
func TestAFlushGivesNobodyMore(t *testing.T) {
	w := newWorld(t, 8, 1000, time.Minute, 2)
	w.nodes[0].demand = 2000
	w.run(45 * time.Second)
	w.nodes[0].demand = 0
	w.run(time.Second)
	w.ledger.Flush()
	w.nodes[1].demand = 20_000
	w.run(10 * time.Second)
	if w.peak > 1000 || w.nodes[0].meter.Used(w.now) < 900 {
		t.Errorf("%d of 1000 in a window, %d of the node that had them", w.peak, w.nodes[0].meter.Used(w.now))
	}
}

// Before others hear that a node has less, it has. What it holds it says again as soon as it
// finds that they may not know.
func TestWhatANodeHoldsIsWhatItSays(t *testing.T) {
	var ledger statetest.Ledger
	b, now := lease.NewBook(origin), origin
	a, c := &counter{most: 1000, per: 60 * second}, &counter{most: 1000, per: 60 * second}
	b.Share("a", a)
	b.Share("c", c)
	turn := func(check func(lease.Call)) {
		call, _ := b.Next(now)
		check(call)
		b.Settle(call, ledger.Answer(now/1e6, "a", fmt.Sprint("e", now), call))
		now += step
	}
	nothing := func(lease.Call) {}
	turn(nothing)
	turn(nothing) // by now it knows that it is alone
	a.take(now, 20)
	c.take(now, 20)
	a.wanted = 500
	turn(nothing)
	if a.ceiling < 500 || c.ceiling < 21 {
		t.Fatalf("%d and %d may be used", a.ceiling, c.ceiling)
	}
	now += 8 * second // what was wanted is not any more
	turn(func(call lease.Call) {
		if len(call.Asks) != 1 || call.Asks[0].Held > 100 || a.ceiling > max(call.Asks[0].Held, 40) {
			t.Errorf("%+v is said, and %d may be used", call.Asks, a.ceiling)
		}
	})
	ledger.Flush()
	now += 5 * second
	turn(nothing) // it finds out
	turn(func(call lease.Call) {
		if !slices.ContainsFunc(call.Asks, func(k lease.Ask) bool { return k.Name == lease.Hash("a") && k.Held >= 20 }) {
			t.Errorf("%+v is said again, want all that the node holds", call.Asks)
		}
	})
}

// Idle nodes have nothing in Redis, and say only that they are there.
func TestIdle(t *testing.T) {
	w := newWorld(t, 6, 100, 10*time.Second, 3)
	for _, p := range w.nodes {
		p.demand = 20
	}
	w.run(time.Minute)
	if w.ledger.Size() != 1 {
		t.Fatalf("%d limits are known", w.ledger.Size())
	}
	for _, p := range w.nodes {
		p.demand = 0
	}
	w.run(15 * time.Second)
	w.begin()
	w.run(time.Minute)
	if w.ledger.Size() != 0 || w.asks > 0 || w.calls > 3*13 {
		t.Errorf("%d limits are known, %d calls with %d asks in a minute", w.ledger.Size(), w.calls, w.asks)
	}
}

// What a node leaves behind that goes counts as long as it would have.
func TestLeaving(t *testing.T) {
	w := newWorld(t, 7, 100, time.Minute, 2)
	w.nodes[0].demand = 200
	w.run(90 * time.Second)
	gone := w.nodes[0]
	w.ledger.Answer(w.now/1e6, gone.name, "e", gone.book.Leave(w.now))
	w.nodes = w.nodes[1:]
	w.nodes[0].demand = 200
	w.run(5 * time.Second)
	if used := w.nodes[0].meter.Used(w.now); used > 15 {
		t.Errorf("%d are used at once", used)
	}
	w.run(90 * time.Second)
	if used := w.nodes[0].meter.Used(w.now); used < 95 || w.peak > 100 {
		t.Errorf("%d are used later, at most %d in a window", used, w.peak)
	}
}

// What is shared no more costs nothing, and a meter that takes the place of another finds
// its ceiling.
func TestSharing(t *testing.T) {
	var ledger statetest.Ledger
	b, now := lease.NewBook(origin), origin
	ask := func() (c lease.Call) {
		c, _ = b.Next(now)
		b.Settle(c, ledger.Answer(now/1e6, "a", "e", c))
		now += step
		return c
	}
	if !b.Empty() {
		t.Error("there is something")
	}
	m := &counter{most: 500, per: second}
	b.Share("a", m)
	if m.ceiling != 2 {
		t.Errorf("%d may be used before anybody is asked, want 2", m.ceiling)
	}
	ask()
	ask()
	if m.ceiling != 20 {
		t.Errorf("%d may be used when the node is known to be alone, want 20", m.ceiling)
	}
	m.take(now, 20)
	ask()
	if m.ceiling != 40 {
		t.Errorf("%d may be used, want what is used and 20", m.ceiling)
	}
	other := &counter{most: 500, per: second, uses: m.uses, sum: m.sum}
	b.Share("a", other)
	b.Unshare("a")
	ask()
	if other.ceiling != 40 {
		t.Errorf("the meter that has come may use %d, want 40", other.ceiling)
	}
	b.Unshare("a")
	if c := ask(); len(c.Asks) != 1 || c.Asks[0].Want != 20 || c.Asks[0].Held != 20 {
		t.Errorf("%+v is said at the end, want that 20 are used", c.Asks)
	}
	if ask(); !b.Empty() {
		t.Error("something is left")
	}
}

// 100,000 limits that nobody uses are looked at once in a second or two, and one that is
// used then is found.
func TestManyLimits(t *testing.T) {
	var ledger statetest.Ledger
	b, now := lease.NewBook(origin), origin
	meters := make([]counter, 100_000)
	for i := range meters {
		meters[i] = counter{most: 100, per: 60 * second}
		b.Share(fmt.Sprint(i), &meters[i])
	}
	ask := func() int {
		c, due := b.Next(now)
		if due {
			b.Settle(c, ledger.Answer(now/1e6, "a", "e", c))
		}
		now += step
		return len(c.Asks)
	}
	for range 40 {
		if ask() != 0 {
			t.Fatal("something is asked for")
		}
	}
	meters[77_777].take(now, 5)
	asks := 0
	for range 40 {
		asks += ask()
	}
	if asks != 1 || meters[77_777].ceiling < 6 {
		t.Errorf("%d asks, %d may be used", asks, meters[77_777].ceiling)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n, " limits that nobody uses"), func(b *testing.B) {
			book := lease.NewBook(origin)
			for i := range n {
				book.Share(fmt.Sprint(i), &counter{most: 100, per: 60 * second})
			}
			for i := range int64(b.N) {
				c, _ := book.Next(origin + i)
				c.Asks = nil
				book.Settle(c, lease.Reply{Epoch: "e", Nodes: 5})
			}
		})
	}
}
