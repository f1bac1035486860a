package upstream

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// resting returns which of the addresses rest.
func resting(r *Rests, now time.Time, addresses ...string) (all []string) {
	r.Each(now, addresses, func(i int) { all = append(all, addresses[i]) })
	return all
}

func TestARestDoublesWithEachFailureAfterIt(t *testing.T) {
	var r Rests
	now := time.Now()
	for _, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		if got := r.Fail(now, now, "a"); got != want {
			t.Fatalf("the address rests for %s, want %s", got, want)
		}
		if rests := resting(&r, now.Add(want-1), "a", "b"); len(rests) != 1 || rests[0] != "a" {
			t.Fatalf("%v rest just before %s have passed", rests, want)
		}
		now = now.Add(want)
		if rests := resting(&r, now, "a", "b"); len(rests) != 0 {
			t.Fatalf("%v rest after %s", rests, want)
		}
	}
}

func TestFailuresOfOneMomentAreOne(t *testing.T) {
	var r Rests
	start := time.Now()
	r.Fail(start, start.Add(time.Second), "a")
	for began := time.Duration(0); began < 11*time.Second; began += time.Second / 4 {
		if got := r.Fail(start.Add(began), start.Add(began+time.Minute), "a"); got != 0 {
			t.Fatalf("an attempt that began %s after the first, while the address rested, makes it rest for %s", began, got)
		}
	}
	if got := r.Fail(start.Add(11*time.Second), start.Add(12*time.Second), "a"); got != 20*time.Second {
		t.Errorf("one that began when the rest was over makes it rest for %s", got)
	}
}

func TestAnAnswerEndsTheRest(t *testing.T) {
	var r Rests
	now := time.Now()
	if r.Any() || r.Serve("a") {
		t.Error("an address rests before one has failed")
	}
	r.Fail(now, now, "a")
	if !r.Any() || !r.Serve("a") || r.Serve("a") || r.Any() || len(resting(&r, now, "a")) > 0 {
		t.Error("the answer does not end it, once")
	}
	if got := r.Fail(now, now, "a"); got != 10*time.Second {
		t.Errorf("the failures before the answer count: the address rests for %s", got)
	}
}

func TestOneRequestAtATimeFindsOut(t *testing.T) {
	var r Rests
	now := time.Now()
	r.Fail(now, now, "a")
	for round := range 3 {
		now = now.Add(10 * time.Second) // as long as the rest, within which the one before has not come back
		var through atomic.Int32
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if len(resting(&r, now, "a")) == 0 && r.Try(now, "a") {
					through.Add(1)
				}
			})
		}
		if all.Wait(); through.Load() != 1 {
			t.Errorf("round %d: %d of 100 requests are let through", round, through.Load())
		}
	}
	if !r.Try(now, "b") {
		t.Error("nobody may go to an address that has not failed")
	}
}

func TestRestsAreBounded(t *testing.T) {
	var r Rests
	now := time.Now()
	for i := range maxRests {
		if r.Fail(now, now, fmt.Sprint(i)) == 0 {
			t.Fatalf("address %d does not rest", i)
		}
	}
	if r.Fail(now, now, "one more") != 0 || r.Count(now) != maxRests {
		t.Errorf("%d addresses rest", r.Count(now))
	}
	now = now.Add(firstRest)
	if r.Count(now) != 0 || !r.Any() {
		t.Errorf("%d addresses rest when all rests are over; some were: %t", r.Count(now), r.Any())
	}
	now = now.Add(memory + 1)
	if resting(&r, now, "0"); r.Any() {
		t.Error("rests of which nothing was heard are not forgotten")
	}
	if got := r.Fail(now, now, "0"); got != firstRest {
		t.Errorf("the next one is %s", got)
	}
}
