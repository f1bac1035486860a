package keep_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// The suite's own store keeps what it promises.
func TestShelf(t *testing.T) {
	statetest.RunStore(t, func(testing.TB) statetest.Store {
		s := new(statetest.Shelf)
		return func(testing.TB) keep.Store { return s }
	})
}

// What one node counts the others tell, also those that come later.
func TestNodesTellTheSame(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.use(2 * time.Minute)
		w.agree("after two minutes")
		w.start()
		w.agree("with a new node")
	})
}

// A node that ends loses nothing, and one that dies what came in since it wrote.
func TestRestarts(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		for range 5 {
			w.use(20 * time.Second)
			w.nodes[0].stop(true)
			w.nodes = w.nodes[1:]
			w.start()
		}
		w.agree("after restarts")
		for range 5 {
			w.use(20 * time.Second)
			time.Sleep(keep.Interval)
			w.nodes[0].stop(false)
			w.nodes = w.nodes[1:]
			w.start()
		}
		w.agree("after deaths")
		for _, n := range w.nodes {
			n.stop(true)
		}
		w.nodes = nil
		w.start()
		w.agree("after all have ended")
	})
}

// While the store is away each node tells what it knows, and nothing piles up.
func TestAway(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.use(time.Minute)
		w.agree("before")
		w.away.Store(true)
		w.use(50 * time.Minute)
		n := w.nodes[0]
		began, ctx := time.Now(), context.Background()
		n.keeper.Refresh(ctx, n.book)
		if took := time.Since(began); took != 0 {
			t.Errorf("who asks waits for %s", took)
		}
		told := n.told()
		n.All(func(span keep.Span, c keep.Cell) {
			if got := told[span][c.Name]; got[0] < c.Counts[0] {
				t.Errorf("%v of %v in %v", got, c, span)
			}
		})
		w.agree("after it has come back")
	})
}

// A store that has done what it says that it could not counts nothing twice.
func TestUnknownOutcome(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for range 40 {
			w.deaf.Store(1 + rand.Int64N(8))
			w.use(10 * time.Second)
		}
		w.agree("after deaf replies")
	})
}

// A replica that takes over has not all of the last writes: the nodes send them again.
func TestRollback(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for range 20 {
			w.use(time.Duration(1+rand.IntN(20)) * time.Second)
			then := w.Copy()
			w.use(time.Duration(1+rand.IntN(60)) * time.Second)
			w.Return(then)
		}
		w.use(10 * time.Second)
		w.agree("after many failovers")
		then := w.Copy()
		w.use(time.Minute)
		w.Return(then)
		time.Sleep(patience)
		w.agree("after one that nobody has noticed")
	})
}

// A store that comes back empty has all again, also what nodes have counted that are no more.
func TestFlush(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.use(3 * time.Minute)
		w.nodes[0].stop(true)
		w.nodes = w.nodes[1:]
		w.start()
		w.use(6 * time.Minute) // all have read what the first one has left
		for range 5 {
			w.Flush()
			w.use(time.Duration(rand.IntN(40)) * time.Second)
		}
		time.Sleep(patience)
		w.agree("after it was empty")
		w.Flush()
		w.away.Store(true)
		w.use(time.Minute)
		w.agree("after it was away and empty")
		w.start()
		w.agree("with a new node")
	})
}

// So has a span that is not read: of a time at which the clock was before it was set back, or one
// that is old. What is counted meanwhile waits for that no longer than a few seconds.
func TestLostBeyondWhatIsRead(t *testing.T) {
	for name, off := range map[string]keep.Span{
		"hours ahead": {Number: 8 * 60}, "weeks ahead": {Day: true, Number: 40},
		"an hour and a half old": {Number: -90}, "thirty days old": {Day: true, Number: -30},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				n, far := w.nodes[0], keep.Span{Pool: "main", Day: off.Day, Number: time.Now().Unix() / 60}
				if far.Day {
					far.Number /= 24 * 60
				}
				far.Number += off.Number
				n.Count(far, "cada", keep.Counts{1})
				time.Sleep(2 * keep.Interval)
				w.Flush()
				n.Count(far, "cada", keep.Counts{2})
				time.Sleep(2 * keep.Interval)
				w.count(n, "cada")
				n.Count(far, "cada", keep.Counts{4})
				w.truth[far] = map[string]keep.Counts{"cada": {7}}
				time.Sleep(4 * keep.Interval)
				w.holds()
			})
		})
	}
}

