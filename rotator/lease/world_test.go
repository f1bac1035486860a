package lease_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/statetest"
)

const (
	second = int64(time.Second)
	step   = int64(50 * time.Millisecond)
	origin = 1_800_000_000 * second
)

// counter is an exact meter: it counts each unit from when it was used until it leaves the
// window.
type counter struct {
	most, per, ceiling int64
	wanted             int64
	uses               []use
	sum                int64
}

type use struct{ at, n int64 }

func (c *counter) Most() int64        { return c.most }
func (c *counter) Per() time.Duration { return time.Duration(c.per) }
func (c *counter) SetCeiling(n int64) { c.ceiling = n }

func (c *counter) Used(at int64) int64 {
	for len(c.uses) > 0 && c.uses[0].at+c.per <= at {
		c.sum -= c.uses[0].n
		c.uses = c.uses[1:]
	}
	return c.sum
}

func (c *counter) Wanted(int64) int64 {
	n := c.wanted
	c.wanted = 0
	return n
}

// take uses up to n, and returns how many.
func (c *counter) take(at, n int64) int64 {
	got := max(min(n, min(c.ceiling, c.most)-c.Used(at)), 0)
	c.wanted += n - got
	if got > 0 {
		c.uses = append(c.uses, use{at, got})
		c.sum += got
	}
	return got
}

// world is nodes that share a limit, at a virtual time. What they ask is answered by a
// statetest.Ledger, unless it is away.
type world struct {
	*testing.T
	r      *rand.Rand
	now    int64
	most   int64
	per    int64
	ledger statetest.Ledger
	clock  int64 // by how much the ledger's is ahead
	away   bool
	nodes  []*player
	names  int
	late   []func() // calls that are still on their way

	all     counter // what all have used
	ideal   counter // what one node would have used of the same
	used    int64   // since begin
	could   int64
	peak    int64 // the most in a window
	calls   int
	asks    int
	lossy   bool
	excess  int64 // since when more than the limit is used; 0: it is not
	fault   int64 // when something was last done to the nodes or the ledger
	longest int64 // for how long after that it was too much
}

// player is a node.
type player struct {
	name   string
	book   *lease.Book
	meter  *counter
	demand float64 // units in a window
	cut    bool
	pause  int64
	tries  int64
}

func newWorld(t *testing.T, seed uint64, most int64, per time.Duration, nodes int) *world {
	w := &world{
		T: t, r: rand.New(rand.NewPCG(seed, 1)), now: origin, most: most, per: int64(per),
		all: counter{per: int64(per), most: math.MaxInt64, ceiling: math.MaxInt64}, ideal: counter{per: int64(per), most: most, ceiling: most},
	}
	for range nodes {
		w.join()
	}
	return w
}

// join adds a node.
func (w *world) join() *player {
	w.names++
	p := &player{name: fmt.Sprintf("n%d", w.names), book: lease.NewBook(w.now), meter: &counter{most: w.most, per: w.per}}
	p.book.Share("limit", p.meter)
	w.nodes = append(w.nodes, p)
	return p
}

// arrivals draws how many requests come in a step, by Poisson.
func (w *world) arrivals(demand float64) (n int64) {
	mean := demand * float64(step) / float64(w.per)
	if mean > 30 {
		return max(int64(mean+math.Sqrt(mean)*w.r.NormFloat64()+0.5), 0)
	}
	for p, end := w.r.Float64(), math.Exp(-mean); p > end; n++ {
		p *= w.r.Float64()
	}
	return n
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now + int64(d); w.now < end; w.now += step {
		for _, i := range w.r.Perm(len(w.nodes)) {
			w.play(w.nodes[i])
		}
		if len(w.late) > 0 && w.r.IntN(40) == 0 && !w.away {
			i := w.r.IntN(len(w.late))
			w.late[i]()
			w.late = append(w.late[:i], w.late[i+1:]...)
		}
		w.watch()
	}
}

// watch keeps how much was used in the window that ends now.
func (w *world) watch() {
	used := w.all.Used(w.now)
	w.peak = max(w.peak, used)
	if used <= w.allowed()+w.apart() {
		w.excess = 0
		return
	}
	if w.excess == 0 {
		w.excess = w.now
	}
	w.longest = max(w.longest, w.now-max(w.excess, w.fault))
}

// allowed is the limit, and a unit a node where it is too small for all to have one set aside.
func (w *world) allowed() int64 {
	if n := int64(len(w.nodes)); w.most < 20*n {
		return w.most + n
	}
	return w.most
}

// apart is what nodes may use beyond the limit that are cut off: their fair shares.
func (w *world) apart() int64 {
	cut := int64(0)
	for _, p := range w.nodes {
		if p.cut {
			cut++
		}
	}
	return cut * (w.most/max(int64(len(w.nodes))-cut, 1) + 1)
}

// play lets requests come to the node, and the node ask.
func (w *world) play(p *player) {
	n := w.arrivals(p.demand)
	got := p.meter.take(w.now, n)
	w.all.take(w.now, got)
	w.used += got
	w.could += w.ideal.take(w.now, n)
	if w.now < p.pause {
		return
	}
	c, due := p.book.Next(w.now)
	if !due {
		return
	}
	w.calls++
	w.asks += len(c.Asks)
	if w.ask(p, c) {
		p.tries = 0
		return
	}
	p.book.Fail(c)
	p.tries++
	p.pause = w.now + min(second/50<<min(p.tries, 10), 2*second)
}

// ask has the call answered, or reports false.
func (w *world) ask(p *player, c lease.Call) bool {
	if w.away || p.cut {
		return false
	}
	answer := func() lease.Reply {
		w.names++
		return w.ledger.Answer((w.now+w.clock)/1e6, p.name, fmt.Sprint("e", w.names), c)
	}
	if w.lossy {
		switch w.r.IntN(50) {
		case 0: // it arrives, and the answer does not
			answer()
			return false
		case 1: // it arrives when nobody waits for it any more
			w.late = append(w.late, func() { answer() })
			return false
		}
	}
	p.book.Settle(c, answer())
	return true
}

// begin forgets what was counted.
func (w *world) begin() { w.used, w.could, w.peak, w.longest, w.calls, w.asks = 0, 0, 0, 0, 0, 0 }

// share is how much was used of what one node would have.
func (w *world) share() float64 { return float64(w.used) / float64(max(w.could, 1)) }
