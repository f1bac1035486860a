package rotator

import "time"

// Token stands for one cooldown that this process has set. The zero Token is that
// of none.
type Token struct {
	id     ID
	scope  string
	serial uint32
}

// token makes a token of the cooldown that has just been set. s.mu is held.
func (s *State) token(id ID, scope string, t *term) Token {
	s.serial++
	t.serial = s.serial
	return Token{id, scope, t.serial}
}

// retract ends the cooldown that the token is of, if it still holds, and tells the
// journals. It reports whether it did.
func (s *State) retract(now time.Time, token Token, by *Pool) bool {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.holds(token)
	if t == nil || t.until <= at {
		return false
	}
	e, sc := s.entry(token.id, at), s.scopes[token.scope]
	// No later than it must be: what others learned after it counts.
	cleared := max(after(t.learned), t.cleared)
	if sc == nil {
		e.cleared = cleared
		s.saveScopes(token.id, e, at, by)
		s.clearAll(token.id, e, at, cleared)
	} else {
		sc.void(t, cleared, at)
		t.cleared = cleared
		s.renew(token.id, e)
	}
	s.tell(e, by.journal, nil, s.about(token.id, e, sc))
	return true
}

// holds returns the cooldown that the token is of, nil if another one has taken its
// place. s.mu is held.
func (s *State) holds(token Token) *term {
	var t *term
	if e := s.entries[token.id]; e != nil && token.scope == "" {
		t = &e.term
	} else if sc := s.scopes[token.scope]; sc != nil {
		t = sc.terms[token.id]
	}
	if t == nil || t.serial == 0 || t.serial != token.serial {
		return nil
	}
	return t
}

// echo returns the serial that the term keeps when it hears of that deadline: its
// own, if this is its own cooldown that comes back, with what clocks differ by.
func (t *term) echo(until, learned int64) uint32 {
	const blur = int64(clockError)
	if until-t.until < blur && learned-t.learned < blur && t.learned-learned < blur {
		return t.serial
	}
	return 0
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
