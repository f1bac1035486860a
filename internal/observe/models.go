package observe

import (
	"slices"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// Models returns the models that no key is ready for while keys are for others, by name:
// of each gateway at most rotator.MaxScopes and one more. There are none where a gateway
// of the pool does not tell models apart: it serves them all.
func (v *View) Models(now time.Time) []rotator.ScopeCensus {
	switch {
	case slices.ContainsFunc(v.Pools, func(p *Pool) bool { return !p.ByModel }):
		return nil
	case len(v.sets) == 1:
		return v.sets[0].Pool.Exhausted(now)
	}
	var names []string
	for _, x := range v.sets {
		for _, m := range x.Pool.Exhausted(now) {
			names = append(names, m.Scope)
		}
	}
	slices.Sort(names)
	return v.exhausted(now, slices.Compact(names))
}

// exhausted returns those of the models that no set of keys can serve.
func (v *View) exhausted(now time.Time, models []string) (out []rotator.ScopeCensus) {
	for _, model := range models {
		serves := func(x *Index) bool { return x.Pool.CensusIn(now, model).Ready > 0 }
		if !slices.ContainsFunc(v.sets, serves) {
			out = append(out, rotator.ScopeCensus{Scope: model, Census: v.censusIn(now, model)})
		}
	}
	return out
}

// censusIn counts the keys as requests for a model see them that none is ready for.
func (v *View) censusIn(now time.Time, model string) (c rotator.Census) {
	for _, p := range v.places() {
		count(&c, forModel(p.Status(now), model))
	}
	return c
}

// forModel is the key as requests for the model see it: it cools until the later of two
// deadlines. Where it does not cool for this very model, it does for those that share one.
func forModel(st rotator.Status, model string) rotator.Status {
	in := func(scope string) int {
		return slices.IndexFunc(st.Scopes, func(sc rotator.ScopeStatus) bool { return sc.Scope == scope })
	}
	i := in(model)
	if i < 0 {
		i = in(rotator.Overflow)
	}
	if i < 0 || st.Condition == rotator.Disabled || st.Busy || st.Scopes[i].Left <= st.Left {
		return st
	}
	st.Condition, st.Left, st.Reason = rotator.Cooling, st.Scopes[i].Left, st.Scopes[i].Reason
	return st
}

// modelStatus is what the admin API says of a model that no key can serve.
func modelStatus(m rotator.ScopeCensus) ModelStatus {
	return ModelStatus{
		Model: m.Scope, Keys: m.Keys, Cooling: m.Keys - m.Ready - m.Disabled, Disabled: m.Disabled,
		Classes: byName(m.Cooling), Remaining: Back(m.Census).Seconds(),
	}
}

// Back returns when the first key will be ready where none is: 0 where that may be at any
// moment, since a request ends, or where nobody knows.
func Back(c rotator.Census) time.Duration {
	if c.Busy > 0 {
		return 0
	}
	return c.Soonest
}

// ModelTitle is the model's name for people.
func ModelTitle(model string) string {
	if model == rotator.Overflow {
		return "further models"
	}
	return model
}
