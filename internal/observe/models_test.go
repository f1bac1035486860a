package observe

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

const (
	minute  = time.Minute
	limited = rotator.Reason(ttl.RateLimited)
)

// start is when the tests' states begin.
var start = time.Date(2025, time.March, 1, 12, 0, 0, 0, time.UTC)

// poolOf returns a pool of n keys.
func poolOf(t testing.TB, n int, options ...rotator.Option) *rotator.Pool {
	t.Helper()
	keys := make([]rotator.Key, n)
	for i := range keys {
		var err error
		if keys[i], err = rotator.NewKey(fmt.Sprintf("sk-test-%08d", i)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := rotator.NewPool(keys, rotator.NewState(start), start, options...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExhausted(t *testing.T) {
	cool := func(scope string, d time.Duration, slots ...rotator.Slot) func(*rotator.Pool) {
		return func(p *rotator.Pool) {
			for _, s := range slots {
				p.Cool(start, s, rotator.Cooldown{For: d, Reason: limited, Scope: scope})
			}
		}
	}
	out := func(scope string, soonest time.Duration) ModelCensus {
		return ModelCensus{scope, rotator.Census{Keys: 3, Cooling: [rotator.MaxReasons]int{limited: 3}, Soonest: soonest}}
	}
	for _, row := range []struct {
		sentence string
		do       []func(*rotator.Pool)
		after    time.Duration
		want     []ModelCensus
	}{
		{"nothing cools", nil, 0, nil},
		{"a key is ready in each scope", []func(*rotator.Pool){cool("x", minute, 0, 1), cool("y", minute, 1, 2)}, 0, nil},
		{"none is in one, and the first of them comes back then",
			[]func(*rotator.Pool){cool("x", 2*minute, 0, 1), cool("x", minute, 2), cool("y", minute, 1)}, 0, []ModelCensus{out("x", minute)}},
		{"until it does", []func(*rotator.Pool){cool("x", 2*minute, 0, 1), cool("x", minute, 2)}, minute, nil},
		{"none is in several, which come by name",
			[]func(*rotator.Pool){cool("z", minute, 0, 1, 2), cool("x", 3*minute, 0, 1, 2), cool("y", minute, 0)}, 0, []ModelCensus{out("x", 3*minute), out("z", minute)}},
		{"some cool for all requests, the others in the scope", []func(*rotator.Pool){cool("", minute, 0), cool("x", 2*minute, 1, 2)}, 0, []ModelCensus{out("x", minute)}},
		{"a lane that a cooldown for all requests has emptied", []func(*rotator.Pool){cool("x", 2*minute, 1, 2), cool("", minute, 0)}, 0, []ModelCensus{out("x", minute)}},
		{"none is for any request: that is the pool's trouble", []func(*rotator.Pool){cool("x", 2*minute, 0, 1, 2), cool("", minute, 0, 1, 2)}, 0, nil},
		{"when they are for others again", []func(*rotator.Pool){cool("x", 2*minute, 0, 1, 2), cool("", minute, 0, 1, 2)}, minute, []ModelCensus{out("x", minute)}},
		{"a clearing brings a key back", []func(*rotator.Pool){cool("x", minute, 0, 1, 2), func(p *rotator.Pool) { p.Clear(start, 1) }}, 0, nil},
		{"a disabled key counts as such", []func(*rotator.Pool){func(p *rotator.Pool) { p.Disable(start, 0) }, cool("x", minute, 1, 2)}, 0,
			[]ModelCensus{{"x", rotator.Census{Keys: 3, Disabled: 1, Cooling: [rotator.MaxReasons]int{limited: 2}, Soonest: minute}}}},
		{"names that no scope can have are one", []func(*rotator.Pool){cool("a\nb", minute, 0, 1), cool("\x00", minute, 2)}, 0, []ModelCensus{out(rotator.Overflow, minute)}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := poolOf(t, 3)
			for _, do := range row.do {
				do(p)
			}
			if got := Exhausted(NewIndex(p, nil), start.Add(row.after)); !slices.Equal(got, row.want) {
				t.Errorf("%+v, want %+v", got, row.want)
			}
		})
	}
}

// A key at its limit is not ready, and comes back when a request ends.
func TestExhaustedAtTheLimit(t *testing.T) {
	p := poolOf(t, 3, rotator.WithLimit(rotator.Limit{Concurrency: 1, Reason: reason.Limit}))
	p.Cool(start, 0, rotator.Cooldown{For: minute, Reason: limited, Scope: "x"})
	p.Cool(start, 1, rotator.Cooldown{For: minute, Reason: limited, Scope: "x"})
	p.Take(start, rotator.Want{Among: []rotator.Slot{2}})
	want := []ModelCensus{{"x", rotator.Census{Keys: 3, Cooling: [rotator.MaxReasons]int{limited: 2, reason.Limit: 1}, Busy: 1, Soonest: minute}}}
	if got := Exhausted(NewIndex(p, nil), start); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	p.End(2)
	if got := Exhausted(NewIndex(p, nil), start); got != nil {
		t.Errorf("after its end %+v", got)
	}
}

// However many names clients invent, what is told is bounded.
func TestExhaustedIsBounded(t *testing.T) {
	p := poolOf(t, 2)
	for i := range 3 * rotator.MaxScopes {
		for s := range rotator.Slot(2) {
			p.Cool(start, s, rotator.Cooldown{For: minute, Scope: fmt.Sprintf("model-%03d", i)})
		}
	}
	got := Exhausted(NewIndex(p, nil), start)
	if len(got) != rotator.MaxScopes+1 || got[0].Model != rotator.Overflow || got[rotator.MaxScopes].Model != "model-063" {
		t.Errorf("%d scopes: %+v", len(got), got)
	}
	if got := Exhausted(NewIndex(p, nil), start.Add(minute)); got != nil {
		t.Errorf("when all is over %+v", got)
	}
}

// It costs what the scopes do, and not the keys.
func BenchmarkExhausted(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			p := poolOf(b, n)
			for i := range 8 {
				for s := range rotator.Slot(n) {
					p.Cool(start, s, rotator.Cooldown{For: time.Hour, Scope: fmt.Sprint("model-", i)})
				}
			}
			for b.Loop() {
				if len(Exhausted(NewIndex(p, nil), start)) != 8 {
					b.Fatal("not all are told")
				}
			}
		})
	}
}
