package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValidScope(t *testing.T) {
	for _, row := range []struct {
		sentence, name string
		want           bool
	}{
		{"a model", "gpt-4o-mini-2024-07-18", true},
		{"one with a path", "accounts/fireworks/models/llama-v3p1-8b:free", true},
		{"spaces are printable", " a model ", true},
		{"so is what is not ASCII", "modèle-模型", true},
		{"the longest name", strings.Repeat("x", MaxScopeLen), true},
		{"the scope that others share", Overflow, true},
		{"no name is no scope", "", false},
		{"one byte too many", strings.Repeat("x", MaxScopeLen+1), false},
		{"a line feed", "gpt\n4", false},
		{"a null byte", "gpt\x00", false},
		{"an escape", "\x1b[31m", false},
		{"what is not UTF-8", "gpt-\xff", false},
		{"what turns the direction of text", "gpt\u202e4", false},
	} {
		if got := ValidScope(row.name); got != row.want {
			t.Errorf("%s: %q is valid: %t", row.sentence, row.name, got)
		}
	}
}

func TestScopes(t *testing.T) {
	type ask struct {
		scope string
		want  []Slot
	}
	cool := func(scope string, d time.Duration, slots ...Slot) func(*Pool) {
		return func(p *Pool) {
			for _, s := range slots {
				p.Cool(start, s, Cooldown{For: d, Scope: scope})
			}
		}
	}
	cleared := func(s Slot) func(*Pool) { return func(p *Pool) { p.Clear(start, s) } }
	for _, row := range []struct {
		sentence string
		do       []func(*Pool)
		after    time.Duration
		asks     []ask
	}{
		{"a key that cools in a scope is out for requests of that scope alone",
			[]func(*Pool){cool("x", minute, 1)}, 0, []ask{{"x", []Slot{0, 2, 3}}, {"y", span(0, 4)}, {"", span(0, 4)}}},
		{"a key that cools for all is out in each scope, whichever came first",
			[]func(*Pool){cool("", minute, 0), cool("x", minute, 1), cool("", minute, 2)}, 0, []ask{{"x", []Slot{3}}, {"y", []Slot{1, 3}}, {"", []Slot{1, 3}}}},
		{"scopes do not touch each other",
			[]func(*Pool){cool("x", minute, 0, 1), cool("y", minute, 1, 2)}, 0, []ask{{"x", []Slot{2, 3}}, {"y", []Slot{0, 3}}, {"", span(0, 4)}}},
		{"all keys cool in the scope",
			[]func(*Pool){cool("x", minute, 0, 1, 2, 3)}, 0, []ask{{"x", nil}, {"", span(0, 4)}}},
		{"each deadline ends at its time, in the scope later",
			[]func(*Pool){cool("", minute, 0), cool("x", 2*minute, 0)}, minute, []ask{{"x", span(1, 4)}, {"", span(0, 4)}}},
		{"or for all later",
			[]func(*Pool){cool("x", minute, 0), cool("", 2*minute, 0)}, minute, []ask{{"x", span(1, 4)}, {"", span(1, 4)}}},
		{"a later deadline in the scope counts, an earlier does not",
			[]func(*Pool){cool("x", minute, 0, 1), cool("x", 2*minute, 0), cool("x", minute/2, 1)}, minute - 1, []ask{{"x", span(2, 4)}}},
		{"that is so until then",
			[]func(*Pool){cool("x", minute, 0, 1), cool("x", 2*minute, 0), cool("x", minute/2, 1)}, minute, []ask{{"x", span(1, 4)}}},
		{"a clearing ends what cools for all and in scopes",
			[]func(*Pool){cool("x", minute, 0, 1), cool("y", minute, 0), cool("", minute, 0), cleared(0)}, 0, []ask{{"x", []Slot{0, 2, 3}}, {"y", span(0, 4)}, {"", span(0, 4)}}},
		{"a disabled key is out in each scope",
			[]func(*Pool){func(p *Pool) { p.Disable(start, 0) }, cool("x", minute, 1), func(p *Pool) { p.Disable(start, 2) }}, 0, []ask{{"x", []Slot{3}}, {"", []Slot{1, 3}}}},
		{"enabled again, it cools where it did, and where it has begun to meanwhile",
			[]func(*Pool){cool("x", minute, 0), func(p *Pool) { p.Disable(start, 0) }, cool("y", minute, 0), func(p *Pool) { p.Enable(start, 0) }}, 0,
			[]ask{{"x", span(1, 4)}, {"y", span(1, 4)}, {"", span(0, 4)}}},
		{"a name that no scope can have is one of those that share one",
			[]func(*Pool){cool("a\nb", minute, 0)}, 0, []ask{{"a\nb", span(1, 4)}, {"\x00", span(1, 4)}, {Overflow, span(1, 4)}, {"", span(0, 4)}}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, 4), nil, start)
			for _, do := range row.do {
				do(p)
				checkPool(t, p)
				checkState(t, p.state)
			}
			// One that comes later, and has its keys in the same order, says the same.
			for _, p := range []*Pool{p, makePool(t, makeKeys(t, 4), p.state, start)} {
				for _, ask := range row.asks {
					if got := pickedIn(p, in(row.after), ask.scope, nil); !slices.Equal(got, ask.want) {
						t.Errorf("in %q picked %v, want %v", ask.scope, got, ask.want)
					}
					if c := p.CensusIn(in(row.after), ask.scope); c.Ready != len(ask.want) {
						t.Errorf("in %q the census is %+v", ask.scope, c)
					}
				}
				checkPool(t, p)
			}
		})
	}
}

