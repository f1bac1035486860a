package keep_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
)

// Names that are too many for a span count once, at each node: by them as much is told as by
// names that are few. That is so as well when a node has brought back what it knows, which
// the store then tells apart by other names.
func TestNamesBeyondTheBound(t *testing.T) {
	for _, nodes := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			inWorld(t, nodes, func(w *world) {
				most := keep.MaxNames[1]
				all := keep.Counts{}
				use := func(from, to int) func() {
					return func() { all = all.Plus(w.useModels(from, to)) }
				}
				flush := func() {
					w.Flush()
					time.Sleep(patience)
				}
				synctest.Wait() // nobody sends anything until time goes on
				use(0, most+5)()
				w.addsUp("before anything is sent")
				for _, step := range []struct {
					when string
					do   func()
				}{
					{"when all was sent", func() {}},
					{"with some of them again, and with more", use(most/2, most+most/2)},
					{"when the store was empty", flush},
					{"with more after that", use(0, 2*most)},
					{"with a new node", func() { w.start() }},
					{"which counts, too", use(most, 2*most)},
					{"when the store was empty again", flush},
					{"after a restart", func() {
						w.nodes[0].stop(true)
						w.nodes = w.nodes[1:]
						w.start()
					}},
					{"when it was empty after that", flush},
					{"in the end", use(0, 3*most)},
				} {
					step.do()
					time.Sleep(10 * keep.Interval)
					synctest.Wait()
					for i, told := range w.addsUp(step.when) {
						if told != all {
							t.Errorf("%s, node %d tells %v in all, want %v", step.when, i+1, told, all)
						}
					}
					w.tellsApart(step.when, most+1)
				}
			})
		})
	}
}

// useModels lets each node count these models, and some that the one before it does not, and
// each time the one key. It returns what was counted in all.
func (w *world) useModels(from, to int) (all keep.Counts) {
	day := keep.Span{Pool: "main", Day: true, Number: time.Now().Unix() / (24 * 60 * 60)}
	for i, n := range w.nodes {
		for model := from + 100*i; model < to+100*i; model++ {
			c := keep.Counts{1, 0, rand.Int64N(1000)}
			n.Count(day, fmt.Sprint("m", model), c)
			n.Count(day, "kone", c)
			all = all.Plus(c)
		}
	}
	return all
}

// addsUp checks that each node tells as much by model as by key, and returns that.
func (w *world) addsUp(when string) (all []keep.Counts) {
	w.Helper()
	for i, n := range w.nodes {
		n.keeper.Refresh(w.Context(), n.book)
		sums := make(map[string]keep.Counts)
		for _, names := range n.told() {
			for name, c := range names {
				sums[name[:1]] = sums[name[:1]].Plus(c)
			}
		}
		if sums["m"] != sums["k"] {
			w.Errorf("%s, node %d of %d tells %v by model and %v by key", when, i+1, len(w.nodes), sums["m"], sums["k"])
		}
		all = append(all, sums["k"])
	}
	return all
}

// tellsApart checks that the store has no more names than that of a kind.
func (w *world) tellsApart(when string, most int) {
	w.Helper()
	day := keep.Span{Pool: "main", Day: true, Number: time.Now().Unix() / (24 * 60 * 60)}
	all, err := w.Read(w.Context(), []keep.Span{day}, []string{""})
	if err != nil {
		w.Fatal(err)
	}
	names := 0
	for _, c := range all[0].Cells {
		if c.Name[0] == 'm' {
			names++
		}
	}
	if names > most {
		w.Errorf("%s, the store tells %d models apart, want %d at most", when, names, most)
	}
}
