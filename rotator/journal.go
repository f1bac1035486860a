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

// Change is all that is known about a key after it has changed, so that a later
// Change of the same node can stand for an earlier one.
type Change struct {
	ID      ID
	Until   time.Time // when its cooldown ends; zero: there is none
	Learned time.Time // when that was learned
	Cleared time.Time // when an operator last ended a cooldown; zero: never
	Reason  Reason
	Source  string
	Off     Switch // whether an operator has disabled it
}

// clockError is by how much two nodes' ideas of one instant may differ: more than
// any network does that a journal is used in. What a node sees happen after
// something else is given an instant that is later by so much, so that all nodes
// find them in the same order.
const clockError = 200 * time.Millisecond

// Learn joins what another node knows about a key with what is known here: the
// later clearing, of the cooldowns that were learned after it the later deadline,
// and the later switch. So nodes that have heard the same agree, in whichever order they heard
// it. Learn tells no journal. It reports whether anything changed for the pools.
func (s *State) Learn(now time.Time, c Change) bool {
	if c.Reason >= MaxReasons {
		return false
	}
	at, until, learned, cleared := s.at(now), s.instant(c.Until), s.instant(c.Learned), s.instant(c.Cleared)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[c.ID] == nil && until <= at && !c.Off.Disabled() {
		return false // it is in no pool
	}
	e := s.entry(c.ID, at)
	changed := false
	if cleared > e.cleared {
		changed = e.void(cleared) && e.until > at
		if changed {
			e.clear(cleared)
		}
		e.cleared = cleared
	}
	if until > max(e.until, at) && learned > e.cleared {
		e.cool(until, learned, c.Reason, c.Source)
		changed = true
	}
	if c.Off.After(e.off) {
		changed = e.turn(c.Off, at) || changed
	}
	return changed
}

// Known calls yield for every key that cools, was cleared or was switched and that
// a pool with the journal holds, until yield returns false. The state is locked meanwhile.
func (s *State) Known(now time.Time, j Journal, yield func(Change) bool) {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if (e.until > at || e.cleared != never || e.off != 0) && e.tells(j) && !yield(s.change(id, e)) {
			return
		}
	}
}

// tells reports whether a pool that holds the key has the journal.
func (e *entry) tells(j Journal) bool {
	return slices.ContainsFunc(e.members, func(m member) bool { return m.pool.journal == j })
}

// change describes the entry for a journal. s.mu is held.
func (s *State) change(id ID, e *entry) Change {
	c := Change{ID: id, Reason: e.reason, Source: e.source, Off: e.off}
	if e.until != 0 {
		c.Until, c.Learned = s.time(e.until), s.time(e.learned)
	}
	if e.cleared != never {
		c.Cleared = s.time(e.cleared)
	}
	return c
}
