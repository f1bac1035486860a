package rotator

import (
	"slices"
	"time"

	"github.com/keycycler/keycycler/rotator/draw"
	"github.com/keycycler/keycycler/rotator/meter"
)

// Limit is how much a pool lets go out with each of its keys from this process, or from
// all that share it, so that a key is not driven into the upstream's own limit. What is
// counted belongs to the key: it outlives the pool, and all pools that hold the key count,
// each against its own limit.
type Limit struct {
	Concurrency int           // requests under way at a time; 0: any number
	Requests    int           // in any window of the length Per; 0: any number
	Per         time.Duration // above 0 if Requests is
	Tokens      int64         // in any window of the length TokensPer; 0: any number
	TokensPer   time.Duration // above 0 if Tokens is
	ByModel     bool          // of each of a key's models, as Want.Model names them; such are not shared
	Shares      Shares        // with whom Requests and Tokens of a key are shared; nil: they are this process's alone

	// Why a key cools that is at its limit, and where that is stated.
	Reason Reason
	Source string
}

// WithLimit gives the pool's keys a limit: Take and Draw heed it.
func WithLimit(l Limit) Option {
	return func(p *Pool) {
		p.limit = &l
		p.bounds = meter.Limit{Concurrency: l.Concurrency, Requests: l.Requests, Per: l.Per, Tokens: l.Tokens, TokensPer: l.TokensPer, ByModel: l.ByModel, Shared: l.Shares != nil && !l.ByModel}
	}
}

// measure makes the key's usage be metered for the pool's limit. s.mu is held.
func (e *entry) measure(p *Pool) {
	m := e.usage.meter.Load()
	if m == nil {
		m = meter.New(&e.usage.InFlight)
		defer e.usage.meter.Store(m)
	}
	m.Measure(&p.bounds, e.wants)
}

// wants tells whether a pool that holds the key has a limit for such a window. s.mu is
// held.
func (e *entry) wants(tokens bool, per time.Duration) bool {
	return slices.ContainsFunc(e.members, func(m member) bool {
		of := m.pool.bounds.Per
		if tokens {
			of = m.pool.bounds.TokensPer
		}
		return of == per
	})
}

// idle tells whether nothing is under way with the key, or was lately, that matters for
// a limit.
func (u *usage) idle(at int64) bool {
	m := u.meter.Load()
	return m == nil || m.Idle(at)
}

// mostCramped is how many keys are looked at that have too little room for a request.
const mostCramped = 32

// reserve counts a request that begins with the key, unless the key has no room for it. If
// it has none for any, the pool keeps it out of its draws; if it has some, the request does
// not get it again, and d says when it will have enough. p.mu is held.
func (p *Pool) reserve(at int64, d *Drawn, w *Want) bool {
	u := p.usages[d.Slot]
	if p.limit == nil {
		u.begin(at)
		return true
	}
	c, room := u.meter.Load().Reserve(at, &p.bounds, w.Model, w.Tokens)
	if out := room.Any > at && !p.bounds.ByModel; out {
		p.extend(d.Slot, room.Any, p.limit.Reason, at)
	} else if c == nil {
		p.pass(d.Slot, w, room.Request)
	}
	if c == nil {
		return false
	}
	u.used(at)
	if p.bounds.Tokens > 0 || p.bounds.ByModel {
		d.Held = draw.Held{By: c, At: at, Tokens: min(max(w.Tokens, 0), p.bounds.Tokens)}
	}
	return true
}

// cramped is the keys that have too little room for the request that a pool draws for.
type cramped struct {
	tried []Slot // these, behind those that the request has tried
	n     int
	from  int64 // when the first of them has enough; forever: when a request ends
}

// pass makes the request go past a key that has too little room for it until then. p.mu is
// held.
func (p *Pool) pass(s Slot, w *Want, until int64) {
	c := &p.cramped
	if c.n == 0 {
		c.tried, c.from = append(c.tried[:0], w.Tried...), forever
	}
	c.n++
	c.from = min(c.from, until)
	c.tried = append(c.tried, s)
	w.Tried = c.tried
}

// none returns what is known of a request for which there is no key. p.mu is held.
func (c *cramped) none(at int64) (d Drawn) {
	if d.Cramped = c.n; c.n > 0 && c.from < forever {
		d.Room = time.Duration(c.from - at)
	}
	return d
}

// atLimit adds the models for which the key has no room until a time that is known. Where a
// scope of that name cools, the later counts.
func (p *Pool) atLimit(at int64, s Slot, scopes []ScopeStatus) []ScopeStatus {
	if p.limit == nil || !p.bounds.ByModel {
		return scopes
	}
	for model, until := range p.usages[s].meter.Load().FullModels(at, &p.bounds) {
		full := ScopeStatus{Scope: model, Left: time.Duration(until - at), Reason: p.limit.Reason, Source: p.limit.Source}
		i := slices.IndexFunc(scopes, func(sc ScopeStatus) bool { return sc.Scope == model })
		switch {
		case until == forever || model == "":
		case i < 0:
			scopes = append(scopes, full)
		case scopes[i].Left < full.Left:
			scopes[i] = full
		}
	}
	return scopes
}

// full returns until when the key has no room for any request: not after at, if it has.
func (p *Pool) full(at int64, s Slot) int64 {
	if p.limit == nil {
		return never
	}
	return p.usages[s].meter.Load().Full(at, &p.bounds)
}

// Stated is one of a key's limits, as an upstream has stated it.
type Stated = meter.Stated

// Habits is how much of what they may have answers use, by model.
type Habits = meter.Habits

// Learn notes what an answer states of the key's limits, for requests of the model, or for
// all where keys have no limits by model. As long as little is left, other keys have their
// turns first. The first answer of a key allocates, and one that states something else.
func (p *Pool) Learn(now time.Time, s Slot, model string, stated []Stated) {
	u := p.usages[s]
	if u.learned.Load() == nil {
		u.learned.CompareAndSwap(nil, new(meter.Learned))
	}
	mark, little := uint32(0), u.learned.Load().Note(p.state.at(now), model, stated)
	if model != "" {
		mark = draw.ModelMark(model)
	}
	if little > never || u.Model.Load() == mark {
		u.Model.Store(mark)
		u.Little.Store(little)
	}
}

// release tells all pools that a request has ended with a key that was at its limit. at
// is any time since it began.
func (s *State) release(at int64, id ID, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew(at, id, e, true)
}
