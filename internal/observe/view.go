// Package observe is what people and tools read: metrics, log lines, events, spans,
// placeholders, the last hour's rejections, and the documents of the admin API.
//
// It knows Caddy's ways to say something, and the pools that there are. It decides nothing:
// whoever calls it has done so. What shall be seen goes here, so that all who show it use
// the same words.
package observe

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/usage"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
)

// Pool is a gateway as operators see it. It is immutable.
type Pool struct {
	Name     string
	Provider string
	Backend  string
	Config   any // tells the gateways of one config from those of another
	State    *rotator.State
	Health   func() (shared.Health, bool) // of the state, and whether it is shared
	History  *History
	Ledger   *usage.Ledger // of what its answers have used
	Logger   *zap.Logger
	Keys     func() *Index // of now
	Waiting  func() int64  // requests
	ByModel  bool          // its keys may cool for one model alone
	Managed  ManagedFiles  // the files of keys that keycycler may write; nil: there are none
	Usage    bool          // it is counted what answers have used …
	Priced   bool          // … and what they cost
	PerKey   bool          // it is counted by key what happens

	Test func(context.Context, rotator.ID) (CheckStatus, error) // asks the upstream about a key; an error says why that cannot be

	Gather func(context.Context) // brings what other nodes have counted of it; nil: nobody does
}

// name is the pool's, "" while there is none.
func (p *Pool) name() string {
	if p == nil {
		return ""
	}
	return p.Name
}

// Live holds the gateways of all configs that are provisioned: mostly one config's,
// during a reload two.
var Live registry

// registry is a list of gateways. It is safe for concurrent use.
type registry struct {
	mu    sync.Mutex
	pools []*Pool // in the order in which they came
}

func (r *registry) Add(p *Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pools = append(r.pools, p)
}

func (r *registry) Remove(p *Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pools = slices.DeleteFunc(r.pools, func(other *Pool) bool { return other == p })
}

// Views returns the pools of the config that runs, by name: one that is being loaded has not
// got all of its own yet, and may fail. Those before may still serve their last requests: what
// is known about keys they share anyhow. Where the config that runs has no pool, they are the
// newest one's.
func (r *registry) Views(running any) []*View {
	if views := r.of(running); len(views) > 0 {
		return views
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pools) == 0 {
		return nil
	}
	newest := r.pools[len(r.pools)-1].Config
	return viewsOf(slices.DeleteFunc(slices.Clone(r.pools), func(p *Pool) bool { return p.Config != newest }))
}

// View returns the pool of that name, or nil.
func (r *registry) View(running any, name string) *View {
	for _, v := range r.Views(running) {
		if v.Name() == name {
			return v
		}
	}
	return nil
}

// View is a pool as operators see it: all gateways of one name are one pool, and a
// key that several of them hold is one key.
type View struct {
	Pools []*Pool
	sets  []*Index // of the pools, each once
}

// viewsOf groups gateways by their names.
func viewsOf(pools []*Pool) []*View {
	var views []*View
	for _, p := range pools {
		i := slices.IndexFunc(views, func(v *View) bool { return v.Name() == p.Name })
		if i < 0 {
			i, views = len(views), append(views, new(View))
		}
		views[i].add(p)
	}
	// A config's modules are provisioned in any order.
	slices.SortFunc(views, func(a, b *View) int { return strings.Compare(a.Name(), b.Name()) })
	return views
}

func (v *View) add(p *Pool) {
	v.Pools = append(v.Pools, p)
	keys := p.Keys()
	if !slices.ContainsFunc(v.sets, keys.sameKeys) {
		v.sets = append(v.sets, keys)
	}
}

func (v *View) Name() string { return v.Pools[0].Name }

// places returns all keys, ordered by id.
func (v *View) places() []Place {
	if len(v.sets) == 1 {
		return v.sets[0].ByID()
	}
	var all []Place
	for _, r := range v.sets {
		all = append(all, r.ByID()...)
	}
	slices.SortFunc(all, byID)
	return slices.CompactFunc(all, func(a, b Place) bool { return a.ID() == b.ID() })
}

// Find returns where the key is.
func (v *View) Find(id rotator.ID) (Place, bool) {
	for _, r := range v.sets {
		if p, ok := r.Find(id); ok {
			return p, true
		}
	}
	return Place{}, false
}

// Census counts the keys.
func (v *View) Census(now time.Time) rotator.Census {
	if len(v.sets) == 1 {
		return v.sets[0].Pool.Census(now)
	}
	var c rotator.Census
	for p := range slices.Values(v.places()) {
		count(&c, p.Status(now))
	}
	return c
}

