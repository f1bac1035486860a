package rotator

import (
	"slices"
	"time"
)

// Refusal is what an answer says against a key, as long as nobody knows whether that is
// the key's own fault.
type Refusal struct {
	Cooldown // what follows if it is; its For counts from At on, and Spare does not count

	Began  time.Time     // when the request went out with the key
	At     time.Time     // when the answer came
	Stated time.Duration // from At on: for how long the answer says that the key is refused; 0: it does not
	Step   time.Duration // how long the key is not asked after the first conviction, above 0
	Max    time.Duration // the longest of these times, which double
	Limit  bool          // of a limit: time alone cures it, and past it the key is as good as others
	Shown  bool          // meanwhile the key counts as one that cools
}

// scopeMemory is for how long a suspicion in a scope lasts, where nothing is stated:
// clients choose scopes, and may not come back.
const scopeMemory = 10 * time.Minute

// Suspect notes that the key was refused, in every pool that holds it: requests avoid it
// while another one is ready. A key that cools, and was asked all the same, stays as it is.
// It reports whether it was none before.
func (p *Pool) Suspect(s Slot, r Refusal) bool { return p.state.suspect(s, r, p) }

func (s *State) suspect(slot Slot, r Refusal, by *Pool) (news bool) {
	at, id := s.at(r.At), by.keys[slot].ID()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id, at)
	if by.outdated(slot, e, r.Reason) {
		return false
	}
	end := int64(forever)
	switch {
	case r.Stated > 0:
		end = addSaturating(at, int64(r.Stated))
	case r.Scope != "":
		end = addSaturating(at, int64(max(scopeMemory, r.For)))
	}
	t, sc := s.termOf(id, e, r.Scope, at, end)
	d := t.doubted()
	if t.until > at && !(d.equal && d.spare <= at) {
		return false
	}
	news = !d.suspects(at)
	since := d.since
	if sc.relent(t); news {
		since, d.ripe, d.way = at, addSaturating(at, int64(r.Step)), by.wayOf(slot)
	}
	d.since = since
	sc.suspect(end)
	d.end, d.shown, d.source, d.reason = end, addSaturating(at, int64(r.For)), r.Source, r.Reason
	d.limit, d.stated, d.seen = r.Limit, r.Stated > 0, r.Shown
	e.usage.marked.Store(true)
	s.renew(at, id, e, false)
	return news
}

// Convict notes that the request which the key refused was served with another one: so
// it was the key's fault, and it cools. It reports whether it did not before. Where the key has
// served meanwhile, nothing changes.
func (p *Pool) Convict(now time.Time, s Slot, r Refusal) bool {
	return p.state.convict(s, now, r, p)
}

func (s *State) convict(slot Slot, now time.Time, r Refusal, by *Pool) (news bool) {
	at, refused, id := s.at(now), s.at(r.At), by.keys[slot].ID()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id, at)
	until := max(min(addSaturating(refused, int64(r.For)), forever-1), at)
	t, sc := s.termOf(id, e, r.Scope, at, until)
	switch cools, suspects := t.until > at, t.doubt.suspects(at); {
	case !cools && !suspects:
		return false
	case until == at: // what it would cool for is over: so is the suspicion
		if sc.relent(t) {
			s.renew(at, id, e, true)
		}
		return false
	}
	d := t.doubted()
	if s.at(r.Began) < d.last {
		return false // it was under way when the key was convicted
	}
	d.step = min(max(2*d.step, int64(r.Step)), max(int64(r.Max), int64(r.Step)))
	d.last, d.limit, d.way = at, r.Limit, by.wayOf(slot)
	spare := addSaturating(refused, d.step)
	if r.Stated > 0 {
		spare = addSaturating(refused, int64(r.Stated))
	}
	news = t.until <= at
	s.coolTerm(t, sc, e, at, max(until, t.until), r.Cooldown)
	t.rest(spare, r.Limit)
	s.renew(at, id, e, false)
	s.tell(e, by.journal, nil, s.about(id, e, sc))
	return news
}

// Serve notes that the upstream has taken a request of the scope with the key, which
// began then: whatever the key was suspected of or cools for since before is over. It
// reports whether it cooled.
func (p *Pool) Serve(now, began time.Time, s Slot, scope string) (cooled bool) {
	return p.usages[s].marked.Load() && p.state.serve(p.keys[s].ID(), now, began, scope, p)
}

func (s *State) serve(id ID, now, began time.Time, scope string, by *Pool) (cooled bool) {
	at, since := s.at(now), s.at(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return false
	}
	changed := false
	if sc := s.counts(scope); sc != nil && sc.terms[id] != nil {
		changed, cooled = s.absolve(sc.terms[id], sc, id, e, at, since, by)
	}
	all, ended := s.absolve(&e.term, nil, id, e, at, since, by)
	if changed = changed || all; changed {
		s.renew(at, id, e, true)
	}
	e.usage.marked.Store(s.knows(id, e, at))
	return cooled || ended
}

