package rotator

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// usage counts what one key was used for in this process. It belongs to the key,
// so that it outlives the pool.
type usage struct {
	attempts   atomic.Uint64
	lastUsed   atomic.Int64 // nanoseconds since the state's epoch, plus one; 0: never
	served     atomic.Int64 // likewise, times 16: when the last request began that the upstream took; and how often that was testified to
	inFlight   atomic.Int32
	rejections [MaxReasons]atomic.Uint32
	meter      atomic.Pointer[meter] // nil: no pool has had a limit for the key
}

// A success testifies to its key so many times.
const (
	testimonyBits  = 4
	maxTestimonies = 1<<testimonyBits - 1
)

// Take is PickFor and Begin in one: of all requests that come at once, none gets a key
// that others have just brought to its limit. Where Take reports true, the request
// wants an End.
func (p *Pool) Take(now time.Time, w Want) (s Slot, ok bool) {
	if p.limit == nil {
		if s, ok = p.PickFor(now, w); ok {
			p.entries[s].usage.begin(p.state.at(now))
		}
		return s, ok
	}
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.expire(at)
	d := p.in(at, w.Scope)
	for {
		// A key that another pool has brought to its limit is found out here, once.
		if s, ok = d.choose(w, p.rand); !ok || p.reserve(at, s) {
			return s, ok
		}
	}
}

// Begin notes that a request goes out with the key, cooling or not, unless the key is
// at the pool's limit: then it reports false. Where it reports true, the request wants
// an End.
func (p *Pool) Begin(now time.Time, s Slot) bool {
	at := p.state.at(now)
	if p.limit == nil {
		p.entries[s].usage.begin(at)
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.expire(at)
	return p.reserve(at, s)
}

// begin counts a request that no limit is asked for.
func (u *usage) begin(at int64) {
	m := u.meter.Load()
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
	}
	u.count(at, m)
}

// count counts a request. m may be nil; m.mu is held.
func (u *usage) count(at int64, m *meter) {
	if m != nil {
		for _, w := range m.windows {
			w.add(at, 1)
		}
	}
	u.attempts.Add(1)
	u.inFlight.Add(1)
	u.lastUsed.Store(at + 1)
}

// End notes that a request has come back.
func (p *Pool) End(s Slot) {
	e := p.entries[s]
	e.usage.inFlight.Add(-1)
	if m := e.usage.meter.Load(); m != nil && m.released() {
		p.state.release(p.keys[s].ID(), e)
	}
}

// Serve notes that the upstream has taken a request with the key, which began then.
func (p *Pool) Serve(began time.Time, s Slot) {
	p.entries[s].usage.served.Store((p.state.at(began) + 1) << testimonyBits)
}

// Testify reports whether the upstream has taken a request with the key that began after
// then, for as many times as that is believed.
func (p *Pool) Testify(then time.Time, s Slot) bool {
	served, at := &p.entries[s].usage.served, p.state.at(then)
	for {
		v := served.Load()
		if v>>testimonyBits <= at+1 || v&maxTestimonies == maxTestimonies {
			return false
		}
		if served.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// Reject notes that the upstream rejected a request for the reason, whether or not
// the key cools for it.
func (p *Pool) Reject(s Slot, r Reason) { p.entries[s].usage.rejections[r].Add(1) }

// Condition is whether a key can be picked.
type Condition uint8

// The conditions. A key that is disabled and would cool besides counts as disabled.
const (
	Ready Condition = iota
	Cooling
	Disabled
)

var conditionNames = [...]string{Ready: "ready", Cooling: "cooling", Disabled: "disabled"}

// String returns the condition's name, as in "ready".
func (c Condition) String() string { return conditionNames[c] }

// ParseCondition returns the condition of that name.
func ParseCondition(name string) (Condition, bool) {
	for c, n := range conditionNames {
		if n == name {
			return Condition(c), true
		}
	}
	return 0, false
}

// Status is what is known about one key at one instant. The counters are this
// process's.
type Status struct {
	Condition  Condition     // for all requests: a key that cools in scopes only is ready
	Left       time.Duration // until it has cooled, above 0 while it cools or would if it were not disabled; 0 if that is Busy
	Busy       bool          // it cools until a request ends that is under way with it, at any time
	Reason     Reason        // why, if Left is above 0 or the key Busy
	Source     string        // where that was stated, likewise
	Attempts   uint64
	InFlight   int
	LastUsed   time.Time // zero: never
	Rejections [MaxReasons]uint32
	Scopes     []ScopeStatus // in which it cools, by name; nil: none
}

// ScopeStatus is what is known about one key in a scope in which it cools.
type ScopeStatus struct {
	Scope  string
	Left   time.Duration
	Reason Reason
	Source string
}

// Status returns what is known about the key at s.
func (p *Pool) Status(now time.Time, s Slot) Status {
	at, e := p.state.at(now), p.entries[s]
	st := Status{
		Attempts: e.usage.attempts.Load(),
		InFlight: int(e.usage.inFlight.Load()),
	}
	if last := e.usage.lastUsed.Load(); last > 0 {
		st.LastUsed = p.state.time(last - 1)
	}
	for r := range st.Rejections {
		st.Rejections[r] = e.usage.rejections[r].Load()
	}
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	if e.until > at {
		st.Condition, st.Left, st.Reason, st.Source = Cooling, time.Duration(e.until-at), e.reason, e.source
	}
	switch full := p.full(s); {
	case full == forever && st.Left == 0:
		st.Condition, st.Busy, st.Reason, st.Source = Cooling, true, p.limit.Reason, p.limit.Source
	case full != forever && full > max(e.until, at):
		st.Condition, st.Left, st.Reason, st.Source = Cooling, time.Duration(full-at), p.limit.Reason, p.limit.Source
	}
	if e.off.Disabled() {
		st.Condition = Disabled
	}
	for sc, t := range p.state.inScopes(p.keys[s].ID(), at) {
		st.Scopes = append(st.Scopes, ScopeStatus{sc.name, time.Duration(t.until - at), t.reason, t.source})
	}
	slices.SortFunc(st.Scopes, func(a, b ScopeStatus) int { return cmp.Compare(a.Scope, b.Scope) })
	return st
}
