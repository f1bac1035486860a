package blame

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// after returns a guard that has seen so many successes.
func after(served int) *Guard {
	g := new(Guard)
	g.Refuse(time.Now(), new(Run), false, nil, nil, time.Time{})
	for range served {
		g.Serve(time.Now())
	}
	return g
}

// refusals returns how many keys in a row must refuse a request before it is
// stopped.
func refusals(g *Guard) int {
	r := new(Run)
	for {
		if ruled, _ := g.Refuse(time.Now(), r, false, nil, nil, time.Time{}); ruled != GoOn || r.Length == 1000 {
			return r.Length
		}
	}
}

func TestWhenARequestIsStopped(t *testing.T) {
	for _, row := range []struct {
		sentence    string
		served      int
		least, most int
	}{
		{"a pool that nothing is known of is given the benefit of the doubt", 0, 20, 25},
		{"a little is known", 30, 8, 18},
		{"a pool that was healthy for long", 10_000, 6, 6},
	} {
		if n := refusals(after(row.served)); n < row.least || n > row.most {
			t.Errorf("%s: stopped after %d refusals, want %d to %d", row.sentence, n, row.least, row.most)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		g := after(10_000)
		time.Sleep(24 * time.Hour)
		if n := refusals(g); n < 19 {
			t.Errorf("what was seen a day ago still counts: %d refusals", n)
		}
	})
	busy := after(10_000)
	for i := range 1000 { // every second attempt is rejected
		busy.Refuse(time.Now(), new(Run), false, nil, nil, time.Time{})
		if i%2 == 0 {
			busy.Serve(time.Now())
		}
	}
	busy.Serve(time.Now())
	if n := refusals(busy); n < 30 {
		t.Errorf("in a pool at its limits a request is stopped after %d refusals", n)
	}
}

func TestThePoolIsClosedAndOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := after(10_000)
		var closed int
		for n := 1; closed == 0; n++ {
			if ruled, _ := g.Refuse(time.Now(), new(Run), false, nil, []Sentence{{}}, time.Now().Add(time.Minute)); ruled == Shut {
				closed = n
			}
		}
		if closed < witnesses || closed > 20 {
			t.Errorf("closed after %d refusals", closed)
		}
		if wait, ok := g.Admits(time.Now()); ok || wait != time.Minute {
			t.Errorf("admits %t, wait %s", ok, wait)
		}
		// One request a second, then fewer, and at the least one in ten seconds.
		var gaps []time.Duration
		for last := time.Now(); len(gaps) < 7; time.Sleep(100 * time.Millisecond) {
			if _, ok := g.Admits(time.Now()); ok {
				gaps = append(gaps, time.Since(last).Round(time.Second))
				last = time.Now()
				if ruled, back := g.Refuse(time.Now(), new(Run), false, nil, []Sentence{{}}, time.Time{}); ruled != stop || len(back) != 1 {
					t.Errorf("a request that finds the pool closed: %d, %d come back", ruled, len(back))
				}
			}
		}
		for i, want := range []int{1, 1, 2, 4, 8, 10, 10} {
			if gaps[i] != time.Duration(want)*time.Second {
				t.Errorf("the requests that go out to see are %v apart", gaps)
				break
			}
		}
		if _, reopens := g.Serve(time.Now()); !reopens {
			t.Error("a success does not open the pool")
		}
		if _, ok := g.Admits(time.Now()); !ok {
			t.Error("the pool is still closed")
		}
	})
}

// What is excused leaves the guard as it was.
func TestExcusedRefusalsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := after(10_000)
		g.Refuse(time.Now(), new(Run), false, nil, nil, time.Time{})
		share, refused, requests := g.share, g.refused, g.requests
		var r Run
		for range 5 {
			g.Refuse(time.Now(), &r, false, nil, nil, time.Time{})
		}
		g.Excuse(r)
		if math.Abs(g.share-share) > 1e-9 || g.refused != refused || g.requests != requests {
			t.Errorf("share %v, want %v; %d refused, want %d; of %d requests, want %d", g.share, share, g.refused, refused, g.requests, requests)
		}
	})
}