// pickedIn is picked for requests of a scope.
func pickedIn(p *Pool, now time.Time, scope string, tried []Slot) []Slot {
	var got []Slot
	for range 200 {
		if s, ok := p.PickIn(now, scope, tried); ok {
			got = append(got, s)
		}
	}
	slices.Sort(got)
	return slices.Compact(got)
}

func TestCensusIn(t *testing.T) {
	p := makePool(t, makeKeys(t, 5), nil, start)
	p.Cool(start, 0, Cooldown{For: 10, Reason: limited})
	p.Cool(start, 0, Cooldown{For: 20, Reason: quota, Scope: "x"})
	p.Cool(start, 1, Cooldown{For: 30, Reason: limited, Scope: "x"})
	p.Cool(start, 2, Cooldown{For: 40, Reason: limited, Scope: "y"})
	p.Cool(start, 3, Cooldown{For: 50, Reason: limited, Scope: "x"})
	p.Disable(start, 3)
	for _, row := range []struct {
		sentence string
		scope    string
		at       time.Duration
		want     Census
	}{
		{"without a scope, what cools for all", "", 0, Census{Keys: 5, Ready: 3, Disabled: 1, Cooling: [MaxReasons]int{limited: 1}, Soonest: 10}},
		{"in a scope, the later of two deadlines and its reason", "x", 0, Census{Keys: 5, Ready: 2, Disabled: 1, Cooling: [MaxReasons]int{limited: 1, quota: 1}, Soonest: 20}},
		{"in another", "y", 0, Census{Keys: 5, Ready: 2, Disabled: 1, Cooling: [MaxReasons]int{limited: 2}, Soonest: 10}},
		{"in one that nothing cools in", "z", 0, Census{Keys: 5, Ready: 3, Disabled: 1, Cooling: [MaxReasons]int{limited: 1}, Soonest: 10}},
		{"when the first has ended for all", "x", 10, Census{Keys: 5, Ready: 2, Disabled: 1, Cooling: [MaxReasons]int{limited: 1, quota: 1}, Soonest: 10}},
		{"and in the scope", "x", 20, Census{Keys: 5, Ready: 3, Disabled: 1, Cooling: [MaxReasons]int{limited: 1}, Soonest: 10}},
		{"in the end", "y", 40, Census{Keys: 5, Ready: 4, Disabled: 1}},
	} {
		if got := p.CensusIn(in(row.at), row.scope); got != flat(row.want) {
			t.Errorf("%s: %+v, want %+v", row.sentence, got, flat(row.want))
		}
	}
}

