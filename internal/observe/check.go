package observe

import (
	"context"
	"slices"
	"time"
)

// CheckStatus is what the upstream says of one key, asked at a path that costs nothing.
type CheckStatus struct {
	ID           string  `json:"id"`
	Name         string  `json:"name,omitempty"`
	Result       string  `json:"result"`           // good, refused, inconclusive, failed
	Class        string  `json:"class,omitempty"`  // of a refusal: rate_limited, invalid_key, …
	Source       string  `json:"source,omitempty"` // where it states for how long
	Seconds      float64 `json:"seconds"`          // that a key cools for such an answer, jitter included
	Status       int     `json:"status,omitempty"` // of the answer; 0: there was none
	Milliseconds int64   `json:"milliseconds"`     // until it had come
	Did          string  `json:"did"`              // what followed for the key: freed, cools, suspected, nothing
	State        string  `json:"state"`            // of the key afterwards: ready, cooling, disabled
	Answer       string  `json:"answer,omitempty"` // how the body begins, where the key is not good; without the key
	Error        string  `json:"error,omitempty"`  // why there was no answer, or why it proves nothing
}

// What a check has found out.
const (
	CheckGood         = "good"         // the upstream knows the key
	CheckRefused      = "refused"      // it refuses it
	CheckInconclusive = "inconclusive" // its answer says nothing of the key
	CheckFailed       = "failed"       // there was none, or 5xx
)

// CheckResults are these.
var CheckResults = []string{CheckGood, CheckRefused, CheckInconclusive, CheckFailed}

// What has followed for the key.
const (
	CheckFreed     = "freed"     // it was suspect, or cooled, for what a good answer speaks against
	CheckCools     = "cools"     // it has begun to
	CheckSuspected = "suspected" // it is, and nobody knows whether that is its fault
	CheckNothing   = "nothing"
)

// Test asks the upstream about the key.
func (v *View) Test(ctx context.Context, p Place) (CheckStatus, error) {
	i := slices.IndexFunc(v.Pools, func(of *Pool) bool { return of.Keys().Pool == p.Pool })
	return v.Pools[max(i, 0)].Test(ctx, p.ID())
}

// Ready tells whether any pool of the config has a key that is not disabled: the config is
// the one that runs.
func (r *registry) Ready(now time.Time, config any) bool {
	return slices.ContainsFunc(r.of(config), func(v *View) bool {
		c := v.Census(now)
		return c.Keys > c.Disabled
	})
}

// ReadyPool tells whether a request may go out with a key of that pool of the config, and
// whether there is one of that name.
func (r *registry) ReadyPool(now time.Time, config any, name string) (ready, known bool) {
	for _, v := range r.of(config) {
		if v.Name() == name {
			return slices.ContainsFunc(v.sets, func(x *Index) bool { return x.Pool.Census(now).Usable > 0 }), true
		}
	}
	return false, false
}

// of returns the pools of the config.
func (r *registry) of(config any) []*View {
	r.mu.Lock()
	defer r.mu.Unlock()
	return viewsOf(slices.DeleteFunc(slices.Clone(r.pools), func(p *Pool) bool { return p.Config != config }))
}
