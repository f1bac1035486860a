package rotator

// maxSessions bounds how many conversations are remembered, those of all pools of a state
// together. Clients make them. The one that was not used for longest is forgotten first.
const maxSessions = 100_000

// Home returns the key that served the session last, if that is known: from whichever pool
// of the state, which may not be this one. It counts as a use, and does not allocate.
func (p *Pool) Home(s Session) (ID, bool) { return p.state.sessions.Find(s) }

// SetHome notes that the key at slot has served the session: that is its home from now on,
// as long as it is among the last 100,000 that were used. Sessions outlive the pool, and
// are told to nobody else.
func (p *Pool) SetHome(s Session, slot Slot) { p.state.sessions.Set(s, p.keys[slot].ID()) }