func TestStatusScopes(t *testing.T) {
	p := makePool(t, makeKeys(t, 2), nil, start)
	p.Cool(start, 0, Cooldown{For: minute, Reason: limited, Source: "retry-after", Scope: "y"})
	p.Cool(start, 0, Cooldown{For: 2 * minute, Reason: quota, Source: "default", Scope: "x"})
	p.Cool(start, 1, Cooldown{For: minute, Scope: "x"})
	want := []ScopeStatus{{Scope: "x", Left: 2 * minute, Reason: quota, Source: "default"}, {Scope: "y", Left: minute, Reason: limited, Source: "retry-after"}}
	if st := p.Status(start, 0); st.Condition != Ready || st.Left != 0 || !slices.Equal(st.Scopes, want) {
		t.Errorf("status %+v", st)
	}
	if st := p.Status(in(minute), 0); len(st.Scopes) != 1 || st.Scopes[0].Left != minute {
		t.Errorf("when one is over, status %+v", st)
	}
	if st := p.Status(in(2*minute), 0); st.Scopes != nil {
		t.Errorf("when both are over, status %+v", st)
	}
}

// Lanes are there for as long as something cools in them: not before, not after its
// time, and not after it was ended.
func TestLanesAreFreed(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 4)
	p, q := makePool(t, keys, s, start), makePool(t, keys[2:], s, start)
	for _, row := range []struct {
		sentence string
		do       func()
		at       time.Duration
		p, q     []string
	}{
		{"none at first", func() {}, 0, nil, nil},
		{"cooldowns for all need none", func() { p.Cool(start, 0, Cooldown{For: minute}) }, 0, nil, nil},
		{"a pool without the key needs none", func() { p.Cool(start, 0, Cooldown{For: minute, Scope: "x"}) }, 0, []string{"x"}, nil},
		{"one that holds the key does", func() { p.Cool(start, 2, Cooldown{For: 2 * minute, Scope: "y"}) }, 0, []string{"x", "y"}, []string{"y"}},
		{"when its cooldowns are over it is freed, though nobody asks for the scope", func() {}, minute, []string{"y"}, []string{"y"}},
		{"a longer cooldown keeps it", func() { p.Cool(in(minute), 3, Cooldown{For: 2 * minute, Scope: "y"}) }, 2 * minute, []string{"y"}, []string{"y"}},
		{"until that is over", func() {}, 3 * minute, nil, nil},
		{"again", func() {
			p.Cool(in(3*minute), 2, Cooldown{For: minute, Scope: "x"})
			p.Cool(in(3*minute), 3, Cooldown{For: minute, Scope: "x"})
		}, 3 * minute, []string{"x"}, []string{"x"}},
		{"one of two is cleared", func() { p.Clear(in(3*minute), 3) }, 3 * minute, []string{"x"}, []string{"x"}},
		{"and the other ended by a success", func() { p.Serve(in(3*minute), in(3*minute), 2, "x") }, 3 * minute, nil, nil},
		{"a disabled key cools, too", func() {
			p.Disable(in(3*minute), 2)
			p.Cool(in(3*minute), 2, Cooldown{For: minute, Scope: "x"})
		}, 3 * minute, []string{"x"}, []string{"x"}},
		{"its time passes", func() { p.Enable(in(4*minute), 2) }, 4 * minute, nil, nil},
	} {
		row.do()
		for i, want := range [][]string{row.p, row.q} {
			pool := []*Pool{p, q}[i]
			pool.Pick(in(row.at), nil)
			var got []string
			for scope := range pool.lanes.byScope {
				got = append(got, scope)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s: pool %d has the lanes %q, want %q", row.sentence, i, got, want)
			}
			checkPool(t, pool)
		}
		checkState(t, s)
	}
}

