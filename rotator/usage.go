package rotator

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator/draw"
)

// usage counts what one key was used for in this process. It belongs to the key,
// so that it outlives the pool. Those of keys that come together stand together, since a
// request of a large pool waits for little else than the memory.
type usage struct {
	draw.Use   // times since the state's epoch
	attempts   atomic.Uint64
	rejections atomic.Pointer[[MaxReasons]atomic.Uint32] // by reason; nil: there was none
	meter      atomic.Pointer[meter]                     // nil: no pool has had a limit for the key
	marked     atomic.Bool                               // something may be known of the key, for all requests or in a scope
}

// Take is Draw for who does not care how the key was found.
func (p *Pool) Take(now time.Time, w Want) (Slot, bool) {
	d, ok := p.Draw(now, w)
	return d.Slot, ok
}

// Draw is PickFor for a request that goes out: of all requests that come at once, none
// gets a key that others have just brought to its limit. Where it reports true, the
// request wants an End.
func (p *Pool) Draw(now time.Time, w Want) (d Drawn, ok bool) {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.Expire(at)
	for {
		// A key that another pool has brought to its limit is found out here, once.
		if d, ok = p.in(at, w.Scope).Choose(at, &w, p.rand); !ok || p.reserve(at, d.Slot) {
			return d, ok
		}
		p.Settled(d)
	}
}

// Settled ends what Drawn.Explores began: another request may find out about the key.
func (p *Pool) Settled(d Drawn) {
	if d.Explores {
		p.Release(d.Slot)
	}
}

// claim is Hold, unless another request does so already. The draw asks.
func (p *Pool) claim(s Slot) bool { return p.entries[s].explored.CompareAndSwap(0, 1) }

// Hold notes that a request finds out what the key is worth, so that no other one needs to:
// until Release.
func (p *Pool) Hold(s Slot) { p.entries[s].explored.Add(1) }

// Release ends what Hold, or a Draw that explores, began.
func (p *Pool) Release(s Slot) { p.entries[s].explored.Add(-1) }

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
	u.InFlight.Add(1)
	u.LastUsed.Store(at + 1)
}

// End notes that a request has come back.
func (p *Pool) End(s Slot) {
	u := p.usages[s]
	u.InFlight.Add(-1)
	if m := u.meter.Load(); m != nil && m.released() {
		p.state.release(u.LastUsed.Load()-1, p.keys[s].ID(), p.entries[s])
	}
}

// Reject notes that the upstream rejected a request for the reason, whether or not
// the key cools for it. The first one of a key allocates.
func (p *Pool) Reject(s Slot, r Reason) {
	u := p.usages[s]
	if u.rejections.Load() == nil {
		u.rejections.CompareAndSwap(nil, new([MaxReasons]atomic.Uint32))
	}
	u.rejections.Load()[r].Add(1)
}

// rejected returns how often, by reason.
func (u *usage) rejected() (counts [MaxReasons]uint32) {
	if rejections := u.rejections.Load(); rejections != nil {
		for r := range counts {
			counts[r] = rejections[r].Load()
		}
	}
	return counts
}

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

// Suspicion is what a key is suspected of that was refused, as long as nobody knows
// whether that was its own fault.
type Suspicion struct {
	Reason Reason
	Source string
	Left   time.Duration // of the cooldown that would follow; 0: it would be over
	Shown  bool          // it counts as cooling for as long
}

// Is tells whether it is for the suspicion alone that the key counts as cooling for as
// long as that. s may be nil.
func (s *Suspicion) Is(left time.Duration) bool {
	return s != nil && s.Shown && left > 0 && s.Left == left
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
	Suspect    *Suspicion    // nil: of nothing
	Scopes     []ScopeStatus // in which it cools or is suspect, by name; nil: none
}

// ScopeStatus is what is known about one key in a scope in which it cools.
type ScopeStatus struct {
	Scope  string
	Left   time.Duration // until it has cooled; 0: it is suspect, and not to be seen as cooling
	Reason Reason
	Source string

	Suspect *Suspicion // nil: of nothing
}

// Status returns what is known about the key at s.
func (p *Pool) Status(now time.Time, s Slot) Status {
	at, e := p.state.at(now), p.entries[s]
	st := Status{
		Attempts: e.usage.attempts.Load(),
		InFlight: int(e.usage.InFlight.Load()), Rejections: e.usage.rejected(),
	}
	if last := e.usage.LastUsed.Load(); last > 0 {
		st.LastUsed = p.state.time(last - 1)
	}
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	st.Left, st.Reason, st.Source, st.Suspect = e.shown(at)
	if st.Left > 0 {
		st.Condition = Cooling
	}
	switch full := p.full(at, s); {
	case full == forever && st.Left == 0:
		st.Condition, st.Busy, st.Reason, st.Source = Cooling, true, p.limit.Reason, p.limit.Source
	case full != forever && full > at+int64(st.Left):
		st.Condition, st.Left, st.Reason, st.Source = Cooling, time.Duration(full-at), p.limit.Reason, p.limit.Source
	}
	if e.off.Disabled() {
		st.Condition = Disabled
	}
	for sc, t := range p.state.inScopes(p.keys[s].ID(), at) {
		in := ScopeStatus{Scope: sc.name}
		in.Left, in.Reason, in.Source, in.Suspect = t.shown(at)
		st.Scopes = append(st.Scopes, in)
	}
	slices.SortFunc(st.Scopes, func(a, b ScopeStatus) int { return cmp.Compare(a.Scope, b.Scope) })
	return st
}
