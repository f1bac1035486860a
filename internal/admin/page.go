package admin

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/status"
	"github.com/keycycler/keycycler/rotator"
)

// pageSource is what the status page shows and does: the pools that operators see.
type pageSource struct{}

// Pools implements status.Source.
func (pageSource) Pools() []status.Pool {
	now, all := time.Now(), views()
	pools := make([]status.Pool, 0, len(all))
	for _, v := range all {
		pools = append(pools, pagePool(now, v))
	}
	return pools
}

// pagePool is what the status page shows of the pool.
func pagePool(now time.Time, v *observe.View) status.Pool {
	c, of := v.Census(now), v.Pools[0]
	health, _ := v.Health()
	p := status.Pool{
		Name: of.Name, Provider: of.Provider,
		Keys: c.Keys, Ready: c.Ready, Cooling: c.Keys - c.Ready - c.Disabled, Disabled: c.Disabled, Soonest: c.Soonest,
		Backend: of.Backend, Healthy: health.Healthy, Lag: health.Lag, Queue: health.Queue,
		Files: v.Files(),
	}
	if health.Err != nil {
		p.Err = health.Err.Error()
	}
	for _, m := range v.Models(now) {
		p.Models = append(p.Models, status.Model{Name: observe.ModelTitle(m.Model), Back: observe.Back(m.Census)})
	}
	for _, m := range of.History.Last(now) {
		p.Minutes = append(p.Minutes, status.Minute{Start: m.Start(), Rejections: m.ByName(), Served: m.Served()})
	}
	return p
}

// Keys implements status.Source.
func (pageSource) Keys(pool string) iter.Seq[status.Key] {
	return func(yield func(status.Key) bool) {
		v, now := viewOf(pool), time.Now()
		if v == nil {
			return
		}
		for p, st := range v.Keys(now, observe.KeyFilter{}, nil) {
			if !yield(pageKey(p, st)) {
				return
			}
		}
	}
}

// shownUsers is how many clients, models or keys the page names that have used something.
const shownUsers = 10

// gatherTime is how long somebody who asks waits for what other nodes have counted.
const gatherTime = time.Second

// Usage implements status.Source.
func (pageSource) Usage(pool, by string, hour bool) *status.Usage {
	v := viewOf(pool)
	if v == nil || !v.Counted() {
		return nil
	}
	v.Gather(gatherTime)
	top, others, rest := v.TopUsage(by, hour, shownUsers, time.Now())
	u := &status.Usage{Others: others, Rest: pageUsed(observe.NamedUsage{UsageCounts: rest}), Priced: v.Priced(), All: v.Pools[0].Gather != nil}
	for _, t := range top {
		u.Lines = append(u.Lines, pageUsed(t))
	}
	return u
}

func pageUsed(n observe.NamedUsage) status.Used {
	u := status.Used{
		Name: n.Name, Answers: n.Answers, Unknown: n.Unknown,
		Input: n.Input, Cached: n.Cached, Written: n.CacheWrite, Output: n.Output, Unpriced: n.Unpriced,
	}
	if n.Cost != nil && (*n.Cost > 0 || n.Unpriced == 0) {
		u.Cost = n.Cost.Brief()
	}
	return u
}

// pageKey is what the status page shows of a key.
func pageKey(p observe.Place, st rotator.Status) status.Key {
	k := status.Key{
		ID: p.ID().String(), Name: p.Name(), Group: p.Group(), About: about{p, st.Stated}, State: st.Condition.String(),
		Attempts: st.Attempts, InFlight: int64(st.InFlight), LastUsed: st.LastUsed,
	}
	pageCooling(&k, st)
	for _, n := range st.Rejections {
		k.Rejections += uint64(n)
	}
	return k
}

// about is all that people know a key by.
type about struct {
	key    observe.Place
	stated []rotator.Stated // by the upstream, of its limits
}

// String implements status.About.
func (a about) String() string {
	l := a.key.Label()
	parts := []string{l.Name, l.Upstream, l.Origin}
	if l.Group != "" {
		parts = append(parts, "group "+l.Group)
	}
	if l.Tier > 1 {
		parts = append(parts, fmt.Sprintf("tier %d", l.Tier))
	}
	for _, s := range a.stated {
		text := observe.AllowanceStatus{Of: s.Of, Model: s.Model, Limit: s.Limit, Remaining: s.Remaining}
		parts = append(parts, text.Text())
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", ")
}

// Managed implements status.About.
func (a about) Managed() string {
	if l := a.key.Label(); l.Managed {
		return l.Origin
	}
	return ""
}

// pageCooling fills in why the key cools: for all requests, or else for some, or else what
// it is suspected of.
func pageCooling(k *status.Key, st rotator.Status) {
	suspected, scopes := observe.Suspected(st), observe.Cooling(st)
	switch {
	case st.Left > 0 || st.Busy:
		k.Class, k.Source, k.Scope, k.Remaining = reason.Name(st.Reason), st.Source, reason.ScopeKey, st.Left
		k.Suspect = st.Suspect.Is(st.Left)
	case suspected != nil:
		k.Class, k.Source, k.Scope, k.Suspect = reason.Name(suspected.Reason), suspected.Source, reason.ScopeKey, true
	case len(scopes) > 0:
		sc := scopes[0]
		k.Class, k.Source, k.Scope, k.Remaining = reason.Name(sc.Reason), sc.Source, sc.Scope, sc.Left
		k.Suspect = sc.Suspect.Is(sc.Left)
		if more := len(scopes) - 1; more > 0 {
			k.Scope += fmt.Sprintf(" and %d more", more)
		}
	}
}

// Do implements status.Source.
func (pageSource) Do(pool, id string, a status.Action) (int, error) {
	v := viewOf(pool)
	if v == nil {
		return 0, fmt.Errorf("pool %s: %w", directive.Shown(pool), status.ErrNotFound)
	}
	verb, now := verbs[string(a.Verb)], time.Now()
	verb.cool = a.For
	if id == "" {
		return changeAll(now, v, observe.KeyFilter{}, verb).Changed, nil
	}
	parsed, _ := rotator.ParseID(id) // what is no id is no key's
	p, ok := v.Find(parsed)
	switch {
	case !ok:
		return 0, fmt.Errorf("key %s: %w", directive.Shown(id), status.ErrNotFound)
	case changeOne(now, v, p, verb):
		return 1, nil
	}
	return 0, nil
}

// page serves the status page at this prefix.
func page(prefix string) http.Handler { return status.New(pageSource{}, prefix) }