// holds checks that the store has all that is true.
func (w *world) holds() {
	w.Helper()
	for span, want := range w.truth {
		all, err := w.Read(w.Context(), []keep.Span{span}, []string{""})
		if err != nil {
			w.Fatal(err)
		}
		got := make(map[string]keep.Counts)
		for _, c := range all[0].Cells {
			got[c.Name] = c.Counts
		}
		if !maps.Equal(got, want) {
			w.Errorf("the store has %v in %+v, want %v", got, span, want)
		}
	}
}

// So it has if nodes come first that do not know what it held.
func TestFlushAndNewNodes(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.use(time.Minute)
		w.nodes[0].stop(true)
		w.nodes = w.nodes[1:]
		time.Sleep(patience)
		for range 3 {
			w.Flush()
			for range 2 {
				w.count(w.start(), "cada")
			}
			w.use(time.Duration(rand.IntN(20)) * time.Second)
			time.Sleep(patience)
			w.agree("after it was empty")
		}
		for _, n := range w.nodes[1:] { // all but one that nobody uses
			n.stop(true)
		}
		w.nodes = w.nodes[:1]
		time.Sleep(patience)
		w.Flush()
		w.count(w.start(), "cada")
		time.Sleep(patience)
		w.agree("after it was empty")
	})
}

// A pool that goes to another store takes with it what it knows.
func TestAnotherStore(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.use(time.Minute)
		w.agree("before")
		other := new(statetest.Shelf)
		n := w.nodes[0]
		next := keep.NewKeeper(other, time.Now, func(error) {})
		next.Keep(n.book)
		n.keeper.Drop(n.book)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); next.Run(ctx) }()
		time.Sleep(10 * keep.Interval)
		late := &node{w: w, ended: make(chan struct{})}
		late.book = keep.NewBook("main", &late.Counter)
		next.Keep(late.book)
		time.Sleep(2 * keep.Interval)
		told := late.told()
		for span, names := range w.truth {
			for name, want := range names {
				if got := told[span][name]; got != want {
					t.Errorf("the other store has %v of %s in %v, want %v", got, name, span, want)
				}
			}
		}
		cancel()
		<-ended
	})
}

// All faults in any order.
func TestSimulation(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		inWorld(t, 2+rand.IntN(3), func(w *world) {
			for i := range 12 {
				what := w.disturb()
				w.use(time.Duration(rand.IntN(90)) * time.Second)
				if rand.IntN(2) == 0 {
					time.Sleep(patience)
					w.agree(fmt.Sprintf("after step %d, %s", i, what))
				}
			}
			time.Sleep(patience)
			w.agree("in the end")
		})
	}
}

// disturb lets something happen.
func (w *world) disturb() string {
	i := rand.IntN(len(w.nodes))
	switch rand.IntN(7) {
	case 0:
		w.away.Store(!w.away.Load())
		return "away or back"
	case 1:
		w.deaf.Store(rand.Int64N(10))
		return "deaf"
	case 2:
		then := w.Copy()
		w.use(time.Duration(rand.IntN(60)) * time.Second)
		w.Return(then)
		return "rollback"
	case 3:
		w.Flush()
		return "flush"
	case 4:
		if len(w.nodes) < 6 {
			w.start()
		}
		return "a new node"
	default:
		time.Sleep(patience)
		w.agree("before a node ends") // what nobody else knows of would be lost
		w.nodes[i].stop(rand.IntN(2) == 0)
		w.nodes = append(w.nodes[:i:i], w.nodes[i+1:]...)
		w.start()
		w.use(6 * time.Minute) // and all read what it has left
		return "a restart"
	}
}

// A node that is not used sends nothing, and reads twelve to twenty-four times an hour. One that is sends each
// name once, however often it is counted.
func TestCalls(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		time.Sleep(time.Minute)
		w.Calls()
		time.Sleep(time.Hour)
		if n := w.Calls(); n > 3*25 { // in three pages
			t.Errorf("an idle node has made %d calls in an hour", n)
		}
		for range 60 {
			for range 1000 {
				w.count(w.nodes[0], "cada")
			}
			time.Sleep(time.Second)
		}
		if n := w.Calls(); n > 30+3 {
			t.Errorf("60,000 uses in a minute have made %d calls", n)
		}
	})
}

