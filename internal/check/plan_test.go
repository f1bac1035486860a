package check

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

func TestWhenRoundsBegin(t *testing.T) {
	start := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		sentence string
		plan     Plan
		random   float64
		first    time.Duration
		never    bool
		next     time.Duration // after the first, where the round took 10 s; 0: never
	}{
		{"nobody wants checks", Plan{}, 0.5, 0, true, 0},
		{"an hour's interval begins somewhere within the first hour", Plan{Interval: time.Hour}, 0.5, 30 * time.Minute, false, time.Hour},
		{"the next node elsewhere", Plan{Interval: time.Hour}, 0.25, 15 * time.Minute, false, time.Hour},
		{"on start means at once, or nearly", Plan{Interval: time.Hour, OnStart: true}, 0.5, time.Second, false, time.Hour},
		{"on start alone happens once", Plan{OnStart: true}, 0.25, time.Second / 2, false, 0},
		{"a round that takes longer than the interval is followed by the next", Plan{Interval: 5 * time.Second}, 0, 0, false, 10*time.Second + leastGap},
	} {
		first, ok := row.plan.First(start, row.random)
		if ok == row.never || ok && first.Sub(start) != row.first {
			t.Errorf("%s: the first is at %s, %t", row.sentence, first.Sub(start), ok)
		}
		next, ok := row.plan.Next(start, start.Add(10*time.Second))
		if ok != (row.next > 0) || ok && next.Sub(start) != row.next {
			t.Errorf("%s: the next is at %s, %t", row.sentence, next.Sub(start), ok)
		}
	}
}

func TestHowFarApartChecksAre(t *testing.T) {
	hourly := Plan{Interval: time.Hour, OnStart: true}
	for _, row := range []struct {
		sentence string
		plan     Plan
		n        int
		first    bool
		want     time.Duration
	}{
		{"ten keys in an hour", hourly, 10, false, 6 * time.Minute},
		{"as many keys as there are: five a second at most", hourly, 100_000, false, leastGap},
		{"on start as fast as is allowed", hourly, 10, true, leastGap},
		{"no key at all", hourly, 0, false, leastGap},
		{"the first round of a pool that does not want it on start is as others", Plan{Interval: time.Hour}, 10, true, 6 * time.Minute},
	} {
		if got := row.plan.gap(row.n, row.first); got != row.want {
			t.Errorf("%s: %s", row.sentence, got)
		}
	}
}

func TestWhichKeysAreDue(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	invalid, limited := rotator.Reason(ttl.InvalidKey), rotator.Reason(ttl.RateLimited)
	cooling := func(r rotator.Reason) rotator.Status {
		return rotator.Status{Condition: rotator.Cooling, Left: time.Hour, Reason: r}
	}
	disabled := cooling(invalid)
	disabled.Condition = rotator.Disabled
	for _, row := range []struct {
		sentence string
		status   rotator.Status
		checked  time.Time
		due      bool
	}{
		{"one that was never used", rotator.Status{}, time.Time{}, true},
		{"one that was used long ago", rotator.Status{LastUsed: now.Add(-time.Hour)}, time.Time{}, true},
		{"one in use", rotator.Status{LastUsed: now.Add(-29 * time.Minute)}, time.Time{}, false},
		{"one with a long request under way", rotator.Status{LastUsed: now.Add(-time.Hour), InFlight: 1}, time.Time{}, false},
		{"one that was checked", rotator.Status{}, now.Add(-29 * time.Minute), false},
		{"one that was checked long ago", rotator.Status{}, now.Add(-time.Hour), true},
		{"one that cools as invalid, though it was just used", rotator.Status{Condition: rotator.Cooling, Left: time.Hour, Reason: invalid, LastUsed: now}, time.Time{}, true},
		{"one that cools for what nobody understands", cooling(rotator.Reason(ttl.Unknown)), time.Time{}, true},
		{"one that is suspect of being invalid", rotator.Status{Suspect: &rotator.Suspicion{Reason: invalid}, LastUsed: now}, time.Time{}, true},
		{"a rate limit is over by itself", cooling(limited), time.Time{}, false},
		{"one that is suspect of a rate limit", rotator.Status{Suspect: &rotator.Suspicion{Reason: limited}}, time.Time{}, false},
		{"one at its limit", rotator.Status{Condition: rotator.Cooling, Busy: true}, time.Time{}, false},
		{"one that an operator has disabled", disabled, time.Time{}, false},
	} {
		if got := (Plan{Interval: time.Hour}).due(now, row.status, row.checked); got != row.due {
			t.Errorf("%s: due is %t", row.sentence, got)
		}
	}
	if len(roster.Unfit) != 2 {
		t.Errorf("the reasons that a check speaks against are %v", roster.Unfit)
	}
}

