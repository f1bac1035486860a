package rotator

import (
	"slices"
	"testing"
	"time"
)

func TestRetract(t *testing.T) {
	type pool = *Pool
	again := func(now, d time.Duration, scope string) func(pool) {
		return func(p pool) { p.Cool(in(now), 0, Cooldown{For: d, Reason: quota, Scope: scope}) }
	}
	for _, row := range []struct {
		sentence  string
		scope     string
		meanwhile []func(pool)
		at        time.Duration
		want      bool
		all, own  time.Duration // how long the key cools then, for all requests and in x
	}{
		{"a cooldown is taken back", "", nil, 1, true, 0, 0},
		{"one in a scope, too", "x", nil, 1, true, 0, 0},
		{"also when an earlier deadline came meanwhile", "", []func(pool){again(1, minute/2, "")}, 1, true, 0, 0},
		{"a longer one that came meanwhile stays", "", []func(pool){again(1, minute, "")}, 1, false, minute, 0},
		{"and in a scope", "x", []func(pool){again(1, minute, "x")}, 1, false, 0, minute},
		{"what cools in scopes stays, learned before or after", "", []func(pool){again(0, 2*minute, "x")}, 1, true, 0, 2*minute - 1},
		{"what cools for all stays when one in a scope is taken back", "x", []func(pool){again(1, minute, "")}, 1, true, minute, 0},
		{"so does what cools in another scope", "y", []func(pool){again(1, minute, "x")}, 1, true, 0, minute},
		{"one that comes back from the journal, with what clocks differ by, is still the same", "x", []func(pool){func(p pool) {
			p.state.Learn(in(1), Change{ID: p.Key(0).ID(), Scope: "x", Until: in(minute + 3*time.Millisecond), Learned: in(3 * time.Millisecond)}, p.journal)
		}}, 1, true, 0, 0},
		{"so for all requests", "", []func(pool){func(p pool) {
			p.state.Learn(in(1), Change{ID: p.Key(0).ID(), Until: in(minute + 3*time.Millisecond), Learned: in(-3 * time.Millisecond)}, p.journal)
		}}, 1, true, 0, 0},
		{"one of another node is not", "x", []func(pool){func(p pool) {
			p.state.Learn(in(1), Change{ID: p.Key(0).ID(), Scope: "x", Until: in(minute + time.Second), Learned: in(time.Second)}, p.journal)
		}}, time.Second, false, 0, minute},
		{"one that is over is not", "", nil, minute, false, 0, 0},
		{"nor one that was cleared", "", []func(pool){func(p pool) { p.Clear(in(1), 0) }}, 1, false, 0, 0},
		{"nor one that was cleared and set again until the same time", "x",
			[]func(pool){func(p pool) { p.Clear(in(1), 0) }, again(1, minute-1, "x")}, 1, false, 0, minute - 1},
		{"a disabled key is none the less", "x", []func(pool){func(p pool) { p.Disable(start, 0) }}, 1, true, 0, 0},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, 1), nil, start)
			token, moved := p.CoolRevocably(start, 0, Cooldown{For: minute, Reason: limited, Scope: row.scope})
			if !moved {
				t.Fatal("the deadline has not moved")
			}
			for _, do := range row.meanwhile {
				do(p)
			}
			if got := p.Retract(in(row.at), token); got != row.want {
				t.Errorf("taken back: %t", got)
			}
			if p.Retract(in(row.at), token) {
				t.Error("taken back twice")
			}
			st := p.Status(in(row.at), 0)
			own := time.Duration(0)
			if i := slices.IndexFunc(st.Scopes, func(s ScopeStatus) bool { return s.Scope == "x" }); i >= 0 {
				own = st.Scopes[i].Left
			}
			if st.Left != row.all || own != row.own {
				t.Errorf("the key cools for %s, in the scope for %s, want %s and %s", st.Left, own, row.all, row.own)
			}
			if c := p.CensusIn(in(row.at), "x"); st.Condition != Disabled && c.Soonest != max(row.all, row.own) {
				t.Errorf("the census in the scope is %+v", c)
			}
			checkPool(t, p)
			checkState(t, p.state)
		})
	}
	p := makePool(t, makeKeys(t, 1), nil, start)
	if token, moved := p.CoolRevocably(start, 0, Cooldown{}); moved || token != (Token{}) || p.Retract(start, token) {
		t.Error("no cooldown was taken back")
	}
	p.Cool(start, 0, Cooldown{For: minute})
	if token, moved := p.CoolRevocably(start, 0, Cooldown{For: 1}); moved || p.Retract(start, token) {
		t.Error("a cooldown that did not hold was taken back")
	}
}

// What the others are told of a cooldown that was taken back ends it there, and not
// what they learned after it, nor what cools in scopes.
func TestRetractElsewhere(t *testing.T) {
	key := makeKeys(t, 1)
	for _, scope := range []string{"", "x"} {
		a, told := makeNode(t, key)
		b, _ := makeNode(t, key)
		hear := func() {
			for about, c := range *told {
				b.state.Learn(in(time.Second), c, b.journal)
				delete(*told, about)
			}
		}
		token, _ := a.CoolRevocably(start, 0, Cooldown{For: minute, Scope: scope})
		a.Cool(start, 0, Cooldown{For: minute, Scope: "y"})
		hear()
		if !a.Retract(in(20*time.Second), token) {
			t.Error("the cooldown did not hold")
		}
		hear()
		if c := b.CensusIn(in(20*time.Second), scope); c.Ready != 1 {
			t.Errorf("scope %q: on the other node %+v", scope, c)
		}
		if c := b.CensusIn(in(20*time.Second), "y"); c.Ready != 0 {
			t.Errorf("scope %q: in another scope %+v", scope, c)
		}
		after := Change{ID: key[0].ID(), Scope: scope, Until: in(2 * minute), Learned: in(10 * time.Second)}
		if !b.state.Learn(in(20*time.Second), after, b.journal) || !a.state.Learn(in(20*time.Second), after, a.journal) {
			t.Errorf("scope %q: what was learned after it is void", scope)
		}
		checkPool(t, a)
		checkPool(t, b)
		checkState(t, b.state)
	}
}
