package rotator

import (
	"slices"
	"sync"
	"time"
)

// Limit is how much a pool lets go out with each of its keys from this process, or from all
// that share it, so that a key is not driven into the upstream's own limit. What is counted belongs to the
// key: it outlives the pool, and all pools that hold the key count, each against its
// own limit.
type Limit struct {
	Concurrency int           // requests under way at a time; 0: any number
	Requests    int           // in any window of the length Per; 0: any number
	Per         time.Duration // above 0 if Requests is
	Shares      Shares        // with whom Requests is shared; nil: they are this process's alone

	// Why a key cools that is at its limit, and where that is stated.
	Reason Reason
	Source string
}

// WithLimit gives the pool's keys a limit: Take and Begin heed it.
func WithLimit(l Limit) Option {
	return func(p *Pool) { p.limit = &l }
}

// meter counts what goes out with a key that some pool has a limit for. Its lock is
// taken after all others.
type meter struct {
	mu      sync.Mutex
	awaited bool      // a pool keeps the key out of its draws until a request ends
	windows []*window // one for each length that a pool has a limit for
}

// window returns the one of that length, nil if there is none.
func (m *meter) window(per time.Duration) *window {
	for _, w := range m.windows {
		if w.per == int64(per) {
			return w
		}
	}
	return nil
}

// measure makes the key's usage be metered for the limit. What is new begins with what
// is known: the requests under way, and those that another window has counted. s.mu is
// held.
func (e *entry) measure(l *Limit) {
	m := e.usage.meter.Load()
	if m == nil {
		m = new(meter)
		defer e.usage.meter.Store(m)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.Requests == 0 || m.window(l.Per) != nil {
		return
	}
	w := newWindow(l.Per)
	if len(m.windows) > 0 {
		w.learn(m.windows[0])
	}
	m.windows = append(slices.DeleteFunc(m.windows, func(w *window) bool { return !e.wants(w) }), w)
}

// wants tells whether a pool that holds the key has a limit for such a window. s.mu is
// held.
func (e *entry) wants(w *window) bool {
	return slices.ContainsFunc(e.members, func(m member) bool {
		return m.pool.limit != nil && int64(m.pool.limit.Per) == w.per
	})
}

// idle tells whether nothing is under way with the key, or was lately, that matters for
// a limit.
func (u *usage) idle(at int64) bool {
	m := u.meter.Load()
	if m == nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	lately := func(w *window) bool { return w.roomFrom(1) > at }
	return u.InFlight.Load() <= 0 && !slices.ContainsFunc(m.windows, lately)
}

// until returns until when the key is at its limit: not after now, if it is not. m.mu
// is held.
func (l *Limit) until(at int64, u *usage, m *meter) int64 {
	if l.Concurrency > 0 && int(u.InFlight.Load()) >= l.Concurrency {
		// Whoever ends a request takes this lock after it: either it is counted already,
		// or the pools are told of the end.
		m.awaited = true
		return forever
	}
	if l.Requests == 0 {
		return never
	}
	if l.Shares != nil {
		return m.window(l.Per).leasedFrom(at, l.Requests)
	}
	return m.window(l.Per).roomFrom(l.Requests)
}

// reserve counts a request that begins with the key, unless the key is at its limit. If
// it is so now, the pool keeps it out of its draws. p.mu is held.
func (p *Pool) reserve(at int64, s Slot) (ok bool) {
	u := p.usages[s]
	if p.limit == nil {
		u.begin(at)
		return true
	}
	m := u.meter.Load()
	m.mu.Lock()
	until := p.limit.until(at, u, m)
	if ok = until <= at; ok {
		u.count(at, m)
		until = p.limit.until(at, u, m)
	}
	if until > at {
		p.limit.hunger(m, until)
	}
	m.mu.Unlock()
	if until > at {
		p.extend(s, until, p.limit.Reason, at)
	}
	return ok
}

// full returns until when the key is at its limit: not after now, if it is not.
func (p *Pool) full(at int64, s Slot) int64 {
	if p.limit == nil {
		return never
	}
	u := p.usages[s]
	m := u.meter.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.limit.until(at, u, m)
}

// released reports whether pools are to be told that a request has ended.
func (m *meter) released() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	awaited := m.awaited
	m.awaited = false
	return awaited
}

// release tells all pools that a request has ended with a key that was at its limit. at
// is any time since it began.
func (s *State) release(at int64, id ID, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew(at, id, e, true)
}
