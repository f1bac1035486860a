package blame

import (
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// For how long a key is left alone after its first conviction, where the answer states
// nothing. It doubles at each further one.
const (
	limitStep = time.Second      // a rate limit
	otherStep = 30 * time.Second // all else
)

// Limit tells whether the verdict is that of a rate limit: time alone cures it.
func (v Verdict) Limit() bool { return v.Class == ttl.RateLimited }

// OfAccount tells whether what is refused is refused to all keys of an account.
func (v Verdict) OfAccount() bool {
	return v.Action == ActionCooldown && v.Class != ttl.InvalidKey && v.Class != ttl.OK
}

// Conviction is the cooldown of a key that the answer proves to be refused for its own
// sake.
func (v Verdict) Conviction(scope string) rotator.Cooldown {
	return rotator.Cooldown{
		For: v.Cooldown, Spare: v.Stated, Equal: v.Limit(),
		Reason: v.Reason(), Source: v.Source, Scope: scope,
	}
}

// Refusal is what the answer says against a key as long as nothing is proven. began is
// when the call began.
func (v Verdict) Refusal(scope string, began, now time.Time, longest time.Duration) rotator.Refusal {
	r := rotator.Refusal{
		Cooldown: v.Conviction(scope), Began: began, At: now, Stated: v.Stated,
		Step: otherStep, Max: longest, Limit: v.Limit(),
		Shown: v.Limit() || v.Class == ttl.QuotaExhausted,
	}
	if r.Limit {
		r.Step = limitStep
	}
	return r
}

// Weight is how much an answer says to its client, compared with the answers of other keys
// to the same request: what a key says that is known to be refused for its own sake says
// nothing of the request, and of a limit the pool knows more than the upstream.
func (v Verdict) Weight(convicted bool) int {
	switch {
	case convicted:
		return 0
	case v.Limit():
		return 1
	case v.Class == ttl.QuotaExhausted:
		return 2
	}
	return 3
}

// LimitWeight is the most that an answer of a limit weighs.
const LimitWeight = 1
