package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/statetest"
)

func TestStoreConformance(t *testing.T) {
	statetest.RunStore(t, func(t testing.TB) statetest.Store {
		p := start(t, filepath.Join(t.TempDir(), "keys.state"), 1)
		return func(testing.TB) keep.Store { return p.journal.tally }
	})
}

// totals are what is told of spans.
type totals map[keep.Span]map[string]keep.Counts

func (s totals) add(span keep.Span, c keep.Cell) {
	if s[span] == nil {
		s[span] = make(map[string]keep.Counts)
	}
	s[span][c.Name] = s[span][c.Name].Plus(c.Counts)
}

// counter counts for a pool of a process.
type counter struct {
	statetest.Counter
	book *keep.Book
	in   *process
}

func (p *process) count() *counter {
	c := &counter{in: p}
	c.book = keep.NewBook("main", c)
	p.journal.Keeper().Keep(c.book)
	return c
}

// told is what the process tells: what it has counted, and what was before it.
func (c *counter) told() totals {
	c.in.journal.Keeper().Refresh(c.in.t.Context(), c.book)
	all := make(totals)
	c.book.Others(all.add)
	c.All(all.add)
	return all
}

// spansOf are the minute and the day of a time.
func spansOf(now time.Time) [2]keep.Span {
	minute := now.Unix() / 60
	return [2]keep.Span{{Pool: "main", Number: minute}, {Pool: "main", Day: true, Number: minute / (24 * 60)}}
}

// use counts something now, here and in the truth.
func (c *counter) use(r *rand.Rand, truth totals) {
	name := []string{"cada", "mgpt \"x\"\t\n", "k010203040506", "c"}[r.IntN(4)]
	n := keep.Counts{1, 0, r.Int64N(1000), 0, 0, 0, 0, r.Int64N(1_000_000), 0}
	for _, span := range spansOf(time.Now()) {
		c.Count(span, name, n)
		truth.add(span, keep.Cell{Name: name, Counts: n})
	}
}

// behind is how long what was counted takes to the disk, at most: less than a second.
const behind = every + 2*gather - time.Millisecond

// What was counted outlives the process, however it ends, over many lives: each tells what all
// before it have counted, once.
func TestUsageOutlivesTheProcess(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, truth := rand.New(rand.NewPCG(seed, 2)), make(totals)
				path := statePath(t)
				for life := range 8 {
					p := start(t, path, 2)
					c := p.count()
					for range r.IntN(40) {
						c.use(r, truth)
						time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
					}
					if got := c.told(); !equal(got, truth) {
						t.Fatalf("life %d tells %v, want %v", life, got, truth)
					}
					if time.Sleep(behind); r.IntN(2) == 0 {
						path = p.kill()
					} else {
						p.end()
					}
				}
			})
		})
	}
}

func equal(a, b totals) bool { return maps.EqualFunc(a, b, maps.Equal) }

// A file that has gone is made anew with all that was counted, also before the process's start.
func TestUsageOfAFileThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, truth := rand.New(rand.NewPCG(1, 2)), make(totals)
		path := statePath(t)
		for range 2 {
			p := start(t, path, 2)
			c := p.count()
			c.use(r, truth)
			time.Sleep(behind)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			c.use(r, truth)
			time.Sleep(2*minPause + behind)
			path = p.kill()
		}
		if got := start(t, path, 2).count().told(); !equal(got, truth) {
			t.Errorf("told is %v, want %v", got, truth)
		}
	})
}

// However long it counts, the file stays in bounds, and so does the memory: what is too old to
// be told goes.
func TestUsageIsBounded(t *testing.T) {
	now := time.Now()
	p := open(t, statePath(t), 2, func(o *Options) { o.Now = func() time.Time { return now } })
	defer p.journal.file.release()
	long, largest := strings.Repeat("x", 900), 0
	var names []keep.Cell
	for i := range 20 {
		names = append(names, keep.Cell{Name: fmt.Sprintf("c%d%s", i, long), Counts: keep.Counts{1}})
	}
	seqs := make(map[keep.Span]int64)
	for range 40 * 3 { // eight hours each
		for _, span := range spansOf(now) {
			seqs[span]++
			if _, err := p.journal.tally.Add(t.Context(), "node", []keep.Batch{{Span: span, Seq: seqs[span], Cells: names}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.journal.flush(); err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(content(t, p.path)))
		now = now.Add(8 * time.Hour)
	}
	spans := len(p.journal.tally.spans)
	t.Logf("at most %d bytes, %d spans at the end", largest, spans)
	if largest > small+small/4 || spans > keepDays+2 {
		t.Errorf("the file had %d bytes, and %d spans are known", largest, spans)
	}
	again := open(t, p.path, 2, func(o *Options) { o.Now = func() time.Time { return now } })
	day := spansOf(now.Add(-48 * time.Hour))[1]
	got, _ := again.journal.tally.Read(t.Context(), []keep.Span{day}, []string{""})
	if len(got[0].Cells) != len(names) || got[0].Cells[0].Counts != (keep.Counts{3}) {
		t.Errorf("of the day before last it tells %d names, of the first %v", len(got[0].Cells), got[0].Cells)
	}
}

// The file of a version that counted nothing loads, and goes on.
func TestFileWithoutUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.state")
		p := start(t, path, 2)
		now, id := time.Now().UnixMilli(), p.Pool.Key(0).ID()
		p.end()
		write(t, path, lines(firstLine, fmt.Sprintf("at\t%d\t%d", now, now), fmt.Sprintf("key\t%s\t%d\t%d\t0\t0\trate_limited\t-\t-", id, now+3_600_000, now)))
		old := start(t, path, 2)
		old.cools("", 0, time.Hour)
		c, truth := old.count(), make(totals)
		c.use(rand.New(rand.NewPCG(1, 1)), truth)
		time.Sleep(behind)
		again := start(t, old.kill(), 2)
		again.cools("", 0, time.Hour-behind)
		if got := again.count().told(); !equal(got, truth) || len(old.damages())+len(again.damages()) > 0 {
			t.Errorf("told is %v, want %v", got, truth)
		}
	})
}