// A client that invents names fills what there is of scopes: it cannot make more of
// them, and not keep keys from requests of scopes that were there before.
func TestInventedNames(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 3)
	p := makePool(t, keys, s, start)
	p.Cool(start, 0, Cooldown{For: time.Hour, Scope: "gpt-x"})
	for i := range 10 * MaxScopes {
		p.Cool(start, 1, Cooldown{For: minute, Scope: fmt.Sprint("invented ", i)})
	}
	checkPool(t, p)
	checkState(t, s)
	if n := len(p.Status(start, 1).Scopes); n != MaxScopes || len(s.scopes) != MaxScopes+1 || len(p.lanes.byScope) != MaxScopes+1 {
		t.Errorf("a key cools in %d scopes; there are %d, and %d lanes", n, len(s.scopes), len(p.lanes.byScope))
	}
	for scope, want := range map[string][]Slot{
		"gpt-x": {1, 2}, "": {0, 1, 2},
		"invented 5": {0, 2}, fmt.Sprint("invented ", 5*MaxScopes): {0, 2}, "never heard of": {0, 2},
	} {
		if got := pickedIn(p, start, scope, nil); !slices.Equal(got, want) {
			t.Errorf("in %q picked %v, want %v", scope, got, want)
		}
	}
	// What has come to share a scope does so until all that it shares it with is over,
	// though there is room again.
	p.Cool(start, 2, Cooldown{For: 2 * minute, Scope: "gpt-y"})
	p.Cool(in(minute), 0, Cooldown{For: 10 * minute, Scope: "gpt-y"})
	if got := pickedIn(p, in(minute), "gpt-y", nil); !slices.Equal(got, []Slot{1}) || s.scopes["gpt-y"] != nil {
		t.Errorf("in the scope that came too late picked %v", got)
	}
	p.Cool(in(11*minute), 1, Cooldown{For: minute, Scope: "gpt-y"})
	if s.scopes["gpt-y"] == nil || s.scopes[Overflow] != nil || len(s.scopes) != 2 {
		t.Errorf("%d scopes, when there is room again", len(s.scopes))
	}
	if got := pickedIn(p, in(11*minute), "gpt-z", nil); !slices.Equal(got, span(0, 3)) {
		t.Errorf("in a scope that nothing cools in picked %v", got)
	}
	checkPool(t, p)
	checkState(t, s)
}

// A scope whose cooldowns were all ended makes room for another, before its time.
func TestClearedScopesMakeRoom(t *testing.T) {
	s := NewState(start)
	p := makePool(t, makeKeys(t, 2), s, start)
	for i := range MaxScopes {
		p.Cool(start, 0, Cooldown{For: time.Hour, Scope: fmt.Sprint(i)})
	}
	p.Clear(start, 0)
	for i := range MaxScopes {
		p.Cool(start, 1, Cooldown{For: time.Hour, Scope: fmt.Sprint("other ", i)})
	}
	if len(s.scopes) != MaxScopes || s.scopes[Overflow] != nil {
		t.Errorf("%d scopes", len(s.scopes))
	}
	checkPool(t, p)
	checkState(t, s)
}

func TestReloadKeepsScopes(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 4)
	old := makePool(t, keys[:3], s, start)
	old.Cool(start, 0, Cooldown{For: minute, Scope: "x"})
	old.Cool(start, 1, Cooldown{For: minute, Scope: "x"})
	old.Disable(start, 2)
	old.Close(start)
	p := makePool(t, []Key{keys[3], keys[1], keys[2], keys[0]}, s, start)
	if got := pickedIn(p, start, "x", nil); !slices.Equal(got, []Slot{0}) {
		t.Errorf("picked %v in the scope", got)
	}
	if got := picked(p, start, nil); !slices.Equal(got, []Slot{0, 1, 3}) {
		t.Errorf("picked %v", got)
	}
	old.Cool(start, 0, Cooldown{For: 2 * minute, Scope: "x"}) // by a request that was under way
	if got := pickedIn(p, in(minute), "x", nil); !slices.Equal(got, []Slot{0, 1}) {
		t.Errorf("picked %v in the scope later", got)
	}
	checkPool(t, p)
	checkState(t, s)
	p.Close(in(2 * minute))
	if len(s.scopes) != 0 || len(s.pools) != 0 {
		t.Errorf("%d scopes and %d pools are left", len(s.scopes), len(s.pools))
	}
}

