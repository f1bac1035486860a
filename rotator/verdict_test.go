package rotator

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	type pool = *Pool
	again := func(now, d time.Duration, scope string) func(pool) {
		return func(p pool) { p.Cool(in(now), 0, Cooldown{For: d, Reason: quota, Scope: scope}) }
	}
	for _, row := range []struct {
		sentence  string
		scope     string        // of the cooldown at the start
		served    string        // of the request
		began, at time.Duration // of the request
		meanwhile []func(pool)
		want      bool
		all, own  time.Duration // how long the key cools then, for all requests and in x
	}{
		{"a success ends a cooldown", "", "", 1, 2, nil, true, 0, 0},
		{"also if it began in the same instant", "", "", 0, 2, nil, true, 0, 0},
		{"and one in its scope", "x", "x", 1, 2, nil, true, 0, 0},
		{"one in a scope ends that for all", "", "x", 1, 2, nil, true, 0, 0},
		{"and both at once", "x", "x", 2, 3, []func(pool){again(1, minute, "")}, true, 0, 0},
		{"one that began before says nothing", "", "", -1, 1, nil, false, minute - 1, 0},
		{"nor in a scope", "x", "x", -1, 1, nil, false, 0, minute - 1},
		{"one that began before a longer cooldown leaves that", "", "", 1, 3, []func(pool){again(2, minute, "")}, false, minute - 1, 0},
		{"and in a scope", "x", "x", 1, 3, []func(pool){again(2, minute, "x")}, false, 0, minute - 1},
		{"an earlier deadline that came meanwhile changes nothing", "", "", 1, 3, []func(pool){again(2, minute/2, "")}, true, 0, 0},
		{"what cools in scopes stays, learned before or after", "", "", 1, 2, []func(pool){again(0, 2*minute, "x")}, true, 0, 2*minute - 2},
		{"what cools in the request's scope since stays", "", "x", 1, 3, []func(pool){again(2, minute, "x")}, true, 0, minute - 1},
		{"so does what cools in another scope", "y", "y", 1, 2, []func(pool){again(1, minute, "x")}, true, 0, minute - 1},
		{"what cools in a scope only is none of another", "x", "y", 1, 2, nil, false, 0, minute - 2},
		{"nor of a request without one", "x", "", 1, 2, nil, false, 0, minute - 2},
		{"one that comes back from the journal, with what clocks differ by, has begun before", "x", "x", time.Second, time.Second, []func(pool){func(p pool) {
			p.state.Learn(in(1), Change{ID: p.Key(0).ID(), Scope: "x", Until: in(minute + 3*time.Millisecond), Learned: in(3 * time.Millisecond)}, p.journal)
		}}, true, 0, 0},
		{"so for all requests", "", "", 1, time.Second, []func(pool){func(p pool) {
			p.state.Learn(in(1), Change{ID: p.Key(0).ID(), Until: in(minute + 3*time.Millisecond), Learned: in(-3 * time.Millisecond)}, p.journal)
		}}, true, 0, 0},
		{"what another node has learned since stays", "x", "x", 1, time.Second, []func(pool){func(p pool) {
			p.state.Learn(in(1), Change{ID: p.Key(0).ID(), Scope: "x", Until: in(minute + time.Second), Learned: in(time.Second)}, p.journal)
		}}, false, 0, minute},
		{"one that is over is not ended", "", "", 1, minute, nil, false, 0, 0},
		{"nor one that was cleared", "", "", 2, 3, []func(pool){func(p pool) { p.Clear(in(1), 0) }}, false, 0, 0},
		{"one that came after a clearing is ended, as soon as clocks agree", "x", "x", time.Second, time.Second,
			[]func(pool){func(p pool) { p.Clear(in(1), 0) }, again(1, minute-1, "x")}, true, 0, 0},
		{"a disabled key has served none the less", "x", "x", 1, 2, []func(pool){func(p pool) { p.Disable(start, 0) }}, true, 0, 0},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, 1), nil, start)
			if !p.Cool(start, 0, Cooldown{For: minute, Reason: limited, Scope: row.scope}) {
				t.Fatal("the deadline has not moved")
			}
			for _, do := range row.meanwhile {
				do(p)
			}
			if got := p.Serve(in(row.at), in(row.began), 0, row.served); got != row.want {
				t.Errorf("ended: %t", got)
			}
			if p.Serve(in(row.at), in(row.began), 0, row.served) {
				t.Error("ended twice")
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
	if p.Cool(start, 0, Cooldown{}); p.Serve(start, start, 0, "") {
		t.Error("no cooldown was ended")
	}
}

