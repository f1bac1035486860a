package rotator

import "time"

// Switch is what an operator last said about whether a key may be used: positive
// when it was disabled, negative when it was enabled again, 0 when nothing was
// ever said. Its magnitude orders what was said on different nodes: the time in
// milliseconds since 1970, or more where that is needed to come after what was
// known (a hybrid logical clock). So nodes with wrong clocks agree, and an
// operator's word always counts over the one that he saw.
type Switch int64

const (
	// maxClock is the latest time that a switch is ordered by, in the year 2096.
	maxClock = 4_000_000_000_000

	// maxSwitch is the largest magnitude: what lies between counts what was said, and
	// is more than can be. Nobody could say anything against a larger one.
	maxSwitch = 5_000_000_000_000
)

// Valid tells whether a process can have said that.
func (s Switch) Valid() bool { return s >= -maxSwitch && s <= maxSwitch }

// Disabled tells whether the key must not be used.
func (s Switch) Disabled() bool { return s > 0 }

// After tells whether s counts over t. Of two that were said at once, on nodes that
// had not heard of each other, the disabling counts.
func (s Switch) After(t Switch) bool {
	a, b := s.order(), t.order()
	return a > b || a == b && s > t
}

// order is the magnitude.
func (s Switch) order() int64 { return max(int64(s), -int64(s)) }

// next returns the switch that is said at now by who knows s.
func (s Switch) next(now time.Time, disabled bool) Switch {
	order := Switch(max(min(now.UnixMilli(), maxClock), s.order()+1))
	if disabled {
		return order
	}
	return -order
}

// turn disables or enables the key in every pool that holds it, and tells the
// journals. It reports whether that changed anything here. To say again what is so is
// a new word: others may never have heard the first, or heard another one since.
func (s *State) turn(id ID, now time.Time, disabled bool, by *Pool) bool {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id, at)
	changed := s.switchTo(at, id, e, e.off.next(now, disabled))
	if !disabled {
		s.clearings.Add(1)
		if s.forgive(id, e, at) {
			s.renew(at, id, e, true)
		}
	}
	s.tell(e, by.journal, nil, s.change(id, e))
	return changed
}

// switchTo keeps the switch here and tells all pools. It reports whether it is
// another state than before. s.mu is held.
func (s *State) switchTo(at int64, id ID, e *entry, off Switch) bool {
	same := e.off.Disabled() == off.Disabled()
	e.off = off
	if !same {
		s.renew(at, id, e, true)
	}
	return !same
}

// forgive forgets what the key was suspected of, for all requests and in all scopes. It
// reports whether there was anything. s.mu is held.
func (s *State) forgive(id ID, e *entry, at int64) bool {
	changed := e.forgive(nil, at, at)
	for _, sc := range s.scopes {
		if t := sc.terms[id]; t != nil {
			changed = t.forgive(sc, at, at) || changed
		}
	}
	return changed
}
