package gateway

import (
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
)

// doubt chooses the key of a cooldown that is to be doubted now, if there is any.
func (x *exchange) doubt(now time.Time) bool {
	if x.calls > 0 || x.g.MaxAttempts < 2 {
		return false
	}
	of, ok := x.g.doubts.Take(now, x.scope)
	if !ok {
		return false
	}
	p, found := x.roster.Find(of.Key)
	if !found {
		x.g.doubts.Postpone(now, of) // another pool's of the same name, or removed
		return false
	}
	if !cools(p.Status(now), of.Scope) {
		x.g.doubts.Forget(of) // it was cleared or disabled, or is over
		return false
	}
	if !x.roster.Pool.Begin(now, p.Slot) {
		x.g.doubts.Postpone(now, of) // it is at its limit
		return false
	}
	x.slot, x.doubting, x.doubts = p.Slot, true, of
	return true
}

// cools tells whether a key cools in that scope and could be used but for that.
func cools(st rotator.Status, scope string) bool {
	if scope == "" {
		return st.Condition == rotator.Cooling && st.Reason != reason.Limit
	}
	for _, sc := range st.Scopes {
		if sc.Scope == scope {
			return st.Condition == rotator.Ready || st.Condition == rotator.Cooling && st.Reason == reason.Limit
		}
	}
	return false
}

// dispel ends the doubt with which the attempt went out: the upstream has taken it.
// What the key shares with its group has changed for all of that.
func (x *exchange) dispel(now time.Time) {
	x.g.doubts.Forget(x.doubts)
	for _, s := range x.roster.family(x.slot) {
		if x.roster.Pool.Clear(now, s) {
			x.g.announcer.Back(x.roster.Pool.Key(s))
		}
	}
}
