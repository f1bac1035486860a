package shared

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	begin := time.Now()
	const redis = 1000 * time.Hour
	type sample struct {
		at, trip time.Duration // of this process
		shows    time.Duration // Redis, beyond what it should in the middle of the trip
	}
	for _, row := range []struct {
		sentence string
		samples  []sample
		wrong    time.Duration // by how much the clock is wrong, after
		jumps    int
		coarse   bool
	}{
		{"one sample", []sample{{0, 0, 0}}, 0, 0, false},
		{"a slow one is wrong by its asymmetry", []sample{{0, 2 * time.Second, time.Second}}, time.Second, 0, true},
		{"a faster one is better", []sample{{0, 2 * time.Second, time.Second}, {3 * time.Second, 0, 0}}, 0, 0, false},
		{"a slower one is not taken", []sample{{0, 0, 0}, {3 * time.Second, time.Second, 400 * time.Millisecond}}, 0, 0, false},
		{"nor is it a jump", []sample{{0, 0, 0}, {3 * time.Second, 3 * time.Second, 1400 * time.Millisecond}}, 0, 0, false},
		{"clocks drift: an old one is replaced", []sample{{0, 0, 0}, {11 * time.Minute, time.Millisecond, 300 * time.Millisecond}}, 300 * time.Millisecond, 0, false},
		{"Redis' clock was set forward", []sample{{0, 0, 0}, {time.Second, 10 * time.Millisecond, time.Hour}}, time.Hour, 1, true},
		{"and back", []sample{{0, 0, 0}, {time.Second, 0, -time.Hour}, {2 * time.Second, 0, 0}}, 0, 2, false},
		{"less than half a second is no jump", []sample{{0, 0, 0}, {time.Second, time.Millisecond, 400 * time.Millisecond}}, 0, 0, false},
		{"more is one", []sample{{0, 0, 0}, {time.Second, time.Millisecond, 900 * time.Millisecond}}, 900 * time.Millisecond, 1, false},
	} {
		var c clock
		for _, s := range row.samples {
			c.sample(begin.Add(s.at), begin.Add(s.at+s.trip), redis+s.at+s.trip/2+s.shows)
		}
		const at = 20 * time.Minute
		if got, want := c.remote(begin.Add(at)), (redis + at + row.wrong).Milliseconds(); got != want {
			t.Errorf("%s: Redis' clock is taken to show %d, want %d", row.sentence, got, want)
		}
		if got := c.local((redis + at + row.wrong).Milliseconds()).Sub(begin); got != at {
			t.Errorf("%s: that is taken to be at %s, want %s", row.sentence, got, at)
		}
		if known, _, jumps := c.status(); !known || jumps != row.jumps || c.coarse() != row.coarse {
			t.Errorf("%s: known %t, %d jumps, coarse %t", row.sentence, known, jumps, c.coarse())
		}
	}
	var c clock
	if known, _, _ := c.status(); known {
		t.Error("a clock without a sample is known")
	}
}

func TestPause(t *testing.T) {
	var p pause
	for want := minPause; want < 8*maxPause; want *= 2 {
		full := min(want, maxPause)
		if got := p.next(); got > full || got <= full/2 {
			t.Errorf("paused for %s, want more than %s, at most %s", got, full/2, full)
		}
	}
	p.reset()
	if got := p.next(); got > minPause {
		t.Errorf("after a reset paused for %s", got)
	}
	different := make(map[time.Duration]bool)
	for range 100 {
		different[(&pause{last: maxPause}).next()] = true
	}
	if len(different) < 50 {
		t.Errorf("%d different pauses in 100", len(different))
	}
}

func TestPauseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pause{last: maxPause}
		begin := time.Now()
		if !p.wait(t.Context(), nil) || time.Since(begin) < maxPause/2 {
			t.Errorf("waited for %s", time.Since(begin))
		}
		wake := make(chan struct{}, 1)
		rouse(wake)
		rouse(wake) // does not wait
		begin = time.Now()
		if !p.wait(t.Context(), wake) || time.Since(begin) != 0 {
			t.Errorf("was woken after %s", time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if p.wait(ctx, wake) {
			t.Error("waited though the context has ended")
		}
	})
}

func TestPlace(t *testing.T) {
	for _, row := range []struct {
		sentence string
		p, there place
		want     bool
	}{
		{"nothing, and still nothing", place{}, place{}, true},
		{"nothing, and then the first entries, which say so", place{}, place{epoch: "a", entry: 7}, true},
		{"the same", place{epoch: "a", entry: 7}, place{epoch: "a", entry: 7}, true},
		{"further on", place{epoch: "a", entry: 7}, place{epoch: "a", entry: 10}, true},
		{"more owners", place{epoch: "a", kept: "k", entry: 7}, place{epoch: "a", kept: "k", owners: 9, entry: 7}, true},
		{"as far, by another way", place{epoch: "a", entry: 7, mark: "m"}, place{epoch: "a", entry: 7, mark: "n"}, false},
		{"back", place{epoch: "a", entry: 10}, place{epoch: "a", entry: 9}, false},
		{"other data", place{epoch: "a", entry: 7}, place{epoch: "b", entry: 7}, false},
		{"other owners", place{epoch: "a", kept: "k", entry: 7}, place{epoch: "a", kept: "l", entry: 7}, false},
		{"no data any more", place{epoch: "a", entry: 7}, place{}, false},
	} {
		if got := row.p.continues(row.there); got != row.want {
			t.Errorf("%s: %t", row.sentence, got)
		}
	}
}
