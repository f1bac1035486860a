package keycycler

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
	"github.com/keycycler/keycycler/ttl"
)

// live holds the handlers of all configs that are provisioned: mostly one config's,
// during a reload two.
var live registry

// registry is a list of handlers. It is safe for concurrent use.
type registry struct {
	mu       sync.Mutex
	handlers []*Handler // in the order in which they came
}

// add lists a handler, and gives it its guard: that of a pool which has its name and keys
// of its own. So a reload forgets nothing of what the guard has not decided yet.
func (r *registry) add(h *Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.guard = new(guard)
	for _, other := range slices.Backward(r.handlers) {
		if other.Pool == h.Pool && other.roster.Load().shares(h.roster.Load()) {
			h.guard = other.guard
			break
		}
	}
	r.handlers = append(r.handlers, h)
}

func (r *registry) remove(h *Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handlers = slices.DeleteFunc(r.handlers, func(other *Handler) bool { return other == h })
}

// views returns the pools of the newest config, by name. A config before it may
// still serve its last requests: what is known about keys it shares anyhow.
func (r *registry) views() []*view {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.handlers) == 0 {
		return nil
	}
	newest := r.handlers[len(r.handlers)-1].config
	return viewsOf(slices.DeleteFunc(slices.Clone(r.handlers), func(h *Handler) bool { return h.config != newest }))
}

// view returns the pool of that name, or nil.
func (r *registry) view(name string) *view {
	for _, v := range r.views() {
		if v.name() == name {
			return v
		}
	}
	return nil
}

// view is a pool as operators see it: all handlers of one name are one pool, and a
// key that several of them hold is one key.
type view struct {
	handlers []*Handler
	rosters  []*roster // of the handlers, one for each set of keys
}

// viewsOf groups handlers by their pools' names.
func viewsOf(handlers []*Handler) []*view {
	var views []*view
	for _, h := range handlers {
		r := h.roster.Load()
		if r == nil {
			continue // was not provisioned to the end
		}
		i := slices.IndexFunc(views, func(v *view) bool { return v.name() == h.Pool })
		if i < 0 {
			i, views = len(views), append(views, new(view))
		}
		views[i].add(h, r)
	}
	// A config's modules are provisioned in any order.
	slices.SortFunc(views, func(a, b *view) int { return strings.Compare(a.name(), b.name()) })
	return views
}

func (v *view) add(h *Handler, r *roster) {
	v.handlers = append(v.handlers, h)
	if !slices.ContainsFunc(v.rosters, func(other *roster) bool { return other.sameKeys(r) }) {
		v.rosters = append(v.rosters, r)
	}
}

func (v *view) name() string { return v.handlers[0].Pool }

// place is where a key is to be found.
type place struct {
	pool *rotator.Pool
	slot rotator.Slot
}

func (p place) id() rotator.ID { return p.pool.Key(p.slot).ID() }

func (p place) status(now time.Time) rotator.Status { return p.pool.Status(now, p.slot) }

// byID orders places by their keys' ids.
func byID(a, b place) int { return compareIDs(a.id(), b.id()) }

func compareIDs(a, b rotator.ID) int { return slices.Compare(a[:], b[:]) }

// places returns all keys, ordered by id.
func (v *view) places() []place {
	if len(v.rosters) == 1 {
		return v.rosters[0].byID()
	}
	var all []place
	for _, r := range v.rosters {
		all = append(all, r.byID()...)
	}
	slices.SortFunc(all, byID)
	return slices.CompactFunc(all, func(a, b place) bool { return a.id() == b.id() })
}

// find returns where the key is.
func (v *view) find(id rotator.ID) (place, bool) {
	for _, r := range v.rosters {
		if p, ok := r.find(id); ok {
			return p, true
		}
	}
	return place{}, false
}

// census counts the keys.
func (v *view) census(now time.Time) rotator.Census {
	if len(v.rosters) == 1 {
		return v.rosters[0].pool.Census(now)
	}
	var c rotator.Census
	for p := range slices.Values(v.places()) {
		c.Keys++
		switch st := p.status(now); st.Condition {
		case rotator.Ready:
			c.Ready++
		case rotator.Disabled:
			c.Disabled++
		case rotator.Cooling:
			c.Cooling[st.Reason]++
			if st.Busy {
				c.Busy++
			} else if c.Soonest == 0 || st.Left < c.Soonest {
				c.Soonest = st.Left
			}
		}
	}
	return c
}

// waiting counts the requests that wait for a key.
func (v *view) waiting() (n int64) {
	for _, h := range v.handlers {
		n += h.room.waiting.Load()
	}
	return n
}