// One line that is damaged takes its sums with it, until they are counted up again. All else
// stays.
func TestDamagedUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, statePath(t), 2)
		c := p.count()
		for _, name := range []string{"cada", "cgrace"} {
			c.Count(spansOf(time.Now())[1], name, keep.Counts{7})
			time.Sleep(behind)
		}
		text := content(t, p.path)
		path := p.kill()
		write(t, path, strings.Replace(text, `"cada"	7`, `"cada"	8`, 1))
		again := start(t, path, 2)
		got := again.count().told()[spansOf(time.Now())[1]]
		settle()
		if !maps.Equal(got, map[string]keep.Counts{"cgrace": {7}}) || len(again.damages()) != 1 {
			t.Errorf("it tells %v, damages are %+v", got, again.damages())
		}
	})
}

// The machine's clock has been set back by hours: what is counted on in the minute that it was
// then, as a ledger does, is kept as all else is, also when the file was left meanwhile. A
// process that comes later knows of nobody who counts there.
func TestUsageOfAClockThatIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, truth, path := rand.New(rand.NewPCG(1, 4)), make(totals), statePath(t)
		ahead := spansOf(time.Now().Add(8 * time.Hour))
		p := start(t, path, 2)
		c := p.count()
		for range 2 {
			for range 30 {
				c.use(r, truth)
				for _, span := range ahead {
					c.Count(span, "cada", keep.Counts{1})
					truth.add(span, keep.Cell{Name: "cada", Counts: keep.Counts{1}})
				}
				time.Sleep(6 * time.Second)
			}
			time.Sleep(behind)
			if got := filed(t, content(t, path), truth); !equal(got, truth) {
				t.Fatalf("the file has\n%v, want\n%v", got, truth)
			}
			p.end()
			p = start(t, path, 2)
			c.moveTo(p)
			time.Sleep(2 * sweeping) // nobody uses it
		}
		p.end()
		late := start(t, path, 2).journal
		time.Sleep(2 * sweeping)
		if got, err := late.tally.Read(t.Context(), ahead[:1], []string{""}); err != nil || got[0].Version != "" {
			t.Errorf("the next process goes on with %+v, %v", got, err)
		}
	})
}

// What lies so far ahead is dropped unless this process counts there: then the file gets it, too.
func TestForgetAhead(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ahead := spansOf(now.Add(keepMinutes * time.Minute))[0]
	read := func(of *tally) keep.Snapshot {
		got, err := of.Read(t.Context(), []keep.Span{ahead}, []string{""})
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	here := newTally(make(chan struct{}, 1))
	if _, err := here.Add(t.Context(), "node", []keep.Batch{{Span: ahead, Seq: 1, Cells: []keep.Cell{{Name: "cada", Counts: keep.Counts{1}}}}}); err != nil {
		t.Fatal(err)
	}
	here.forget(now)
	text := string(here.append(nil, here.take()))
	if got := read(here); len(got.Cells) != 1 || got.Had["node"] != 1 || !strings.Contains(text, `"cada"`) {
		t.Errorf("who counts there has %+v, and the file gets %q", got, text)
	}
	next := newTally(make(chan struct{}, 1))
	next.load((codec{}).read(string(here.appendAll(appendFirst(nil)))).used)
	if got := read(next); len(got.Cells) != 1 {
		t.Errorf("the next process reads %+v", got)
	}
	if next.forget(now); read(next).Version != "" {
		t.Errorf("the next process goes on with %+v", read(next))
	}
}

// filed is what a file says about the spans of others.
func filed(t *testing.T, text string, of totals) totals {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.state")
	write(t, path, text)
	spans := slices.Collect(maps.Keys(of))
	got, err := open(t, path, 2).journal.tally.Read(t.Context(), spans, make([]string, len(spans)))
	if err != nil {
		t.Fatal(err)
	}
	all := make(totals)
	for i, s := range got {
		for _, cell := range s.Cells {
			all.add(spans[i], cell)
		}
	}
	return all
}
