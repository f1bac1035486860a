package observe

import (
	"slices"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// ModelCensus is a pool at one instant, as requests for the model see it.
type ModelCensus struct {
	Model string // rotator.Overflow stands for all names that share it
	rotator.Census
}

// Exhausted returns the models that no key of the pool is ready for while keys are for
// others, by name: at most rotator.MaxScopes and one more, and the patterns that keys are
// restricted to. Where no key is ready at all there are none: that is the whole pool's
// trouble. It takes as long as there are such models, however many keys.
func Exhausted(x *Index, now time.Time) (out []ModelCensus) {
	models := x.models()
	if len(models) == 0 || x.Pool.Census(now).Ready == 0 {
		return nil
	}
	for _, model := range models {
		if c := x.Pool.CensusFor(now, x.want(model)); c.Keys > 0 && c.Ready == 0 {
			out = append(out, ModelCensus{model, c})
		}
	}
	return out
}

// Models is Exhausted of all gateways of the pool. There are none where one of them does
// not tell models apart: it serves them all.
func (v *View) Models(now time.Time) []ModelCensus {
	switch {
	case slices.ContainsFunc(v.Pools, func(p *Pool) bool { return !p.ByModel }):
		return nil
	case len(v.sets) == 1:
		return Exhausted(v.sets[0], now)
	}
	var models []string
	for _, x := range v.sets {
		for _, m := range Exhausted(x, now) {
			models = append(models, m.Model)
		}
	}
	slices.Sort(models)
	return v.exhausted(now, slices.Compact(models))
}

// limited returns the models that some keys cool for alone, and others are ready for.
func (v *View) limited(now time.Time) (out []ModelCensus) {
	var models []string
	for _, x := range v.sets {
		models = append(models, x.Pool.Scopes()...)
	}
	slices.Sort(models)
	for _, model := range slices.Compact(models) {
		c := v.censusFor(now, model)
		if c.Ready > 0 && c.Ready+c.Disabled < c.Keys {
			out = append(out, ModelCensus{model, c})
		}
	}
	return out
}

// censusFor counts the keys as requests for the model see them.
func (v *View) censusFor(now time.Time, model string) rotator.Census {
	if len(v.sets) == 1 {
		return v.sets[0].Pool.CensusFor(now, v.sets[0].want(model))
	}
	return v.censusIn(now, model)
}

// exhausted returns those of the models that no set of keys can serve.
func (v *View) exhausted(now time.Time, models []string) (out []ModelCensus) {
	for _, model := range models {
		serves := func(x *Index) bool { return x.Pool.CensusFor(now, x.want(model)).Ready > 0 }
		if !slices.ContainsFunc(v.sets, serves) {
			out = append(out, ModelCensus{model, v.censusIn(now, model)})
		}
	}
	return out
}

// censusIn counts the keys as requests for a model see them that none is ready for.
func (v *View) censusIn(now time.Time, model string) (c rotator.Census) {
	for _, p := range v.places() {
		if v.serves(p, model) {
			count(&c, forModel(p.Status(now), model))
		}
	}
	return c
}

// serves tells whether the key may be used for the model.
func (v *View) serves(p Place, model string) bool {
	return slices.ContainsFunc(v.sets, func(x *Index) bool { return x.Pool == p.Pool && x.serves(p.Slot, model) })
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
func modelStatus(m ModelCensus) ModelStatus {
	return ModelStatus{
		Model: m.Model, Keys: m.Keys, Cooling: m.Keys - m.Ready - m.Disabled, Disabled: m.Disabled,
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
