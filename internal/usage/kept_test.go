package usage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// process is one with a ledger, and what keeps it.
type process struct {
	*Ledger
	keeper *keep.Keeper
	stop   func()
}

func startProcess(t *testing.T, s keep.Store) process {
	t.Helper()
	p := process{Ledger: newLedger("main")}
	p.keeper = keep.NewKeeper(s, time.Now, func(error) {})
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(ended); p.keeper.Run(ctx) }()
	_, drop := p.Keep(p.keeper)
	p.stop = func() {
		cancel()
		<-ended
		p.keeper.Flush(t.Context())
		drop()
	}
	return p
}

// A restart changes nothing of what is told, by any name; and nodes tell the same.
func TestUsageIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := new(statetest.Shelf)
		alone := newLedger("main") // counts what all count
		a, b := startProcess(t, shelf), startProcess(t, shelf)
		for i := range 400 {
			u := Use{
				Client: []string{"ada", "", "bob\n"}[rand.IntN(3)], Model: fmt.Sprint("m", rand.IntN(3)), Key: rotator.ID{byte(rand.IntN(4))},
				Tokens: &Tokens{rand.Int64N(1000), 1, 2, rand.Int64N(50), Unknown}, Cost: []USD{NotPriced, NoPrice, USD(rand.IntN(1000))}[rand.IntN(3)],
			}
			if i%7 == 0 {
				u.Tokens = nil
			}
			alone.Note(time.Now(), u)
			[]process{a, b}[i%2].Note(time.Now(), u)
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Second / 100)
			switch i {
			case 100:
				a.stop()
				a = startProcess(t, shelf)
			case 200:
				a.stop()
				b.stop()
				time.Sleep(26 * time.Hour)
				a, b = startProcess(t, shelf), startProcess(t, shelf)
			}
		}
		time.Sleep(2 * keep.Interval)
		for _, p := range []process{a, b} {
			p.keeper.Refresh(t.Context(), p.book)
			for by := range kinds {
				sameTold(t, by, p.Ledger, alone)
			}
		}
		a.stop()
		b.stop()
	})
}

// sameTold checks that two ledgers tell the same.
func sameTold(t *testing.T, by string, got, want *Ledger) {
	t.Helper()
	lines, _ := got.By(by, time.Now())
	wanted, _ := want.By(by, time.Now())
	if fmt.Sprint(lines) != fmt.Sprint(wanted) || len(wanted) < 3 {
		t.Errorf("by %s: %v, want %v", by, lines, wanted)
	}
	order := func(s []Sum) string {
		slices.SortFunc(s, func(a, b Sum) int { return strings.Compare(a.Name, b.Name) })
		return fmt.Sprint(s)
	}
	sums, _ := got.Sums(by, time.Now())
	wantedSums, _ := want.Sums(by, time.Now())
	if order(sums) != order(wantedSums) {
		t.Errorf("by %s: %v, want %v", by, sums, wantedSums)
	}
}

// What is handed over once and what was handed over in all are the same, whatever is counted
// meanwhile.
func TestTake(t *testing.T) {
	l := newLedger("main")
	sums := make(map[keep.Span]map[string]keep.Counts)
	now := noon
	for range 300 {
		for range rand.IntN(4) {
			l.Note(now, Use{Client: fmt.Sprint(rand.IntN(3)), Model: "m", Key: rotator.ID{1}, Tokens: used(rand.Int64N(9), 1), Cost: 3})
		}
		now = now.Add(time.Duration(rand.IntN(200)-50) * time.Second) // the clock may be set back
		if rand.IntN(3) == 0 {
			continue
		}
		for span, cells := range l.Take() {
			for _, c := range cells {
				if sums[span] == nil {
					sums[span] = make(map[string]keep.Counts)
				}
				sums[span][c.Name] = sums[span][c.Name].Plus(c.Counts)
			}
		}
		for span, names := range sums {
			if oldest := l.models["m"].minutes[0].number; !span.Day && span.Number < oldest {
				continue // nobody tells it any more
			}
			taken := make(map[string]keep.Counts)
			for _, c := range l.Taken(span) {
				taken[c.Name] = c.Counts
			}
			for name, want := range names {
				if got, told := taken[name]; got != want && (told || span.Day) {
					t.Fatalf("%s in %+v: %v in all, %v one after the other", name, span, got, want)
				}
			}
		}
	}
	if again := l.Take(); len(l.Take()) > 0 {
		t.Errorf("%v, and more", again)
	}
}
