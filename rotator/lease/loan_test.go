package lease_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// spender is what a node knows of a client's limit, of which each request takes a lump. It
// goes by the rules of package quota.
type spender struct {
	counter
	book    *lease.Book
	name    string
	demand  float64 // units in a window
	room    int64
	lent    bool
	largest int64
	refused int
	asked   int
}

func (s *spender) SetRoom(n int64) { s.room = n }
func (s *spender) Rest()           { s.lent = false }

func (s *spender) Tail(at int64) (tail []lease.Piece) {
	for _, u := range s.uses {
		if left := u.at + s.per - at; left > 0 {
			tail = append(tail, lease.Piece{N: u.n, Left: time.Duration(left)})
		}
	}
	return tail
}

// spend uses n, if there is room for it.
func (s *spender) spend(at, n int64) bool {
	if !s.lent {
		if s.room == 0 {
			s.room = s.most
		}
		s.lent, s.ceiling = true, s.book.Lend("limit", s, s.most)
	}
	used := s.Used(at)
	switch n = min(n, s.most); {
	case used+n > s.most:
		return false
	case used+n > s.ceiling:
		if used > s.ceiling || used+n > s.room {
			s.wanted += n
			return false
		}
	}
	s.largest = max(s.largest, n)
	s.uses, s.sum = append(s.uses, use{at, n}), s.sum+n
	return true
}

// town is nodes that share the limit of a client.
type town struct {
	*world
	lump  float64 // units of a request, at the mean
	nodes []*spender
	all   counter
	ideal counter // of one node
	peak  int64
	used  int64
	could int64
	asks  int
	calls int
	down  bool // Redis is away
}

func newTown(t *testing.T, seed uint64, most int64, per time.Duration, lump float64, nodes int) *town {
	all := counter{per: int64(per), most: math.MaxInt64, ceiling: math.MaxInt64}
	w := &town{world: newWorld(t, seed, most, per, 0), lump: lump, all: all, ideal: all}
	for range nodes {
		w.move()
	}
	return w
}

// move adds a node.
func (w *town) move() *spender {
	w.names++
	s := &spender{counter: counter{most: w.most, per: w.per}, book: lease.NewBook(w.now), name: fmt.Sprintf("n%d", w.names)}
	w.nodes = append(w.nodes, s)
	return s
}

// run lets time pass.
func (w *town) run(d time.Duration) {
	for end := w.now + int64(d); w.now < end; w.now += step {
		for _, i := range w.r.Perm(len(w.nodes)) {
			w.play(w.nodes[i])
		}
		w.peak = max(w.peak, w.all.Used(w.now))
	}
}

func (w *town) play(s *spender) {
	for range w.arrivals(s.demand / w.lump) {
		n := int64(1)
		if w.lump > 1 {
			n = max(int64(w.r.ExpFloat64()*w.lump), 1)
		}
		w.come(s, n)
	}
	if c, due := s.book.Next(w.now); due {
		w.calls++
		w.asks += len(c.Asks)
		if w.down {
			s.book.Fail(c)
			return
		}
		s.book.Settle(c, w.ledger.Answer(w.now/1e6, s.name, fmt.Sprint("e", w.now), c))
	}
}

// come sends a request of n to the node.
func (w *town) come(s *spender, n int64) {
	s.asked++
	if s.spend(w.now, n) {
		w.used += n
		w.all.take(w.now, n)
	} else {
		s.refused++
	}
	if w.ideal.Used(w.now)+n <= w.most {
		w.could += n
		w.ideal.take(w.now, n)
	}
}

// start forgets what was counted.
func (w *town) start() {
	w.used, w.could, w.peak, w.asks, w.calls = 0, 0, 0, 0, 0
	for _, s := range w.nodes {
		s.asked, s.refused = 0, 0
	}
}

// refusals returns the share of requests that were refused.
func (w *town) refusals() float64 {
	asked, refused := 0, 0
	for _, s := range w.nodes {
		asked, refused = asked+s.asked, refused+s.refused
	}
	return float64(refused) / float64(max(asked, 1))
}

// lumps returns the largest requests of all nodes: by so much they may exceed the limit.
func (w *town) lumps() (n int64) {
	for _, s := range w.nodes {
		n += s.largest
	}
	return n
}

// Clients' limits, of which requests take one or many units: never more than the limit and a
// request a node, and hardly less than one node would use, however the load is spread.
func TestLumpsOfALimit(t *testing.T) {
	minutes := 8
	if testing.Short() {
		minutes = 4
	}
	for _, row := range []struct {
		most int64
		lump float64
	}{{60, 1}, {600, 1}, {90_000, 600}, {1_000_000, 3000}} {
		for _, nodes := range []int{1, 2, 5, 20} {
			t.Run(fmt.Sprintf("%d nodes, %d, %.0f a request", nodes, row.most, row.lump), func(t *testing.T) {
				t.Parallel()
				for seed, load := range loads {
					w := newTown(t, uint64(seed), row.most, time.Minute, row.lump, nodes)
					w.run(5 * time.Second)
					for minute := range minutes {
						for i, s := range w.nodes {
							s.demand = load.want(w.world, minute, i, nodes) * float64(row.most)
						}
						w.run(time.Minute)
						if minute == 0 {
							w.start()
						}
					}
					seconds := float64((minutes - 1) * 60 * nodes)
					share := float64(w.used) / float64(max(w.could, 1))
					t.Logf("%s: %.1f %% of what one node uses, at most %d; %.2f %% refused; %.1f calls and %.1f asks a second and node", load.name,
						100*share, w.peak, 100*w.refusals(), float64(w.calls)/seconds, float64(w.asks)/seconds)
					if w.peak > w.most+w.lumps() {
						t.Errorf("%s: %d of %d in a window, and requests of %d", load.name, w.peak, w.most, w.lumps())
					}
					if share < leastShare(row.most/int64(row.lump), nodes) {
						t.Errorf("%s: %.3f of what one node uses", load.name, share)
					}
				}
			})
		}
	}
}

