package rotator

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestExhausted(t *testing.T) {
	cool := func(scope string, d time.Duration, slots ...Slot) func(*Pool) {
		return func(p *Pool) {
			for _, s := range slots {
				p.Cool(start, s, Cooldown{For: d, Reason: limited, Scope: scope})
			}
		}
	}
	out := func(scope string, soonest time.Duration) ScopeCensus {
		return ScopeCensus{scope, Census{Keys: 3, Cooling: [MaxReasons]int{limited: 3}, Soonest: soonest}}
	}
	for _, row := range []struct {
		sentence string
		do       []func(*Pool)
		after    time.Duration
		want     []ScopeCensus
	}{
		{"nothing cools", nil, 0, nil},
		{"a key is ready in each scope", []func(*Pool){cool("x", minute, 0, 1), cool("y", minute, 1, 2)}, 0, nil},
		{"none is in one, and the first of them comes back then",
			[]func(*Pool){cool("x", 2*minute, 0, 1), cool("x", minute, 2), cool("y", minute, 1)}, 0, []ScopeCensus{out("x", minute)}},
		{"until it does", []func(*Pool){cool("x", 2*minute, 0, 1), cool("x", minute, 2)}, minute, nil},
		{"none is in several, which come by name",
			[]func(*Pool){cool("z", minute, 0, 1, 2), cool("x", 3*minute, 0, 1, 2), cool("y", minute, 0)}, 0, []ScopeCensus{out("x", 3*minute), out("z", minute)}},
		{"some cool for all requests, the others in the scope", []func(*Pool){cool("", minute, 0), cool("x", 2*minute, 1, 2)}, 0, []ScopeCensus{out("x", minute)}},
		{"a lane that a cooldown for all requests has emptied", []func(*Pool){cool("x", 2*minute, 1, 2), cool("", minute, 0)}, 0, []ScopeCensus{out("x", minute)}},
		{"none is for any request: that is the pool's trouble", []func(*Pool){cool("x", 2*minute, 0, 1, 2), cool("", minute, 0, 1, 2)}, 0, nil},
		{"when they are for others again", []func(*Pool){cool("x", 2*minute, 0, 1, 2), cool("", minute, 0, 1, 2)}, minute, []ScopeCensus{out("x", minute)}},
		{"a clearing brings a key back", []func(*Pool){cool("x", minute, 0, 1, 2), func(p *Pool) { p.Clear(start, 1) }}, 0, nil},
		{"a disabled key counts as such", []func(*Pool){func(p *Pool) { p.Disable(start, 0) }, cool("x", minute, 1, 2)}, 0,
			[]ScopeCensus{{"x", Census{Keys: 3, Disabled: 1, Cooling: [MaxReasons]int{limited: 2}, Soonest: minute}}}},
		{"names that no scope can have are one", []func(*Pool){cool("a\nb", minute, 0, 1), cool("\x00", minute, 2)}, 0, []ScopeCensus{out(Overflow, minute)}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, 3), nil, start)
			for _, do := range row.do {
				do(p)
			}
			if got := p.Exhausted(in(row.after)); !slices.Equal(got, row.want) {
				t.Errorf("%+v, want %+v", got, row.want)
			}
			checkPool(t, p)
		})
	}
}

// A key at its limit is not ready, and comes back when a request ends.
func TestExhaustedAtTheLimit(t *testing.T) {
	p, err := NewPool(makeKeys(t, 3), NewState(start), start, WithLimit(Limit{Concurrency: 1, Reason: atCapacity}))
	if err != nil {
		t.Fatal(err)
	}
	p.Cool(start, 0, Cooldown{For: minute, Reason: limited, Scope: "x"})
	p.Cool(start, 1, Cooldown{For: minute, Reason: limited, Scope: "x"})
	p.Begin(start, 2)
	want := []ScopeCensus{{"x", Census{Keys: 3, Cooling: [MaxReasons]int{limited: 2, atCapacity: 1}, Busy: 1, Soonest: minute}}}
	if got := p.Exhausted(start); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	p.End(2)
	if got := p.Exhausted(start); got != nil {
		t.Errorf("after its end %+v", got)
	}
}

// However many names clients invent, what is told is bounded.
func TestExhaustedIsBounded(t *testing.T) {
	p := makePool(t, makeKeys(t, 2), nil, start)
	for i := range 3 * MaxScopes {
		for s := range Slot(2) {
			p.Cool(start, s, Cooldown{For: minute, Scope: fmt.Sprintf("model-%03d", i)})
		}
	}
	got := p.Exhausted(start)
	if len(got) != MaxScopes+1 || got[0].Scope != Overflow || got[MaxScopes].Scope != "model-063" {
		t.Errorf("%d scopes: %+v", len(got), got)
	}
	if got := p.Exhausted(in(minute)); got != nil {
		t.Errorf("when all is over %+v", got)
	}
}

// Whatever happens to keys, Exhausted says of all scopes what the censuses say of each.
func TestExhaustedAgreesWithTheCensus(t *testing.T) {
	scopes, told := []string{"", "a", "b", "c"}, 0
	for seed := range uint64(60) {
		h := newHistory(t, seed, scopes)
		for range 300 {
			h.step()
			for _, p := range h.pools {
				var want []ScopeCensus
				for _, scope := range scopes[1:] {
					if c := p.CensusIn(h.now, scope); c.Ready == 0 && p.Census(h.now).Ready > 0 {
						want = append(want, ScopeCensus{scope, c})
					}
				}
				if got := p.Exhausted(h.now); !slices.Equal(got, want) {
					t.Fatalf("seed %d, %v after the start: %+v, want %+v", seed, h.now.Sub(start), got, want)
				}
				told += len(want)
			}
		}
	}
	if told < 1000 {
		t.Errorf("only %d times a scope had no ready key", told)
	}
}

// It costs what the scopes do, and not the keys.
func BenchmarkExhausted(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			p := makePool(b, makeKeys(b, n), nil, start)
			for i := range 8 {
				for s := range Slot(n) {
					p.Cool(start, s, Cooldown{For: time.Hour, Scope: fmt.Sprint("model-", i)})
				}
			}
			for b.Loop() {
				if len(p.Exhausted(start)) != 8 {
					b.Fatal("not all are told")
				}
			}
		})
	}
}
