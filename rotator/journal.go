package rotator

import (
	"slices"
	"time"
)

// Journal carries what the pools of this process learn to other nodes.
type Journal interface {
	// Record is told of each change that a pool with this journal made, and of what
	// is known already about a key that comes into one. It is called with the
	// state's lock held: it must not block, nor call the state.
	Record(Change)
}

// Change is all that is known about a key, or about a key in a scope, after it has
// changed, so that a later Change of the same node about the same can stand for an
// earlier one.
type Change struct {
	ID      ID
	Scope   string    // "": what follows concerns all requests
	Until   time.Time // when its cooldown ends; zero: there is none
	Learned time.Time // when that was learned
	Cleared time.Time // when a cooldown was last ended before its time, in all scopes if Scope is ""; zero: never
	Kept    time.Time // until when that matters, where it is known: in a scope in which the key does not cool
	Reason  Reason
	Source  string
	Off     Switch // whether an operator has disabled it; 0 in a scope
}

// clockError is by how much two nodes' ideas of one instant may differ: more than
// any network does that a journal is used in. What a node sees happen after
// something else is given an instant that is later by so much, so that all nodes
// find them in the same order.
const clockError = 200 * time.Millisecond

// Learn joins what another node knows about a key with what is known here: the
// later clearing, of the cooldowns that were learned after it the later deadline,
// and the later switch. A clearing of the whole key is one in each scope. So nodes
// that have heard the same agree, in whichever order they heard it. Learn tells no
// journal. It reports whether anything changed for the pools.
func (s *State) Learn(now time.Time, c Change) bool {
	if c.Reason >= MaxReasons || !c.Off.Valid() {
		return false
	}
	at, until, learned, cleared := s.at(now), s.instant(c.Until), s.instant(c.Learned), s.instant(c.Cleared)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Scope != "" {
		return s.learnIn(c, at, until, learned, cleared)
	}
	if s.entries[c.ID] == nil && until <= at && !c.Off.Disabled() {
		s.voidScopes(c.ID, cleared, at)
		return false // it is in no pool
	}
	e := s.entry(c.ID, at)
	changed := false
	if cleared > e.cleared {
		changed = s.clearAll(c.ID, e, at, cleared)
	}
	if until > max(e.until, at) && learned > e.cleared {
		serial := e.echo(until, learned)
		e.cool(until, learned, c.Reason, c.Source)
		e.serial = serial
		changed = true
	}
	if c.Off.After(e.off) {
		changed = s.switchTo(c.ID, e, c.Off) || changed
	}
	return changed
}

// learnIn is Learn for what another node knows in a scope. s.mu is held.
func (s *State) learnIn(c Change, at, until, learned, cleared int64) bool {
	changed := s.endIn(c, at, cleared)
	floor := cleared
	if e := s.entries[c.ID]; e != nil {
		floor = max(floor, e.cleared)
	}
	if sc := s.scopes[c.Scope]; sc != nil && sc.terms[c.ID] != nil {
		floor = max(floor, sc.terms[c.ID].cleared)
	}
	if until <= at || learned <= floor {
		return changed
	}
	sc := s.scope(c.Scope, at, until)
	t := sc.term(c.ID)
	if until <= t.until {
		return changed
	}
	if sc.name == c.Scope {
		t.cleared = max(t.cleared, cleared)
	}
	serial := t.echo(until, learned)
	s.coolIn(sc, c.ID, until, learned, c.Reason, c.Source)
	t.serial = serial
	return true
}

// endIn ends what was learned in the scope until another node's clearing. One of
// what is not known here is kept for as long as what it ended could come. It reports
// whether anything was cooling. s.mu is held.
func (s *State) endIn(c Change, at, cleared int64) bool {
	sc, kept := s.scopes[c.Scope], s.instant(c.Kept)
	if sc == nil && kept > at {
		sc = s.scope(c.Scope, at, never)
	}
	if sc == nil || sc.name != c.Scope || sc.terms[c.ID] == nil && kept <= at {
		return false
	}
	t := sc.term(c.ID)
	ended := sc.void(t, cleared, at)
	t.cleared, t.kept, sc.end = max(t.cleared, cleared), max(t.kept, kept), max(sc.end, kept)
	if e := s.entries[c.ID]; e != nil && ended {
		s.renew(c.ID, e)
	}
	return ended
}

// Known calls yield for every key that cools, was cleared or was switched and that
// a pool with the journal holds, and for every scope in which it cools or was
// cleared, until yield returns false. The state is locked meanwhile.
func (s *State) Known(now time.Time, j Journal, yield func(Change) bool) {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if (e.until > at || e.cleared != never || e.off != 0) && e.tells(j) && !yield(s.change(id, e)) {
			return
		}
	}
	for _, sc := range s.scopes {
		for id, t := range sc.terms {
			if e := s.entries[id]; e != nil && max(t.until, t.kept) > at && e.tells(j) && !yield(s.changeIn(sc, id, e)) {
				return
			}
		}
	}
}

// tells reports whether a pool that holds the key has the journal.
func (e *entry) tells(j Journal) bool {
	return slices.ContainsFunc(e.members, func(m member) bool { return m.pool.journal == j })
}

// change describes what is known of the key for all requests, for a journal. s.mu is
// held.
func (s *State) change(id ID, e *entry) Change {
	c := s.describe(&e.term, e.cleared)
	c.ID, c.Off = id, e.off
	return c
}

// changeIn is change for what is known in a scope. The clearing of the whole key
// comes along, since the two may be heard of in either order. s.mu is held.
func (s *State) changeIn(sc *scope, id ID, e *entry) Change {
	t := sc.terms[id]
	c := s.describe(t, max(t.cleared, e.cleared))
	c.ID, c.Scope = id, sc.name
	if t.until == 0 && t.kept != 0 {
		c.Kept = s.time(t.kept)
	}
	return c
}

func (s *State) describe(t *term, cleared int64) Change {
	c := Change{Reason: t.reason, Source: t.source}
	if t.until != 0 {
		c.Until, c.Learned = s.time(t.until), s.time(t.learned)
	}
	if cleared != never {
		c.Cleared = s.time(cleared)
	}
	return c
}