// Who comes after a pause finds room at once, as much as a request takes; and no limit that is
// used for less than half is in anybody's way.
func TestFirstRequestsPass(t *testing.T) {
	for _, nodes := range []int{1, 5} {
		w := newTown(t, 1, 90_000, time.Minute, 1, nodes)
		w.run(6 * time.Second)
		for range 5 {
			for i, s := range w.nodes {
				w.come(s, 15_000/int64(i+1))
				w.run(200 * time.Millisecond)
				w.come(s, 9000/int64(i+1))
				w.run(200 * time.Millisecond)
			}
			w.run(2 * time.Minute)
		}
		if n := w.refusals(); n > 0 || w.peak > 90_000 {
			t.Errorf("%d nodes: %.3f are refused, %d used", nodes, n, w.peak)
		}
	}
}

// What is not used costs nothing: no call but that the nodes are there, and nobody looks at it.
// What was used of it still counts.
func TestALoanRests(t *testing.T) {
	w := newTown(t, 2, 1000, 31*24*time.Hour, 1, 2)
	a, b := w.nodes[0], w.nodes[1]
	w.run(6 * time.Second)
	for range 40 {
		w.come(a, 10)
		w.run(time.Second)
	}
	w.run(30 * time.Second)
	w.start()
	w.run(10 * time.Minute)
	if a.lent || w.asks > 0 {
		t.Errorf("it is looked at: %t; %d asks", a.lent, w.asks)
	}
	if got := a.Used(w.now); got != 400 {
		t.Fatalf("%d are used", got)
	}
	for range 100 {
		w.come(b, 10)
		w.run(time.Second / 5)
	}
	if got := b.Used(w.now); got < 550 || got > 610 {
		t.Errorf("the other node uses %d of what is left, want about 600", got)
	}
	w.run(time.Minute)
	w.start()
	for range 100 {
		w.come(a, 1)
		w.run(time.Second / 5)
	}
	if w.peak > 1000+10 {
		t.Errorf("%d are used in all", w.peak)
	}
}

// What a node has used that ends stands for as long as it counts, and for the next one.
func TestWhatALoanLeaves(t *testing.T) {
	for _, per := range []time.Duration{time.Minute, time.Hour} {
		w := newTown(t, 3, 1000, per, 1, 1)
		w.run(6 * time.Second)
		for range 20 {
			w.come(w.nodes[0], 40)
			w.run(per / 100)
		}
		for range 3 {
			before := w.nodes[0]
			for {
				c := before.book.Leave(w.now)
				before.book.Settle(c, w.ledger.Answer(w.now/1e6, before.name, "e", c))
				if len(c.Asks) == 0 {
					break
				}
			}
			w.nodes = nil
			after := w.move()
			w.run(6 * time.Second)
			for range 60 {
				w.come(after, 10)
				w.run(100 * time.Millisecond)
			}
			if w.peak > 1000+3*10 { // each that is new begins with one
				t.Errorf("%s: %d of 1000 are used", per, w.peak)
			}
		}
		if used := w.all.Used(w.now); used < 950 {
			t.Errorf("%s: only %d of 1000 can be used", per, used)
		}
		w.run(per*101/100 - 40*time.Second)
		w.nodes[0].demand = 0
		w.run(per / 16)
		for range 95 {
			w.come(w.nodes[0], 10)
			w.run(100 * time.Millisecond)
		}
		if used := w.all.Used(w.now); used < 900 {
			t.Errorf("%s: %d of 1000 can be used when that has left the window", per, used)
		}
	}
}

// 100,000 limits of which something is used cost what is in use.
func BenchmarkRestingLoans(b *testing.B) {
	var ledger statetest.Ledger
	book, now := lease.NewBook(origin), origin
	turn := func() {
		if c, due := book.Next(now); due {
			book.Settle(c, ledger.Answer(now/1e6, "a", "e", c))
		}
		now += step
	}
	for i := range 100_000 {
		s := &spender{counter: counter{most: 1000, per: 31 * 24 * 3600 * second}, book: book}
		s.uses, s.sum = []use{{now, 10}}, 10
		book.Lend(fmt.Sprint(i), s, s.most)
	}
	for range 2000 {
		turn()
	}
	b.ResetTimer()
	for range b.N {
		turn()
	}
}
