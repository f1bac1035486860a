package rotator

import (
	"iter"
	"unicode"
	"unicode/utf8"

	"github.com/keycycler/keycycler/rotator/draw"
)

// The bounds of scopes, whose names are chosen by clients.
const (
	// MaxScopes is how many scopes a State tells apart at a time, those in which
	// something cools. Further names share Overflow. So a key has at most that many
	// cooldowns in scopes and one more, and so has a pool lanes: of 12 bytes a key,
	// and 56 more for each that cools.
	MaxScopes = 64

	// MaxScopeLen is the longest name of a scope, in bytes.
	MaxScopeLen = 256

	// Overflow is the scope that names share which cannot have one of their own:
	// those that ValidScope refuses, and those that come when MaxScopes are taken.
	// A cooldown of one of them keeps the key from requests of all scopes in which,
	// for that pool, nothing cools, since any of these may have been meant. Scopes of
	// their own are not touched by what clients do with other names.
	Overflow = "*"
)

// ValidScope reports whether a scope can have that name: 1 to MaxScopeLen bytes of
// UTF-8 that is printable, spaces included.
func ValidScope(name string) bool {
	if name == "" || len(name) > MaxScopeLen || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// scope is what is known about keys in one scope. It is forgotten as a whole, and before that
// what is known of single keys, when that is over.
type scope struct {
	name    string
	terms   map[ID]*term
	sweepAt int   // how many of these are a reason to look which can be forgotten
	cooling int   // terms with a deadline, over or not
	doubted int   // terms with a suspicion, likewise
	end     int64 // when the last of them is of no use any more
}

// cool sets the key's deadline.
func (sc *scope) cool(t *term, until, learned int64, r Reason, source string) {
	if t.until == 0 {
		sc.cooling++
	}
	t.cool(until, learned, r, source)
	sc.end = max(sc.end, until)
}

// void ends what was learned of the key until the clearing. It reports whether that
// was cooling.
func (sc *scope) void(t *term, cleared, at int64) bool {
	if !t.void(cleared) {
		return false
	}
	cooling := t.until > at
	t.kept = max(t.kept, t.until)
	t.end()
	sc.cooling--
	return cooling
}

// suspect counts a suspicion, which lasts until then. sc may be nil.
func (sc *scope) suspect(end int64) {
	if sc != nil {
		sc.doubted++
		sc.end = max(sc.end, end)
	}
}

// relent ends the term's suspicion, and reports whether there was one. sc is nil for a
// term that is for all requests.
func (sc *scope) relent(t *term) bool {
	was := t.doubt.relent()
	if was && sc != nil {
		sc.doubted--
	}
	return was
}

// idle tells whether nothing is known of any key in the scope that pools must know.
func (sc *scope) idle() bool { return sc.cooling == 0 && sc.doubted == 0 }

// term returns what is known of the key in the scope, to be changed. s.mu is held.
func (s *State) term(sc *scope, id ID, at int64) *term {
	t := sc.terms[id]
	if t == nil {
		if len(sc.terms) >= sc.sweepAt {
			s.sweepTerms(sc, at)
			sc.sweepAt = max(2*len(sc.terms), minTerms)
		}
		t = &term{learned: never, cleared: never}
		sc.terms[id] = t
	}
	return t
}

// minTerms is how many keys are known in a scope before their number is a reason to look which
// of them can be forgotten.
const minTerms = 1000

// sweepTerms forgets what is over of keys in the scope. What a key was convicted of stays for
// as long as the key is known. s.mu is held.
func (s *State) sweepTerms(sc *scope, at int64) {
	for id, t := range sc.terms {
		if t.matters(at) || t.doubt.suspects(at) || after(t.cleared) > at {
			continue // what the key cools for next must come after the clearing
		}
		if t.tidy(at); t.doubt != nil && s.entries[id] != nil {
			continue
		}
		sc.relent(t)
		if t.until != 0 {
			sc.cooling--
		}
		delete(sc.terms, id)
	}
}

// scope returns the scope of that name, or, if it cannot have one of its own, the
// one it shares. s.mu is held.
func (s *State) scope(name string, at, until int64) *scope {
	if sc := s.scopes[name]; sc != nil && sc.end > at {
		return sc
	}
	s.sweepScopes(at)
	switch {
	case !ValidScope(name):
		name = Overflow
	case name != Overflow && (at < s.spilled || !s.roomForScope()):
		// Until what spilled is over, no name has a scope of its own that had none: it
		// could be one of those which cool in Overflow.
		name, s.spilled = Overflow, max(s.spilled, until)
	}
	sc := s.scopes[name]
	if sc == nil {
		sc = &scope{name: name, terms: make(map[ID]*term), sweepAt: minTerms, end: never}
		s.scopes[name] = sc
	}
	return sc
}

// counts returns what counts for requests of the scope besides what does for all: nil if
// nothing. s.mu is held.
func (s *State) counts(scope string) *scope {
	if sc := s.scopes[scope]; sc != nil || scope == "" {
		return sc
	}
	return s.scopes[Overflow]
}

// roomForScope makes room for a scope, if it can: by forgetting one in which nothing
// cools since its cooldowns were cleared.
func (s *State) roomForScope() bool {
	taken, idle := len(s.scopes), ""
	for name, sc := range s.scopes {
		if name == Overflow {
			taken--
		} else if sc.idle() {
			idle = name
		}
	}
	if taken == MaxScopes && idle != "" {
		s.forget(idle)
		taken--
	}
	return taken < MaxScopes
}

// sweepScopes forgets the scopes in which nothing cools any more.
func (s *State) sweepScopes(at int64) {
	for name, sc := range s.scopes {
		if sc.end <= at {
			s.forget(name)
		}
	}
}

// forget forgets a scope, here and in all pools. s.mu is held.
func (s *State) forget(scope string) {
	delete(s.scopes, scope)
	s.shut(scope)
}

// shut frees the lanes of a scope in which nothing cools. s.mu is held.
func (s *State) shut(scope string) {
	for _, p := range s.pools {
		p.shut(scope)
	}
}

// open makes lanes for requests of the scope in all pools that hold the key. s.mu is
// held.
func (s *State) open(sc *scope, e *entry, until int64) {
	for _, m := range e.members {
		m.pool.open(sc.name, until)
	}
}

// voidScopes ends what was learned of the key in any scope until the clearing. It
// reports whether any of that was cooling. The pools are not told. s.mu is held.
func (s *State) voidScopes(id ID, cleared, at int64) bool {
	ended := false
	for _, sc := range s.scopes {
		if t := sc.terms[id]; t != nil {
			ended = t.forgive(sc, cleared, at) || ended
			ended = sc.void(t, cleared, at) || ended
		}
	}
	return ended
}

// inScopes returns the scopes in which the key cools or is suspect, and what is known of
// it there.
// s.mu is held.
func (s *State) inScopes(id ID, at int64) iter.Seq2[*scope, *term] {
	return func(yield func(*scope, *term) bool) {
		for _, sc := range s.scopes {
			if t := sc.terms[id]; t != nil && t.over(at) > at && !yield(sc, t) {
				return
			}
		}
	}
}

// renew tells all pools what is known of the key, after it has changed; better tells
// that it may be ready. s.mu is held.
func (s *State) renew(at int64, id ID, e *entry, better bool) {
	v := s.view(id, e, at)
	for _, m := range e.members {
		m.pool.renew(at, m.slot, better, v)
	}
	if !better {
		return
	}
	for _, sc := range s.scopes {
		if sc.idle() {
			s.shut(sc.name)
		}
	}
}

// view is what draws shall know of a key at one time. The state's lock is held for as
// long as it is in use.
type view struct {
	state *State
	id    ID
	at    int64
	off   bool      // disabled
	all   draw.Mark // for all requests
}

func (s *State) view(id ID, e *entry, at int64) view {
	return view{s, id, at, e.off.Disabled(), e.mark(at)}
}

// in returns what draws shall know for requests of the scope.
func (v *view) in(scope string) draw.Mark {
	if sc := v.state.scopes[scope]; sc != nil {
		if t := sc.terms[v.id]; t != nil {
			return v.all.Join(t.mark(v.at))
		}
	}
	return v.all
}