// Vouch notes that the upstream knows the key: what it is suspected of or cools for since
// before the question began is over, for all requests, if it is one of these reasons; it says
// nothing about others. It reports whether there was anything.
func (p *Pool) Vouch(now, began time.Time, s Slot, of ...Reason) (ended bool) {
	return p.state.vouch(p.keys[s].ID(), now, began, of, p)
}

func (s *State) vouch(id ID, now, began time.Time, of []Reason, by *Pool) (ended bool) {
	at, since := s.at(now), s.at(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return false
	}
	if d := e.doubt; d.suspects(at) && d.since <= since && slices.Contains(of, d.reason) {
		ended = e.relent()
	}
	if e.until > at && e.learned <= since && slices.Contains(of, e.reason) {
		s.pardon(&e.term, nil, id, e, at, by)
		ended = true
	}
	if ended {
		s.renew(at, id, e, true)
		s.clearings.Add(1)
	}
	return ended
}

// absolve ends what is held against a key that has served. It reports whether anything
// has changed, and whether that was a cooldown. The pools are not told. s.mu is held.
func (s *State) absolve(t *term, sc *scope, id ID, e *entry, at, since int64, by *Pool) (changed, cooled bool) {
	if d := t.doubt; d.suspects(at) && d.limit && !d.stated {
		changed = sc.relent(t)
	}
	changed = t.forgive(sc, since, at) || changed
	if cooled = t.until > at && t.learned <= since; cooled {
		s.pardon(t, sc, id, e, at, by)
	}
	return changed || cooled, cooled
}

// pardon ends a cooldown before its time, and tells the journals. The pools are not told.
// s.mu is held.
func (s *State) pardon(t *term, sc *scope, id ID, e *entry, at int64, by *Pool) {
	// No later than it must be: what others learned after it counts.
	cleared := max(after(t.learned), t.cleared)
	if sc == nil {
		e.cleared = cleared
		s.saveScopes(id, e, at, by)
		e.end()
	} else {
		sc.void(t, cleared, at)
		t.cleared = cleared
	}
	s.tell(e, by.journal, nil, s.about(id, e, sc))
}

// saveScopes learns what cools in scopes anew, so that the clearing does not end it,
// as one of the whole key would.
func (s *State) saveScopes(id ID, e *entry, at int64, by *Pool) {
	for sc, t := range s.inScopes(id, at) {
		if t.void(e.cleared) {
			t.learned = after(e.cleared)
			s.tell(e, by.journal, nil, s.changeIn(sc, id, e))
		}
	}
}

// knows tells whether anything is known of the key. s.mu is held.
func (s *State) knows(id ID, e *entry, at int64) bool {
	if e.until > at || e.doubt != nil {
		return true
	}
	for _, sc := range s.scopes {
		if t := sc.terms[id]; t != nil && (t.until > at || t.doubt != nil) {
			return true
		}
	}
	return false
}

// wayOf returns how the pool asks with the slot's key; 0: it does not matter.
func (p *Pool) wayOf(s Slot) uint32 {
	if p.ways == nil {
		return 0
	}
	return p.ways(s)
}

// outdated tells whether the pool's word about the key counts for nobody: the pool is closed,
// and all that hold the key ask in another way. The state's lock is held.
func (p *Pool) outdated(slot Slot, e *entry, r Reason) bool {
	return p.ways != nil && slices.Contains(p.unfit, r) && len(e.members) > 0 && !e.asked(p.wayOf(slot))
}

// asked tells whether a pool asks with the key in this way. The state's lock is held.
func (e *entry) asked(way uint32) bool {
	return slices.ContainsFunc(e.members, func(m member) bool { return m.pool.wayOf(m.slot) == way })
}

// doubtWay ends what a pool that asks in another way has found out about whether the key
// is any good. The pools are not told. s.mu is held.
func (s *State) doubtWay(p *Pool, slot Slot, e *entry, at int64) {
	d, id := e.doubt, p.keys[slot].ID()
	if p.ways == nil || d == nil || d.way == 0 || d.way == p.wayOf(slot) {
		return
	}
	changed := d.suspects(at) && slices.Contains(p.unfit, d.reason) && e.relent()
	if e.until > at && slices.Contains(p.unfit, e.reason) {
		s.pardon(&e.term, nil, id, e, at, p)
		changed = true
	}
	if changed {
		s.renew(at, id, e, true)
		s.clearings.Add(1)
	}
}