// A book that nobody keeps any more is kept until all was sent.
func TestDrop(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		n := w.nodes[0]
		time.Sleep(10 * time.Second)
		w.count(n, "cada")
		n.keeper.Drop(n.book)
		time.Sleep(2 * keep.Interval)
		w.start()
		w.agree("after the pool is gone")
	})
}

// A book that cannot be sent is told of as often as it fails, though others can.
func TestOneBookFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var notes []error
		var well, ill statetest.Counter
		shelf := new(statetest.Shelf)
		k := keep.NewKeeper(picky{shelf}, time.Now, func(err error) {
			mu.Lock()
			notes = append(notes, err)
			mu.Unlock()
		})
		for pool, counter := range map[string]*statetest.Counter{"well": &well, "ill": &ill} {
			counter.Count(keep.Span{Pool: pool, Number: time.Now().Unix() / 60}, "cada", keep.Counts{1})
			b := keep.NewBook(pool, counter)
			k.Keep(b)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.Run(ctx)
		}()
		time.Sleep(time.Minute)
		cancel()
		<-ended
		if len(notes) < 5 || slices.Contains(notes, nil) {
			t.Errorf("the keeper has noted %v", notes)
		}
	})
}

// picky is a store that takes nothing of the pool ill.
type picky struct{ *statetest.Shelf }

func (p picky) Add(ctx context.Context, node string, batches []keep.Batch) ([]int64, error) {
	if batches[0].Span.Pool == "ill" {
		return nil, errAway
	}
	return p.Shelf.Add(ctx, node, batches)
}

// A store that refuses what it tells itself is told anew what it has: so no difference between
// what is read and what can be added to keeps a node from sending, also for other spans.
func TestRefusedThoughSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n statetest.Counter
		s := &stubborn{span: keep.Span{Pool: "main", Day: true, Number: time.Now().Unix() / (24 * 60 * 60)}}
		minute := keep.Span{Pool: "main", Number: time.Now().Unix() / 60}
		b := keep.NewBook("main", &n)
		k := keep.NewKeeper(s, time.Now, func(error) {})
		k.Keep(b)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); k.Run(ctx) }()
		count := func(c keep.Counts) {
			n.Count(s.span, "cada", c)
			n.Count(minute, "cada", c)
			time.Sleep(10 * keep.Interval)
		}
		count(keep.Counts{1})
		s.refuses.Store(true)
		count(keep.Counts{2})
		count(keep.Counts{4})
		cancel()
		<-ended
		all, err := s.Read(t.Context(), []keep.Span{s.span, minute}, []string{"", ""})
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range all {
			if len(got.Cells) != 1 || got.Cells[0].Counts != (keep.Counts{7}) {
				t.Errorf("span %d of the store has %v", i, got.Cells)
			}
		}
		if n := s.restored.Load(); n != 1 {
			t.Errorf("it was brought back %d times", n)
		}
	})
}

// stubborn is a store that tells what it has of a span, and takes nothing more until that is
// brought back.
type stubborn struct {
	statetest.Shelf
	span     keep.Span
	refuses  atomic.Bool
	restored atomic.Int64
}

func (s *stubborn) Add(ctx context.Context, node string, batches []keep.Batch) (had []int64, err error) {
	for _, b := range batches {
		if b.Span == s.span && s.refuses.Load() {
			had = append(had, keep.Lost)
			continue
		}
		one, err := s.Shelf.Add(ctx, node, []keep.Batch{b})
		if err != nil {
			return nil, err
		}
		had = append(had, one...)
	}
	return had, nil
}

func (s *stubborn) Restore(ctx context.Context, span keep.Span, version string, to keep.Snapshot) error {
	s.restored.Add(1)
	s.refuses.Store(false)
	return s.Shelf.Restore(ctx, span, version, to)
}

// No keeper keeps nothing.
func TestNoKeeper(t *testing.T) {
	var k *keep.Keeper
	b := keep.NewBook("main", new(statetest.Counter))
	k.Keep(b)
	k.Refresh(t.Context(), b)
	k.Drop(b)
	b.Others(func(s keep.Span, c keep.Cell) { t.Error(s, c) })
}