// What the others are told of a cooldown that a success has ended ends it there, and not
// what they learned after it, nor what cools in scopes.
func TestServeElsewhere(t *testing.T) {
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
		a.Cool(start, 0, Cooldown{For: minute, Scope: scope})
		a.Cool(start, 0, Cooldown{For: minute, Scope: "y"})
		hear()
		if !a.Serve(in(20*time.Second), in(time.Second), 0, scope) {
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

// Names that share Overflow share what is known there: a success ends it for all of them,
// and one in a scope of its own says nothing of it.
func TestServeInOverflow(t *testing.T) {
	p := makePool(t, makeKeys(t, 3), nil, start)
	for i := range MaxScopes {
		p.Cool(start, 1, Cooldown{For: time.Hour, Scope: fmt.Sprint("model-", i)})
	}
	for _, held := range []func(){
		func() { p.Suspect(0, refused(0, Cooldown{For: time.Hour, Scope: "new"})) },
		func() { convicted(t, p, 0, 0, refused(0, Cooldown{For: time.Hour, Scope: "new"})) },
	} {
		held()
		p.Serve(in(minute), in(minute/2), 0, "model-3")
		p.Serve(in(minute), in(minute/2), 0, "")
		if p.in(p.state.at(in(minute)), "newer").IsReady(0) {
			t.Error("ready, though nothing was served that shares the scope")
		}
		p.Serve(in(minute), in(minute/2), 0, "new")
		if !p.in(p.state.at(in(minute)), "newer").IsReady(0) {
			t.Error("not ready, though it has served")
		}
		checkPool(t, p)
		checkState(t, p.state)
	}
}

// What another way of asking a key has proved of it is void, and counts as its clearing.
func TestAnotherWayOfAsking(t *testing.T) {
	const invalid = quota
	keys := makeKeys(t, 2)
	state := NewState(start)
	asking := func(first, second uint32) *Pool {
		p, err := NewPool(keys, state, start, WithWays(func(s Slot) uint32 { return []uint32{first, second}[s] }, invalid))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := asking(1, 2)
	for s := range Slot(2) {
		r := Refusal{Cooldown: Cooldown{For: time.Hour, Reason: invalid}, Began: start, At: start, Step: time.Minute, Max: time.Hour}
		if p.Suspect(s, r); !p.Convict(start, s, r) {
			t.Fatalf("key %d does not cool", s)
		}
	}
	for _, row := range []struct {
		sentence      string
		first, second uint32
		ready         int
		cleared       uint64
	}{
		{"the same", 1, 2, 0, 0},
		{"another one for the second key", 1, 3, 1, 1},
		{"and for the first", 2, 3, 2, 1},
	} {
		before := p.Clearings()
		next := asking(row.first, row.second)
		if c := next.Census(start); c.Ready != row.ready || next.Clearings()-before != row.cleared {
			t.Errorf("%s: %d keys are ready, %d clearings", row.sentence, c.Ready, next.Clearings()-before)
		}
		checkPool(t, next)
	}
}

// TestTheLastWordOfTheOldWay: what a pool finds out about keys while the one that asks in
// another way is there already is void when it closes, and what it finds out later counts
// for nobody but those that ask as it did.
func TestTheLastWordOfTheOldWay(t *testing.T) {
	const invalid = quota
	keys := makeKeys(t, 1)
	for _, row := range []struct {
		sentence string
		way      uint32 // of the new pool; the old one's is 1
		ready    int    // keys of the new pool at last
	}{
		{"the same way", 1, 0},
		{"another way", 2, 1},
	} {
		state := NewState(start)
		asking := func(way uint32) *Pool {
			p, err := NewPool(keys, state, start, WithWays(func(Slot) uint32 { return way }, invalid))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		before, after := asking(1), asking(row.way)
		r := Refusal{Cooldown: Cooldown{For: time.Hour, Reason: invalid}, Began: start, At: start, Step: time.Minute, Max: time.Hour}
		if before.Suspect(0, r); !before.Convict(start, 0, r) {
			t.Fatalf("%s: the key does not cool", row.sentence)
		}
		before.Close(start)
		if c := after.Census(start); c.Ready != row.ready {
			t.Errorf("%s: %d keys are ready once the old pool has closed", row.sentence, c.Ready)
		}
		before.Suspect(0, r)
		before.Convict(start, 0, r)
		if c := after.Census(start); c.Ready != row.ready || c.Free != row.ready {
			t.Errorf("%s: %d keys are ready, %d free, after the closed pool's word", row.sentence, c.Ready, c.Free)
		}
		checkPool(t, after)
	}
}