// health tells how the state fares, as the first of the handlers sees it, and
// whether it is shared at all: otherwise it is always healthy.
func (v *view) health() (h shared.Health, isShared bool) {
	if b, ok := v.handlers[0].backend.(interface{ Health() shared.Health }); ok {
		return b.Health(), true
	}
	return shared.Health{Healthy: true}, false
}

// status is what the admin API says of the pool.
func (v *view) status(now time.Time) poolStatus {
	c, h := v.census(now), v.handlers[0]
	health, _ := v.health()
	s := poolStatus{
		Pool: h.Pool, Provider: h.Provider,
		Keys: c.Keys, Ready: c.Ready, Cooling: c.Keys - c.Ready - c.Disabled, Disabled: c.Disabled,
		State: stateStatus{
			Backend: h.backendName,
			Healthy: health.Healthy,
			LagMS:   float64(health.Lag) / float64(time.Millisecond),
		},
	}
	if health.Err != nil {
		s.State.Error = health.Err.Error()
	}
	return s
}

// keyFilter narrows a list of keys.
type keyFilter struct {
	condition *rotator.Condition // nil: all
	reason    *rotator.Reason    // nil: all; otherwise those that cool for it
}

func (f keyFilter) takes(st rotator.Status) bool {
	return (f.condition == nil || st.Condition == *f.condition) &&
		(f.reason == nil || (st.Left > 0 || st.Busy) && st.Reason == *f.reason)
}

// keys returns the keys that the filter takes, ordered by id, from the first after
// this one on.
func (v *view) keys(now time.Time, f keyFilter, after *rotator.ID) iter.Seq2[place, rotator.Status] {
	all := v.places()
	if after != nil {
		i, found := slices.BinarySearchFunc(all, *after, func(p place, id rotator.ID) int { return compareIDs(p.id(), id) })
		if found {
			i++
		}
		all = all[i:]
	}
	return func(yield func(place, rotator.Status) bool) {
		for _, p := range all {
			if st := p.status(now); f.takes(st) && !yield(p, st) {
				return
			}
		}
	}
}

// keyStatusOf is what the admin API says of a key.
func keyStatusOf(now time.Time, id rotator.ID, st rotator.Status) keyStatus {
	s := keyStatus{
		ID: id.String(), State: st.Condition.String(),
		Attempts: st.Attempts, InFlight: int64(st.InFlight), Rejected: make(map[string]uint64),
	}
	if st.Left > 0 {
		until := now.Add(st.Left).UTC()
		s.Class, s.Source, s.Scope = reasonName(st.Reason), st.Source, scopeKey
		s.Remaining, s.Until = st.Left.Seconds(), &until
	}
	if st.Busy {
		s.Class, s.Source, s.Scope = reasonName(st.Reason), st.Source, scopeKey
	}
	for _, sc := range st.Scopes {
		s.Scopes = append(s.Scopes, scopeStatus{
			sc.Scope, reasonName(sc.Reason), sc.Source, sc.Left.Seconds(), now.Add(sc.Left).UTC(),
		})
	}
	for r, n := range st.Rejections {
		if n > 0 {
			s.Rejected[reasonName(rotator.Reason(r))] = uint64(n)
		}
	}
	if !st.LastUsed.IsZero() {
		used := st.LastUsed.UTC()
		s.LastUsed = &used
	}
	return s
}

// What a rate limit cools.
const (
	scopeKey   = "key"   // the key for all requests
	scopeModel = "model" // the key for requests of one model
)

// Reasons why a key cools. Most are classes of answers; these are not.
const (
	reasonOther    = rotator.Reason(ttl.OK) // a rule of the config cools for an answer of no class
	reasonOperator = rotator.Reason(len(defaultActions))
	reasonSpent    = reasonOperator + 1 // a success left nothing of the key's allowance
	reasonLimit    = reasonSpent + 1    // the key is at the limit of the config; it does not cool otherwise
)

// reasonNames are the reasons' names, by number.
var reasonNames = func() []string {
	names := make([]string, reasonLimit+1)
	for class := range defaultActions {
		names[class] = ttl.Class(class).String()
	}
	names[reasonOther], names[reasonOperator], names[reasonSpent] = outcomeOther, "operator", "spent"
	names[reasonLimit] = "limit"
	return names
}()

// reasonName returns the reason's name. One of a newer version, which another node
// has told, has none.
func reasonName(r rotator.Reason) string {
	if int(r) >= len(reasonNames) {
		return outcomeOther
	}
	return reasonNames[r]
}

func parseReason(name string) (rotator.Reason, bool) {
	i := slices.Index(reasonNames, name)
	return rotator.Reason(max(i, 0)), i >= 0
}
