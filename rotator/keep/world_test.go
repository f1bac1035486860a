package keep_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// world is some nodes and a store with faults, in a bubble of synctest.
type world struct {
	*testing.T
	statetest.Shelf
	truth map[keep.Span]map[string]keep.Counts
	nodes []*node

	away atomic.Bool  // the store takes nothing
	deaf atomic.Int64 // so many calls take effect, and say that they have failed
}

var errAway = errors.New("the store is away")

// node is a process.
type node struct {
	statetest.Counter
	w      *world
	book   *keep.Book
	keeper *keep.Keeper
	cancel context.CancelFunc
	ended  chan struct{}
}

func (w *world) start() *node {
	n := &node{w: w, ended: make(chan struct{})}
	n.book = keep.NewBook("main", &n.Counter)
	n.keeper = keep.NewKeeper(faulty{w}, time.Now, func(error) {})
	n.run()
	w.nodes = append(w.nodes, n)
	return n
}

func (n *node) run() {
	n.keeper.Keep(n.book)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.ended)
		n.keeper.Run(ctx)
	}()
}

// stop ends a node: properly, or at once.
func (n *node) stop(properly bool) {
	n.cancel()
	<-n.ended
	if properly {
		n.keeper.Flush(context.Background())
	}
}

// faulty is the world's store as nodes see it.
type faulty struct{ w *world }

func (f faulty) fails() error {
	switch {
	case f.w.away.Load():
		return errAway
	case f.w.deaf.Add(-1) >= 0:
		return errors.New("nobody knows")
	}
	return nil
}

func (f faulty) Add(ctx context.Context, node string, batches []keep.Batch) ([]int64, error) {
	if f.w.away.Load() {
		return nil, errAway
	}
	had, err := f.w.Shelf.Add(ctx, node, batches)
	return had, errors.Join(err, f.fails())
}

func (f faulty) Read(ctx context.Context, spans []keep.Span, versions []string) ([]keep.Snapshot, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return f.w.Shelf.Read(ctx, spans, versions)
}

func (f faulty) Restore(ctx context.Context, span keep.Span, version string, s keep.Snapshot) error {
	if f.w.away.Load() {
		return errAway
	}
	return errors.Join(f.w.Shelf.Restore(ctx, span, version, s), f.fails())
}

// count lets a node count something now.
func (w *world) count(n *node, name string) {
	minute := time.Now().Unix() / 60
	c := keep.Counts{1, 0, rand.Int64N(1000), 0, 0, 0, 0, rand.Int64N(1_000_000), 0}
	for _, span := range []keep.Span{{Pool: "main", Number: minute}, {Pool: "main", Day: true, Number: minute / (24 * 60)}} {
		n.Count(span, name, c)
		if w.truth[span] == nil {
			w.truth[span] = make(map[string]keep.Counts)
		}
		w.truth[span][name] = w.truth[span][name].Plus(c)
	}
}

// told is what a node tells.
func (n *node) told() map[keep.Span]map[string]keep.Counts {
	all := make(map[keep.Span]map[string]keep.Counts)
	add := func(span keep.Span, c keep.Cell) {
		if all[span] == nil {
			all[span] = make(map[string]keep.Counts)
		}
		all[span][c.Name] = all[span][c.Name].Plus(c.Counts)
	}
	n.All(add)
	n.book.Others(add)
	return all
}

// patience is how long a node may not notice what the store has lost, if nobody uses it.
const patience = 6 * time.Minute

// agree checks that each node tells the truth, once the store is well and they have had time.
func (w *world) agree(when string) {
	w.Helper()
	w.away.Store(false)
	w.deaf.Store(0)
	time.Sleep(10 * keep.Interval)
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	minute := time.Now().Unix() / 60
	for i, n := range w.nodes {
		n.keeper.Refresh(ctx, n.book)
		told := n.told()
		for span, names := range w.truth {
			if !span.Day && span.Number <= minute-60 {
				continue // nobody tells it
			}
			for name, want := range names {
				if got := told[span][name]; got != want {
					w.Errorf("%s, node %d of %d tells %v of %s in %+v, want %v", when, i+1, len(w.nodes), got, name, span, want)
				}
			}
		}
		for span, names := range told {
			for name := range names {
				if _, known := w.truth[span][name]; !known {
					w.Errorf("%s, node %d tells of %s in %+v", when, i+1, name, span)
				}
			}
		}
	}
	if w.Failed() {
		w.FailNow()
	}
}

// inWorld runs a test with n nodes.
func inWorld(t *testing.T, n int, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, truth: make(map[keep.Span]map[string]keep.Counts)}
		for range n {
			w.start()
		}
		defer func() {
			for _, n := range w.nodes {
				n.stop(false)
			}
		}()
		test(w)
	})
}

// use lets all nodes count for a while.
func (w *world) use(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		for _, n := range w.nodes {
			if rand.IntN(3) > 0 {
				w.count(n, fmt.Sprint("c", rand.IntN(5)))
			}
		}
	}
}