// count adds a key to the census.
func count(c *rotator.Census, st rotator.Status) {
	c.Keys++
	switch st.Condition {
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

// Waiting counts the requests that wait for a key.
func (v *View) waiting() (n int64) {
	for _, p := range v.Pools {
		n += p.Waiting()
	}
	return n
}

// Health tells how the state fares, as the first of the pools sees it, and whether it is
// shared at all.
func (v *View) Health() (h shared.Health, isShared bool) { return v.Pools[0].Health() }

// Status is what the admin API says of the pool.
func (v *View) Status(now time.Time) PoolStatus {
	c, p := v.Census(now), v.Pools[0]
	health, _ := v.Health()
	s := PoolStatus{
		Pool: p.Name, Provider: p.Provider,
		Keys: c.Keys, Ready: c.Ready, Cooling: c.Keys - c.Ready - c.Disabled, Disabled: c.Disabled,
		State: StateStatus{
			Backend: p.Backend,
			Healthy: health.Healthy,
			LagMS:   float64(health.Lag) / float64(time.Millisecond),
		},
		Models:    []ModelStatus{}, // none is [], not null
		Files:     v.Files(),
		UsageOff:  !v.Counted(),
		Remaining: c.Soonest.Seconds(),
	}
	for _, m := range v.Models(now) {
		s.Models = append(s.Models, modelStatus(m))
	}
	for _, m := range v.limited(now) {
		s.Limited = append(s.Limited, modelStatus(m))
	}
	if health.Err != nil {
		s.State.Error = health.Err.Error()
	}
	return s
}

// KeyFilter narrows a list of keys.
type KeyFilter struct {
	condition *rotator.Condition // nil: all
	reason    *rotator.Reason    // nil: all; otherwise those that cool for it, or are suspected of it
}

// ParseFilter reads what the query says of keys: state and class.
func ParseFilter(query url.Values) (f KeyFilter, err error) {
	if name := query.Get("state"); name != "" {
		condition, ok := rotator.ParseCondition(name)
		if !ok {
			return f, fmt.Errorf("state: unknown state %s: ready, cooling or disabled", directive.Shown(name))
		}
		f.condition = &condition
	}
	if name := query.Get("class"); name != "" {
		why, ok := reason.Parse(name)
		if !ok {
			return f, fmt.Errorf("class: unknown class %s: one of %s", directive.Shown(name), strings.Join(reason.Names, ", "))
		}
		f.reason = &why
	}
	return f, nil
}

func (f KeyFilter) takes(st rotator.Status) bool {
	return (f.condition == nil || st.Condition == *f.condition) &&
		(f.reason == nil || (st.Left > 0 || st.Busy) && st.Reason == *f.reason || st.Suspect != nil && st.Suspect.Reason == *f.reason)
}

// Keys returns the keys that the filter takes, ordered by id, from the first after
// this one on.
func (v *View) Keys(now time.Time, f KeyFilter, after *rotator.ID) iter.Seq2[Place, rotator.Status] {
	all := v.places()
	if after != nil {
		i, found := slices.BinarySearchFunc(all, *after, func(p Place, id rotator.ID) int { return compareIDs(p.ID(), id) })
		if found {
			i++
		}
		all = all[i:]
	}
	return func(yield func(Place, rotator.Status) bool) {
		for _, p := range all {
			if st := p.Status(now); f.takes(st) && !yield(p, st) {
				return
			}
		}
	}
}

// Suspected returns what the key is suspected of, nil where that is nothing, or already
// what it cools for.
func Suspected(st rotator.Status) *rotator.Suspicion {
	if st.Suspect.Is(st.Left) {
		return nil
	}
	return st.Suspect
}

// Cooling returns the scopes in which the key cools.
func Cooling(st rotator.Status) []rotator.ScopeStatus {
	return slices.DeleteFunc(slices.Clone(st.Scopes), func(sc rotator.ScopeStatus) bool { return sc.Left == 0 })
}

// KeyStatus is what the admin API says of the key.
func (p Place) KeyStatus(now time.Time, st rotator.Status) KeyStatus {
	s, l := KeyStatusOf(now, p.ID(), st), p.Label()
	s.Name, s.Group, s.Tier, s.Upstream, s.Origin = l.Name, l.Group, l.Tier, l.Upstream, l.Origin
	return s
}

// Text says how much is left, as in "812 of 90000 tokens left".
func (a *AllowanceStatus) Text() string {
	text := fmt.Sprintf("%d of %d %s left", a.Remaining, a.Limit, a.Of)
	if a.Model != "" {
		text += " for " + a.Model
	}
	return text
}

// KeyStatusOf is what the admin API says of a key, but for what people know it by.
func KeyStatusOf(now time.Time, id rotator.ID, st rotator.Status) KeyStatus {
	s := KeyStatus{
		ID: id.String(), State: st.Condition.String(),
		Attempts: st.Attempts, InFlight: int64(st.InFlight), Rejected: make(map[string]uint64),
	}
	if st.Left > 0 || st.Busy {
		s.Class, s.Source, s.Scope = reason.Name(st.Reason), st.Source, reason.ScopeKey
		s.Proven = new(!st.Suspect.Is(st.Left))
	}
	if st.Left > 0 {
		until := now.Add(st.Left).UTC()
		s.Remaining, s.Until = st.Left.Seconds(), &until
	}
	if d := Suspected(st); d != nil {
		s.Suspect = &Suspect{reason.Name(d.Reason), d.Source, d.Left.Seconds()}
	}
	for _, sc := range Cooling(st) {
		s.Scopes = append(s.Scopes, ScopeStatus{
			sc.Scope, reason.Name(sc.Reason), sc.Source, sc.Left.Seconds(), now.Add(sc.Left).UTC(), !sc.Suspect.Is(sc.Left),
		})
	}
	for _, a := range st.Stated {
		s.Allowance = append(s.Allowance, AllowanceStatus{a.Of, a.Model, a.Limit, a.Remaining, a.Left.Seconds()})
	}
	for r, n := range st.Rejections {
		if n > 0 {
			s.Rejected[reason.Name(rotator.Reason(r))] = uint64(n)
		}
	}
	if !st.LastUsed.IsZero() {
		used := st.LastUsed.UTC()
		s.LastUsed = &used
	}
	return s
}
