package rotator

import (
	"testing"
	"time"
)

// What is over in a scope is forgotten of keys that are gone, though something else cools there
// for long. What still counts stays, and so does what a key that is there was convicted of.
func TestTermsOfKeysThatAreGone(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 8)
	old := makePool(t, keys, s, start)
	ordinary, long := Cooldown{For: minute, Scope: "x"}, Cooldown{For: time.Hour, Scope: "x"}
	refusal := Refusal{Cooldown: ordinary, Began: start, At: start, Step: 1, Max: minute}
	for _, slot := range []Slot{0, 3} {
		old.Suspect(slot, refusal)
		old.Convict(start, slot, refusal)
	}
	old.Cool(start, 1, long)
	old.Cool(start, 2, ordinary)
	old.Cool(start, 4, ordinary)
	old.Suspect(5, refusal)
	old.Cool(start, 6, long)
	old.Serve(start, start, 6, "x") // others must know for an hour that this was before
	old.Cool(start, 7, long)
	p := makePool(t, keys[:3], s, in(1))
	old.Close(in(1))

	p.Close(in(minute / 2))
	if n := len(s.scopes["x"].terms); n != 8 {
		t.Errorf("while nothing is over %d terms are left", n)
	}
	makePool(t, keys[:3], s, in(minute/2))
	for i, want := range []int{5, 4} { // a suspicion lasts for ten minutes
		now := in(time.Duration(1+10*i) * minute)
		q := makePool(t, keys[:1], s, now)
		q.Close(now)
		for _, slot := range []Slot{1, 6, 7} {
			if s.scopes["x"].terms[keys[slot].ID()] == nil {
				t.Errorf("at %v nothing is known of key %d, which counts for an hour", now, slot)
			}
		}
		if known := s.scopes["x"].terms[keys[0].ID()]; known == nil || known.doubt == nil || known.doubt.step == 0 {
			t.Errorf("at %v nobody knows what key 0 was convicted of", now)
		}
		if n := s.Size(); n != 3+want {
			t.Errorf("at %v the size is %d, want 3 keys and %d of them in the scope", now, n, want)
		}
		checkState(t, s)
	}
	s.Learn(in(11*minute), Change{ID: keys[6].ID(), Scope: "x", Until: in(time.Hour), Learned: start}, nil)
	back := makePool(t, keys, s, in(11*minute))
	if c := back.CensusIn(in(11*minute), "x"); c.Ready != 6 {
		t.Errorf("in the scope %+v, want two that cool", c)
	}
	checkPool(t, back)
}

// So are keys that only other nodes have, though no pool comes or goes.
func TestTermsOfOtherNodesKeys(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 1)
	p := makePool(t, keys, s, start)
	p.Cool(start, 0, Cooldown{For: 100 * time.Hour, Scope: "x"})
	const each = 500
	for i := range 40 {
		now := in(time.Duration(i) * time.Hour)
		for k := range each {
			id := ID{1, byte(i), byte(k), byte(k >> 8)}
			s.Learn(now, Change{ID: id, Scope: "x", Until: now.Add(90 * minute), Learned: now}, nil)
		}
		if n := s.Size(); n > 2*2*each+minTerms {
			t.Fatalf("after %d hours %d are known, of which %d cool", i, n, 2*each)
		}
		for k := range each {
			if s.scopes["x"].terms[ID{1, byte(i), byte(k), byte(k >> 8)}] == nil {
				t.Fatalf("after %d hours nothing is known of what cools", i)
			}
		}
		checkState(t, s)
	}
}

// A clearing that is later than the cooldown it has ended counts for the next one as long as
// nodes may take that for an earlier one.
func TestATermIsKeptUntilItsClearingIsPast(t *testing.T) {
	s, keys := NewState(start), makeKeys(t, 2)
	p := makePool(t, keys, s, start)
	p.Cool(start, 0, Cooldown{For: time.Hour, Scope: "x"})
	p.Cool(start, 1, Cooldown{For: 10, Scope: "x"})
	p.Serve(in(5), in(5), 1, "x")
	q := makePool(t, keys, s, in(20))
	known := s.scopes["x"].terms[keys[1].ID()]
	if known == nil {
		t.Fatal("the clearing is forgotten at once")
	}
	cleared := known.cleared
	p.Cool(in(30), 1, Cooldown{For: 10, Scope: "x"})
	if known := s.scopes["x"].terms[keys[1].ID()]; known.learned <= cleared {
		t.Errorf("it cools anew from %d on, but what was learned until %d is void", known.learned, cleared)
	}
	q.Close(in(time.Minute))
	if n := len(s.scopes["x"].terms); n != 1 {
		t.Errorf("%d terms are left", n)
	}
	checkState(t, s)
}