// played are rounds over n keys, and when each key was asked about.
func played(n int, p Plan) (*rounds, *[]string) {
	start, asked := time.Now(), new([]string)
	return &rounds{
		Plan: p, random: func() float64 { return 0.5 }, runs: func() bool { return time.Since(start) >= time.Second },
		keys: func(time.Time) []rotator.ID {
			ids := make([]rotator.ID, n)
			for i := range ids {
				ids[i][0] = byte(i)
			}
			return ids
		},
		ask: func(_ context.Context, id rotator.ID) bool {
			*asked = append(*asked, fmt.Sprint(id[0], "@", time.Since(start)))
			return true
		},
		over: func(first bool) { *asked = append(*asked, fmt.Sprint("over:", first)) },
	}, asked
}

// Checks begin when the config runs, are spread over the interval, and end with the config.
func TestRounds(t *testing.T) {
	for _, row := range []struct {
		sentence string
		plan     Plan
		lasts    time.Duration
		want     string
	}{
		{"spread over the interval, from somewhere in it on", Plan{Interval: time.Minute}, 95 * time.Second,
			"[0@31s 1@51s 2@1m11s over:true 0@1m31s over:false]"},
		{"on start at five a second, and then as ever", Plan{Interval: time.Minute, OnStart: true}, 85 * time.Second,
			"[0@2s 1@2.2s 2@2.4s over:true 0@1m2s 1@1m22s over:false]"},
		{"on start alone", Plan{OnStart: true}, time.Hour, "[0@2s 1@2.2s 2@2.4s over:true]"},
		{"a config that never runs", Plan{OnStart: true}, 900 * time.Millisecond, "[]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), row.lasts)
			defer cancel()
			r, asked := played(3, row.plan)
			r.run(ctx)
			if got := fmt.Sprint(*asked); got != row.want {
				t.Errorf("%s: %s", row.sentence, got)
			}
		})
	}
}

// A thousand keys are no herd, however short the interval: at most five a second, on start and
// ever after.
func TestRoundsOfManyKeys(t *testing.T) {
	for _, plan := range []Plan{{Interval: minInterval, OnStart: true}, {Interval: minInterval}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			r, _ := played(1000, plan)
			asked, latest := 0, time.Time{}
			r.ask = func(context.Context, rotator.ID) bool {
				if now := time.Now(); now.Sub(latest) < leastGap {
					t.Fatalf("question %d comes %s after the one before", asked, now.Sub(latest))
				}
				asked, latest = asked+1, time.Now()
				return true
			}
			r.run(ctx)
			if asked < 2900 || asked > 3000 {
				t.Errorf("%+v: %d keys were asked about in ten minutes", plan, asked)
			}
		})
	}
}

// A slow upstream is not asked faster afterwards, and a round that is of no use ends.
func TestRoundsThatAreSlowOrUseless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, asked := played(3, Plan{OnStart: true})
		note := r.ask
		r.ask = func(ctx context.Context, id rotator.ID) bool {
			time.Sleep(time.Minute)
			return note(ctx, id) && id[0] < 1
		}
		r.run(t.Context())
		if got, want := fmt.Sprint(*asked), "[0@1m2s 1@2m2.2s over:true]"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// What is remembered of a pool's checks is bounded by what still counts.
func TestTheMemoryForgets(t *testing.T) {
	now := time.Now()
	m := memoryOf("forgets")
	if memoryOf("forgets") != m || memoryOf("another") == m {
		t.Fatal("a pool's memory does not outlive a reload")
	}
	defer func() {
		for _, name := range []string{"forgets", "another", "forgets"} {
			forget(name)
		}
		if memoryOf("forgets") == m {
			t.Error("a pool's memory outlives the pool")
		}
		forget("forgets")
	}()
	var old, young rotator.ID
	old[0], young[0] = 1, 2
	m.note(old, now.Add(-time.Hour))
	m.note(young, now)
	if d := m.rest(now.Add(leastGap / 4)); d != 3*leastGap/4 {
		t.Errorf("the next key rests for %s", d)
	}
	m.keep(now.Add(-time.Minute))
	if !m.last(old).IsZero() || m.last(young) != now || len(m.at) != 1 {
		t.Errorf("%v", m.at)
	}
}
