package keep_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// config is one that a node loads: its keeper, and where that keeps.
type config struct {
	*keep.Keeper
	book  *keep.Book
	store *statetest.Shelf
	end   context.CancelFunc
	ended chan struct{} // nil: it does not run
	gone  bool
}

// load lets the node load a config that keeps in the store. It does not run yet.
func (n *node) load(store *statetest.Shelf) *config {
	c := &config{Keeper: keep.NewKeeper(store, time.Now, func(error) {}), book: n.book, store: store}
	c.Keep(n.book)
	return c
}

func (c *config) run() {
	ctx, cancel := context.WithCancel(context.Background())
	c.end, c.ended = cancel, make(chan struct{})
	go func() { defer close(c.ended); c.Run(ctx) }()
}

// close is the end of a config: Caddy cleans up a handler before its state, or after it. It may
// be called twice.
func (c *config) close(handlerFirst bool) {
	if c.gone {
		return
	}
	c.gone = true
	if handlerFirst {
		c.Drop(c.book)
	}
	if c.ended != nil {
		c.end()
		<-c.ended
	}
	c.Flush(context.Background())
	if !handlerFirst {
		c.Drop(c.book)
	}
}

// holdsFor checks that a node which comes next tells from the store all that was counted, once.
func (w *world) holdsFor(when string, store *statetest.Shelf) {
	w.Helper()
	late := &node{w: w}
	late.book = keep.NewBook("main", &late.Counter)
	c := late.load(store)
	c.run()
	defer c.close(true)
	time.Sleep(2 * keep.Interval)
	told := late.told()
	for span, names := range w.truth {
		for name, want := range names {
			if got := told[span][name]; got != want {
				w.Fatalf("%s: the store has %v of %s in %+v, want %v", when, got, name, span, want)
			}
		}
	}
}

// A config that fails takes nothing from the one that goes on, however far it has come: what was
// counted before, meanwhile and later is kept, also by a process that is killed a moment later.
func TestConfigThatFails(t *testing.T) {
	for _, row := range []struct {
		what                 string
		runs, same, properly bool
	}{
		{"it never runs", false, false, true},
		{"it never runs, and the process is killed", false, false, false},
		{"it runs for a while", true, false, true},
		{"it runs for a while, and the process is killed", true, false, false},
		{"it has the same store", true, true, true},
	} {
		for _, handlerFirst := range []bool{true, false} {
			inWorld(t, 1, func(w *world) {
				n, store := w.nodes[0], new(statetest.Shelf)
				if row.same {
					store = &w.Shelf
				}
				w.use(20 * time.Second)
				next := n.load(store)
				if row.runs {
					next.run()
				}
				w.use(20 * time.Second)
				next.close(handlerFirst)
				w.use(20 * time.Second)
				if !row.properly {
					time.Sleep(2 * keep.Interval)
				}
				n.stop(row.properly)
				w.nodes = nil
				w.holdsFor(row.what, &w.Shelf)
			})
		}
	}
}

// While a config is loaded that does not run yet, all is kept where it was: whoever is killed
// then loses what came in since it wrote.
func TestConfigThatIsLoaded(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		next := w.nodes[0].load(new(statetest.Shelf))
		w.use(20 * time.Second)
		time.Sleep(keep.Interval)
		w.nodes[0].stop(false)
		w.nodes = nil
		w.holdsFor("killed during a reload", &w.Shelf)
		next.close(true)
	})
}

// Whatever configs come and go, with other stores or the same, the last one that has run has
// all in its store, once.
func TestConfigsComeAndGo(t *testing.T) {
	for range 5 {
		inWorld(t, 0, func(w *world) {
			n := &node{w: w}
			n.book = keep.NewBook("main", &n.Counter)
			now := n.load(new(statetest.Shelf))
			defer func() { now.close(true) }()
			now.run()
			for round := range 12 {
				w.nodes = []*node{n}
				w.use(time.Duration(rand.IntN(20)) * time.Second)
				store := now.store
				if rand.IntN(2) == 0 {
					store = new(statetest.Shelf)
				}
				next, fails := n.load(store), rand.IntN(3) > 0
				w.use(time.Duration(rand.IntN(5)) * time.Second)
				if !fails || rand.IntN(2) == 0 {
					next.run()
				}
				w.use(time.Duration(rand.IntN(20)) * time.Second)
				if !fails {
					now, next = next, now
				}
				next.close(rand.IntN(2) == 0)
				w.nodes = nil
				if round%4 == 3 {
					time.Sleep(10 * time.Second) // in which what was known is brought to another store
					w.holdsFor(fmt.Sprint("after round ", round), now.store)
				}
			}
			now.close(rand.IntN(2) == 0)
			w.holdsFor("in the end", now.store)
		})
	}
}