// In a scope, too, each key that is ready gets the same share.
func TestPickInIsUniform(t *testing.T) {
	const keys, picks = 20, 20_000
	for _, row := range []struct {
		sentence         string
		base, own, other []Slot
		tried            []Slot
	}{
		{"some cool in the scope", nil, []Slot{2, 5, 11, 12, 19}, nil, nil},
		{"a run of neighbours cools in the scope", nil, span(3, 18), nil, nil},
		{"some cool for all, others in the scope", span(0, 5), span(4, 9), nil, nil},
		{"others cool in another scope", span(0, 5), span(4, 9), span(9, 20), nil},
		{"some of the others have been tried", span(0, 5), span(4, 9), span(9, 15), []Slot{8, 9, 10, 19, 9}},
		{"nothing cools in the scope", span(0, 5), nil, span(9, 20), nil},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, keys), nil, start)
			for scope, slots := range map[string][]Slot{"": row.base, "x": row.own, "y": row.other} {
				for _, s := range slots {
					p.Cool(start, s, Cooldown{For: time.Hour, Scope: scope})
				}
			}
			counts := make([]int, keys)
			for range picks {
				p.Pick(start, row.tried) // which must not matter
				s, ok := p.PickIn(start, "x", row.tried)
				if !ok {
					t.Fatal("no key, though some are ready")
				}
				counts[s]++
			}
			checkPool(t, p)
			checkShares(t, counts, slices.Concat(row.base, row.own, row.tried), 0.001)
		})
	}
}

// Keys that come and go in the scope and for all, while picks go on, do not change
// the shares of the others.
func TestPickInIsUniformWhileOthersComeAndGo(t *testing.T) {
	p := makePool(t, makeKeys(t, 20), nil, start)
	counts, now := make([]int, 20), start
	for i := range 40_000 {
		now = now.Add(time.Millisecond)
		p.Cool(now, Slot(5+i%5), Cooldown{For: 3 * time.Millisecond})
		p.Cool(now, Slot(10+i%5), Cooldown{For: 3 * time.Millisecond, Scope: "x"})
		s, _ := p.PickIn(now, "x", nil)
		counts[s]++
	}
	for s := 5; s < 15; s++ {
		if counts[s] == 0 {
			t.Errorf("slot %d never came back", s)
		}
		counts[s] = 0
	}
	checkPool(t, p)
	checkShares(t, counts, span(5, 15), 0.001)
}

// A large pool: lanes see what ended while nobody asked for them.
func TestManyKeysInScopes(t *testing.T) {
	const n = 20_000
	p := makePool(t, makeKeys(t, n), nil, start)
	r := rand.New(rand.NewPCG(7, 8))
	for i, slot := range r.Perm(n) {
		c := Cooldown{For: time.Duration(1 + i), Scope: []string{"", "x", "y"}[i%3]}
		p.Cool(start, Slot(slot), c)
	}
	checkPool(t, p)
	for _, at := range []time.Duration{0, 1, 1000, n / 2, n - 1, n} {
		for k, scope := range []string{"", "x", "y", "z"} {
			cooling := 0
			for i := range n {
				if time.Duration(1+i) > at && (i%3 == 0 || i%3 == k) {
					cooling++
				}
			}
			if c := p.CensusIn(in(at), scope); c.Ready != n-cooling {
				t.Errorf("after %d, %d keys are ready in %q, want %d", at, c.Ready, scope, n-cooling)
			}
		}
		checkPool(t, p)
	}
}
