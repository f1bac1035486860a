package check

import (
	"context"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// Plan is when a pool checks its keys by itself, in rounds.
type Plan struct {
	Interval time.Duration // from the beginning of a round to that of the next; 0: there is none
	OnStart  bool          // the first round begins with the config
}

const (
	leastGap = 200 * time.Millisecond // between two checks of a pool
	lull     = 2 * time.Second        // within which the first round begins: nodes may start together
)

// First returns when the first round begins; false: never. random is in [0, 1): nodes that
// start together do not ask together.
func (p Plan) First(start time.Time, random float64) (time.Time, bool) {
	within := p.Interval
	if p.OnStart {
		within = lull
	}
	return start.Add(time.Duration(random * float64(within))), within > 0
}

// Next returns when the next round begins after the one that began then, and is over now;
// false: never.
func (p Plan) Next(began, now time.Time) (time.Time, bool) {
	next := began.Add(p.Interval)
	if next.Before(now.Add(leastGap)) {
		next = now.Add(leastGap)
	}
	return next, p.Interval > 0
}

// gap returns how long after each other n keys are asked about in a round.
func (p Plan) gap(n int, first bool) time.Duration {
	if first && p.OnStart || n == 0 {
		return leastGap
	}
	return max(p.Interval/time.Duration(n), leastGap)
}

// recent is for how long a key that has served, or was checked, needs no check.
func (p Plan) recent() time.Duration {
	if p.Interval == 0 {
		return defaultInterval / 2
	}
	return p.Interval / 2
}

// due tells whether the key is to be asked about in a round. checked is when it was last, and
// may be zero.
func (p Plan) due(now time.Time, st rotator.Status, checked time.Time) bool {
	recently := func(at time.Time) bool { return !at.IsZero() && now.Sub(at) < p.recent() }
	switch {
	case st.Condition == rotator.Disabled, recently(checked):
		return false
	case isUnfit(st):
		return true
	}
	return st.Condition == rotator.Ready && st.Suspect == nil && st.InFlight == 0 && !recently(st.LastUsed)
}

// rounds are the checks that a pool makes by itself.
type rounds struct {
	Plan
	random func() float64
	runs   func() bool                            // the config does
	keys   func(now time.Time) []rotator.ID       // that are due, in any order
	ask    func(context.Context, rotator.ID) bool // false: the rest of the round is of no use
	over   func(first bool)
}

// run makes rounds until the context ends.
func (r *rounds) run(ctx context.Context) {
	for !r.runs() {
		if !sleep(ctx, leastGap) {
			return
		}
	}
	at, more := r.First(time.Now(), r.random())
	for first := true; more && sleep(ctx, time.Until(at)); first = false {
		began := time.Now()
		r.round(ctx, began, first)
		at, more = r.Next(began, time.Now())
	}
}

// round asks about each key that is due, evenly until the next round.
func (r *rounds) round(ctx context.Context, began time.Time, first bool) {
	keys := r.keys(began)
	defer r.over(first)
	for i, id := range keys {
		at := began.Add(time.Duration(i) * r.gap(len(keys), first))
		if i > 0 && !sleep(ctx, max(time.Until(at), leastGap)) || !r.ask(ctx, id) {
			return
		}
	}
}

// sleep waits, and tells whether the context has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
