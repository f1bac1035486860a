package rotator

import (
	"iter"
	"slices"
	"time"
)

// Journal carries what the pools of this process learn to other nodes. It must be
// comparable.
type Journal interface {
	// Record is told of each change of what is known about a key that a pool with this
	// journal holds, whichever pool made it or other journal brought it, and of what
	// is known already about a key that comes into one. It is called with the
	// state's lock held: it must not block, nor call the state.
	Record(Change)
}

// Change is all that is known about a key, or about a key in a scope, after it has
// changed, so that a later Change of the same node about the same can stand for an
// earlier one. Its instants are those of State.Told.
type Change struct {
	ID      ID
	Scope   string    // "": what follows concerns all requests
	Until   time.Time // when its cooldown ends; zero: there is none
	Learned time.Time // when that was learned
	Cleared time.Time // when a cooldown was last ended before its time, in all scopes if Scope is ""; zero: never
	Kept    time.Time // until when that matters, where it is known: in a scope in which the key does not cool
	Spare   time.Time // when it may be asked before Until, where nothing better is left; zero: it may not
	Equal   bool      // then it is as good as a ready one
	Reason  Reason
	Source  string
	Off     Switch // whether an operator has disabled it; 0 in a scope
}

// clockError is by how much two nodes' ideas of one instant may differ: more than
// any network does that a journal is used in. What a node sees happen after
// something else is given an instant that is later by so much, so that all nodes
// find them in the same order.
const clockError = 200 * time.Millisecond

// echo is by how much later a deadline or a clearing must be to be passed on from one
// journal to another: more than it changes by on the way through several of them and
// back. Or else two processes between the same two journals could tell each other the
// same cooldown for ever, each time a bit longer.
const echo = 5 * clockError

// Learn joins what another node knows about a key with what is known here: the
// later clearing, of the cooldowns that were learned after it the later deadline,
// and the later switch. A clearing of the whole key is one in each scope. So nodes
// that have heard the same agree, in whichever order they heard it. Journals other than
// from, which has brought it, are told of what is news. It reports whether anything
// changed for the pools.
func (s *State) Learn(now time.Time, c Change, from Journal) bool {
	if c.Reason >= MaxReasons || !c.Off.Valid() {
		return false
	}
	at, until, learned, cleared := s.at(now), s.instant(c.Until), s.instant(c.Learned), s.instant(c.Cleared)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Scope != "" {
		changed, news := s.learnIn(c, at, until, learned, cleared)
		if news {
			s.pass(c, from)
		}
		return changed
	}
	if s.entries[c.ID] == nil && until <= at && !c.Off.Disabled() {
		s.voidScopes(c.ID, cleared, at)
		return false // it is in no pool
	}
	changed, news := s.join(s.entry(c.ID, at), c, at, until, learned, cleared)
	if news {
		s.pass(c, from)
	}
	return changed
}

// join is Learn for what another node knows for all requests. It reports whether that
// changed anything for the pools, and whether it is news to other journals. s.mu is
// held.
func (s *State) join(e *entry, c Change, at, until, learned, cleared int64) (changed, news bool) {
	if cleared > e.cleared {
		news = cleared > addSaturating(e.cleared, int64(echo))
		changed = s.clearAll(c.ID, e, at, cleared)
		news = news || changed
	}
	if until > max(e.until, at) && learned > e.cleared {
		news = e.hear(until, func() { e.cool(until, learned, c.Reason, c.Source) }) || news
		s.heard(&e.term, nil, e, at, c)
		changed = true
	}
	if c.Off.After(e.off) {
		changed = s.switchTo(at, c.ID, e, c.Off) || changed
		news = true
	}
	return changed, news
}

// learnIn is join for what another node knows in a scope. s.mu is held.
func (s *State) learnIn(c Change, at, until, learned, cleared int64) (changed, news bool) {
	changed, news = s.endIn(c, at, cleared)
	floor := cleared
	if e := s.entries[c.ID]; e != nil {
		floor = max(floor, e.cleared)
	}
	if sc := s.scopes[c.Scope]; sc != nil && sc.terms[c.ID] != nil {
		floor = max(floor, sc.terms[c.ID].cleared)
	}
	if until <= at || learned <= floor {
		return changed, news
	}
	sc := s.scope(c.Scope, at, until)
	t := s.term(sc, c.ID, at)
	if until <= t.until {
		return changed, news
	}
	if sc.name == c.Scope {
		t.cleared = max(t.cleared, cleared)
	}
	news = t.hear(until, func() { sc.cool(t, until, learned, c.Reason, c.Source) }) || news
	s.heard(t, sc, s.entries[c.ID], at, c)
	return true, news
}

// heard lets the pools know of a cooldown that a journal has brought. e is nil where no
// pool holds the key. s.mu is held.
func (s *State) heard(t *term, sc *scope, e *entry, at int64, c Change) {
	t.rest(s.instant(c.Spare), c.Equal)
	sc.relent(t)
	if e == nil {
		return
	}
	if sc != nil {
		s.open(sc, e, t.until)
	}
	e.usage.marked.Store(true)
	s.renew(at, c.ID, e, false)
}

