package rotator

import "time"

// Skip says that time has passed for d that the clock of this process did not count:
// its machine stood still, as a virtual one does that is suspended. What is known
// ends earlier by as much, as it does on other nodes. It is safe for concurrent use.
func (s *State) Skip(d time.Duration) {
	if d > 0 {
		s.skipped.Add(int64(d))
	}
}

// Skipped is how much time was skipped since the state was made.
func (s *State) Skipped() time.Duration { return time.Duration(s.skipped.Load()) }

// Told is the instant t as journals are told it: what was skipped until now has passed. What
// waits to be written so means the same instant, however much is skipped meanwhile.
func (s *State) Told(t time.Time) time.Time { return t.Add(s.Skipped()) }

// Size is of about how many keys something may be known, in how many scopes.
func (s *State) Size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.entries)
	for _, sc := range s.scopes {
		n += len(sc.terms)
	}
	return n
}
