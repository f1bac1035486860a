package keep_test

import (
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// A pool that comes back to a store that it had left, once or often, soon or late: that has some
// of what the pool has counted, and what others have counted there. All of it counts once.
func TestBackAtAStore(t *testing.T) {
	for _, away := range []time.Duration{time.Minute, 45 * time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				other, first := new(statetest.Shelf), w.nodes[0]
				w.use(time.Minute)
				first.stop(true)
				w.elsewhere(first, other, 20*time.Second) // both stores know one that is no more
				first.comeBack()
				w.use(time.Minute)
				first.stop(true)
				w.nodes = nil
				n := w.start()
				w.use(time.Minute)
				for range 3 {
					w.deaf.Store(1)
					for w.count(n, "cada"); w.deaf.Load() > 0; {
						time.Sleep(time.Second / 4)
					}
					n.stop(true) // it does not know whether the store has the last batch
					w.deaf.Store(0)
					w.elsewhere(n, other, away)
					late := w.start() // another process has the store meanwhile
					w.count(late, "cada")
					time.Sleep(10 * time.Second)
					late.stop(true)
					w.nodes = w.nodes[:1]
					n.comeBack()
					w.agree("back at the store")
					w.use(time.Minute)
					w.agree("and a minute later")
					w.holds()
				}
			})
		})
	}
}

// comeBack makes a node that was stopped one of the world's store again.
func (n *node) comeBack() {
	n.keeper, n.ended = keep.NewKeeper(faulty{n.w}, time.Now, func(error) {}), make(chan struct{})
	n.run()
}

// elsewhere lets a node count for so long with another store.
func (w *world) elsewhere(n *node, store keep.Store, d time.Duration) {
	there := &node{w: w, book: n.book, keeper: keep.NewKeeper(store, time.Now, func(error) {}), ended: make(chan struct{})}
	there.run()
	w.use(d)
	there.stop(true)
}
