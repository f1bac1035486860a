package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
)

// moveTo makes the counter one of a process that has opened its file just now, as a reload does.
func (c *counter) moveTo(p *process) {
	c.in = p
	p.journal.Keeper().Keep(c.book)
}

// tells checks what a counter tells.
func (c *counter) tells(when string, want totals) {
	c.in.t.Helper()
	if got := c.told(); !equal(got, want) {
		c.in.t.Fatalf("%s it tells\n%v, want\n%v", when, got, want)
	}
}

// A reload takes a file away from its pools, and another one gives it back, again and again:
// what was counted counts once, also what this process has counted meanwhile, what came before
// its start, and what another process has that had the file in between.
func TestUsageWhenAFileIsLeftAndComesBack(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, truth, path := rand.New(rand.NewPCG(seed, 3)), make(totals), statePath(t)
				other := func() {
					p := start(t, path, 2)
					c := p.count()
					c.use(r, truth)
					c.tells("another process has the file:", truth)
					p.end()
				}
				other()
				p := start(t, path, 2)
				c := p.count()
				for round := range 8 {
					for range r.IntN(10) {
						c.use(r, truth)
						time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
					}
					p.end()
					if round%2 == 1 {
						other()
						time.Sleep(time.Duration(r.Int64N(int64(4 * time.Minute))))
						c.use(r, truth)
					}
					p = start(t, path, 2)
					c.moveTo(p)
					c.tells(fmt.Sprintf("back for time %d", round+1), truth)
				}
				time.Sleep(behind)
				start(t, p.kill(), 2).count().tells("the next process:", truth)
			})
		})
	}
}

// The file tells which batches it has, also when it was written anew, of the nodes that have
// added last: of no more than it must.
func TestBatchesInTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := keep.Span{Pool: "main", Day: true, Number: 20_786}
		p := start(t, statePath(t), 1)
		want := make(map[string]int64)
		for i := range int64(3 * mostNodes) {
			node := fmt.Sprintf("node \"%d\"", i)
			batch := keep.Batch{Span: day, Seq: 1, Cells: []keep.Cell{{Name: "cada", Counts: keep.Counts{1}}}}
			if _, err := p.journal.tally.Add(t.Context(), node, []keep.Batch{batch}); err != nil {
				t.Fatal(err)
			}
			if i >= 2*mostNodes {
				want[node] = 1
			}
		}
		anew := string(p.journal.ledgers(appendFirst(nil)))
		p.end()
		for name, text := range map[string]string{"appended": content(t, p.path), "written anew": anew} {
			path := filepath.Join(t.TempDir(), "keys.state")
			write(t, path, text)
			got, err := open(t, path, 1).journal.tally.Read(t.Context(), []keep.Span{day}, []string{""})
			if err != nil || !maps.Equal(got[0].Had, want) || got[0].Cells[0].Counts[0] != 3*mostNodes {
				t.Errorf("%s: %+v, want batches up to %v", name, got, want)
			}
		}
	})
}
