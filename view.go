package keycycler

import (
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
)

// poolView is a gateway as operators see it. It is immutable.
type poolView struct {
	name     string
	provider string
	backend  string
	config   any // tells the gateways of one config from those of another
	state    *rotator.State
	health   func() (shared.Health, bool) // of the state, and whether it is shared
	history  *history
	logger   *zap.Logger
	keys     func() *keyIndex // of now
	waiting  func() int64     // requests
}

// live holds the gateways of all configs that are provisioned: mostly one config's,
// during a reload two.
var live registry

// registry is a list of gateways. It is safe for concurrent use.
type registry struct {
	mu    sync.Mutex
	pools []*poolView // in the order in which they came
}

func (r *registry) add(p *poolView) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pools = append(r.pools, p)
}

func (r *registry) remove(p *poolView) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pools = slices.DeleteFunc(r.pools, func(other *poolView) bool { return other == p })
}

// views returns the pools of the newest config, by name. A config before it may
// still serve its last requests: what is known about keys it shares anyhow.
func (r *registry) views() []*view {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pools) == 0 {
		return nil
	}
	newest := r.pools[len(r.pools)-1].config
	return viewsOf(slices.DeleteFunc(slices.Clone(r.pools), func(p *poolView) bool { return p.config != newest }))
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

// view is a pool as operators see it: all gateways of one name are one pool, and a
// key that several of them hold is one key.
type view struct {
	pools []*poolView
	sets  []*keyIndex // of the pools, each once
}

// viewsOf groups gateways by their names.
func viewsOf(pools []*poolView) []*view {
	var views []*view
	for _, p := range pools {
		i := slices.IndexFunc(views, func(v *view) bool { return v.name() == p.name })
		if i < 0 {
			i, views = len(views), append(views, new(view))
		}
		views[i].add(p)
	}
	// A config's modules are provisioned in any order.
	slices.SortFunc(views, func(a, b *view) int { return strings.Compare(a.name(), b.name()) })
	return views
}

func (v *view) add(p *poolView) {
	v.pools = append(v.pools, p)
	keys := p.keys()
	if !slices.ContainsFunc(v.sets, keys.sameKeys) {
		v.sets = append(v.sets, keys)
	}
}

func (v *view) name() string { return v.pools[0].name }

// places returns all keys, ordered by id.
func (v *view) places() []place {
	if len(v.sets) == 1 {
		return v.sets[0].byID()
	}
	var all []place
	for _, r := range v.sets {
		all = append(all, r.byID()...)
	}
	slices.SortFunc(all, byID)
	return slices.CompactFunc(all, func(a, b place) bool { return a.id() == b.id() })
}

// find returns where the key is.
func (v *view) find(id rotator.ID) (place, bool) {
	for _, r := range v.sets {
		if p, ok := r.find(id); ok {
			return p, true
		}
	}
	return place{}, false
}

// census counts the keys.
func (v *view) census(now time.Time) rotator.Census {
	if len(v.sets) == 1 {
		return v.sets[0].pool.Census(now)
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
	for _, p := range v.pools {
		n += p.waiting()
	}
	return n
}

// health tells how the state fares, as the first of the pools sees it, and whether it is
// shared at all.
func (v *view) health() (h shared.Health, isShared bool) { return v.pools[0].health() }

// status is what the admin API says of the pool.
func (v *view) status(now time.Time) poolStatus {
	c, p := v.census(now), v.pools[0]
	health, _ := v.health()
	s := poolStatus{
		Pool: p.name, Provider: p.provider,
		Keys: c.Keys, Ready: c.Ready, Cooling: c.Keys - c.Ready - c.Disabled, Disabled: c.Disabled,
		State: stateStatus{
			Backend: p.backend,
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

// parseFilter reads what the query says of keys: state and class.
func parseFilter(query url.Values) (f keyFilter, err error) {
	if name := query.Get("state"); name != "" {
		condition, ok := rotator.ParseCondition(name)
		if !ok {
			return f, fmt.Errorf("state: unknown state %s: ready, cooling or disabled", shown(name))
		}
		f.condition = &condition
	}
	if name := query.Get("class"); name != "" {
		reason, ok := parseReason(name)
		if !ok {
			return f, fmt.Errorf("class: unknown class %s: one of %s", shown(name), strings.Join(reasonNames, ", "))
		}
		f.reason = &reason
	}
	return f, nil
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