// endIn ends what was learned in the scope until another node's clearing. One of
// what is not known here is kept for as long as what it ended could come. It reports
// whether anything was cooling, and whether it is news to other journals. s.mu is held.
func (s *State) endIn(c Change, at, cleared int64) (ended, news bool) {
	sc, kept := s.scopes[c.Scope], s.instant(c.Kept)
	if sc == nil && kept > at {
		sc = s.scope(c.Scope, at, never)
	}
	if sc == nil || sc.name != c.Scope || sc.terms[c.ID] == nil && kept <= at {
		return false, false
	}
	t := s.term(sc, c.ID, at)
	news = cleared > addSaturating(t.cleared, int64(echo))
	ended = t.forgive(sc, cleared, at)
	ended = sc.void(t, cleared, at) || ended
	t.cleared, t.kept, sc.end = max(t.cleared, cleared), max(t.kept, kept), max(sc.end, kept)
	if e := s.entries[c.ID]; e != nil && ended {
		s.renew(at, c.ID, e, true)
	}
	return ended, ended || news
}

// pass tells the other journals what one has brought, joined with what is known here.
// What has no room of its own here is passed on as it came. s.mu is held.
func (s *State) pass(c Change, from Journal) {
	e := s.entries[c.ID]
	if e == nil {
		return
	}
	if c.Scope == "" {
		c = s.change(c.ID, e)
	} else if sc := s.scopes[c.Scope]; sc != nil && sc.terms[c.ID] != nil {
		c = s.changeIn(sc, c.ID, e)
	}
	s.tell(e, nil, from, c)
}

// tell lets the journals hear of the change: those of all pools that hold the key, each
// once, and also's, of the pool that made it, which may be closed. What has brought it
// does not hear it. s.mu is held.
func (s *State) tell(e *entry, also, from Journal, c Change) {
	for j := range s.listeners(e, also, from) {
		j.Record(c)
	}
}

// listeners yields the journals that tell tells. That of a closed pool counts for as long
// as another pool has it. s.mu is held.
func (s *State) listeners(e *entry, also, from Journal) iter.Seq[Journal] {
	return func(yield func(Journal) bool) {
		for i, m := range e.members {
			j := m.pool.journal
			if j != nil && j != from && !tells(e.members[:i], j) && !yield(j) {
				return
			}
		}
		if also != from && !e.tells(also) && s.hears(also) {
			yield(also)
		}
	}
}

// hears reports whether a pool has the journal. s.mu is held.
func (s *State) hears(j Journal) bool {
	return j != nil && slices.ContainsFunc(s.pools, func(p *Pool) bool { return p.journal == j })
}

// Known calls yield for every key that cools, was cleared or was switched and that
// a pool with the journal holds, and for every scope in which it cools or was
// cleared, until yield returns false. The state is locked meanwhile.
func (s *State) Known(now time.Time, j Journal, yield func(Change) bool) {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if e.matters(at) && e.tells(j) && !yield(s.change(id, e)) {
			return
		}
	}
	for _, sc := range s.scopes {
		for id, t := range sc.terms {
			if e := s.entries[id]; e != nil && t.matters(at) && e.tells(j) && !yield(s.changeIn(sc, id, e)) {
				return
			}
		}
	}
}

// introduce tells a journal what Known would, about one key that it had not to do with.
// s.mu is held.
func (s *State) introduce(j Journal, id ID, e *entry, at int64) {
	if e.matters(at) {
		j.Record(s.change(id, e))
	}
	for _, sc := range s.scopes {
		if t := sc.terms[id]; t != nil && t.matters(at) {
			j.Record(s.changeIn(sc, id, e))
		}
	}
}

// matters reports whether others must know what is known of the key for all requests.
func (e *entry) matters(at int64) bool { return e.until > at || e.cleared != never || e.off != 0 }

// tells reports whether a pool that holds the key has the journal.
func (e *entry) tells(j Journal) bool { return tells(e.members, j) }

func tells(members []member, j Journal) bool {
	return slices.ContainsFunc(members, func(m member) bool { return m.pool.journal == j })
}

// about describes what is known of the key in the scope, or, where sc is nil, for all
// requests. s.mu is held.
func (s *State) about(id ID, e *entry, sc *scope) Change {
	if sc == nil {
		return s.change(id, e)
	}
	return s.changeIn(sc, id, e)
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
		c.Kept = s.told(t.kept)
	}
	return c
}

func (s *State) describe(t *term, cleared int64) Change {
	c := Change{Reason: t.reason, Source: t.source}
	if t.until != 0 {
		c.Until, c.Learned = s.told(t.until), s.told(t.learned)
		if d := t.doubt; d != nil && d.spare != never {
			c.Spare, c.Equal = s.told(d.spare), d.equal
		}
	}
	if cleared != never {
		c.Cleared = s.told(cleared)
	}
	return c
}
