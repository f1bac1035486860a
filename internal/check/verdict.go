package check

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// judge says what the answer means, as it would for a request.
func (c *Checker) judge(a *answer) blame.Verdict {
	if a.status < http.StatusBadRequest {
		return c.Judge.JudgeEvent(a.status, a.said(), a.at, rand.Float64())
	}
	return c.Judge.Judge(ttl.Response{Status: a.status, Header: a.header, Body: a.said(), Now: a.at}, rand.Float64())
}

// provesNothing are what an upstream says of a path, whatever the key is.
var provesNothing = []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}

// resultOf returns what a check has found out.
func resultOf(a *answer, v blame.Verdict) string {
	switch {
	case slices.Contains(provesNothing, a.status):
		return observe.CheckInconclusive
	case v.Action == blame.ActionCooldown:
		return observe.CheckRefused
	case a.status >= http.StatusInternalServerError:
		return observe.CheckFailed
	case a.status < http.StatusMultipleChoices && a.status >= http.StatusOK && v.Class == ttl.OK:
		return observe.CheckGood
	}
	return observe.CheckInconclusive
}

// isUnfit tells whether something is held against the key that an answer to a check speaks
// against: that it is invalid, or what nobody understands.
func isUnfit(st rotator.Status) bool {
	return st.Left > 0 && slices.Contains(roster.Unfit, st.Reason) || st.Suspect != nil && slices.Contains(roster.Unfit, st.Suspect.Reason)
}

// open tells whether the upstream answers just as well without a key: then a good answer says
// nothing of one. It is found out once an hour for each address.
func (c *Checker) open(ctx context.Context, k asked) (bool, error) {
	at := k.Way(k.slot).Text()
	if known, ok := c.opens[at]; ok && time.Since(known.at) < openMemory {
		return known.open, nil
	}
	a, err := c.call(ctx, k, true)
	if err != nil {
		return false, err
	}
	found := opening{resultOf(a, c.judge(a)) == observe.CheckGood, time.Now()}
	c.opens[at] = found
	return found.open, nil
}

// opening is whether a path answers anybody, and when that was found out.
type opening struct {
	open bool
	at   time.Time
}

const openMemory = time.Hour

// acquit ends what a good answer speaks against.
func (c *Checker) acquit(k asked, a *answer) (did string) {
	if !k.Pool.Vouch(a.at, a.began, k.slot, roster.Unfit...) {
		return observe.CheckNothing
	}
	c.Announcer.Back(k.place())
	return observe.CheckFreed
}

// blame notes that the upstream has refused the key: as for a request, the answer proves it,
// or another key does that the same question is asked with.
func (c *Checker) blame(ctx context.Context, k asked, a *answer, v blame.Verdict) (did string) {
	slots := []rotator.Slot{k.slot}
	if v.OfAccount() {
		slots = k.Family(k.slot)
	}
	if v.Proven {
		return c.each(k, a, v, slots, observe.CheckCools, func(s rotator.Slot) bool { return k.Pool.Cool(a.at, s, v.Conviction("")) })
	}
	refusal := v.Refusal("", a.began, a.at, c.Judge.Policy.Max)
	did = c.each(k, a, v, slots, observe.CheckSuspected, func(s rotator.Slot) bool { return k.Pool.Suspect(s, refusal) })
	if v.Limit() || !c.witness(ctx, k, a) {
		return did
	}
	now := time.Now()
	if convicted := c.each(k, a, v, slots, observe.CheckCools, func(s rotator.Slot) bool { return k.Pool.Convict(now, s, refusal) }); convicted != observe.CheckNothing {
		return convicted
	}
	return did
}

// each does something to keys that share what is refused, and says what became of the key.
func (c *Checker) each(k asked, a *answer, v blame.Verdict, slots []rotator.Slot, what string, do func(rotator.Slot) bool) (did string) {
	did = observe.CheckNothing
	for _, s := range slots {
		if do(s) && s == k.slot {
			did = what
		}
	}
	if did == observe.CheckCools {
		c.tellCooling(k, a, v)
	}
	return did
}

// tellCooling tells people of a key that cools.
func (c *Checker) tellCooling(k asked, a *answer, v blame.Verdict) {
	class := reason.Name(v.Reason())
	c.Metrics.Cooldown(k.place().ID(), class, v.Source)
	cooled := observe.CooledKey{
		Pool: c.Pool.Name, Key: k.key(), Name: k.place().Name(), Status: a.status,
		Class: class, Source: v.Source, Scope: reason.ScopeKey, Rests: v.Cooldown,
	}
	c.Announcer.LogCooling(cooled)
	c.Announcer.EmitCooling(cooled)
}

// witness tells whether another key, against which nothing is held, is answered well at the
// address that has refused this one.
func (c *Checker) witness(ctx context.Context, k asked, refused *answer) bool {
	w, ok := k.Pool.PickFor(time.Now(), rotator.Want{Tried: k.Family(k.slot), Shut: elsewhere(k)})
	if st := k.Pool.Status(time.Now(), w); !ok || st.Condition != rotator.Ready || st.Suspect != nil {
		return false
	}
	a, err := c.call(ctx, asked{k.Roster, w}, false)
	return err == nil && a.address == refused.address && resultOf(a, c.judge(a)) == observe.CheckGood
}

// elsewhere are the lots of keys that work at other addresses.
func elsewhere(k asked) (lots rotator.Lots) {
	at := k.Address(k.slot)
	for _, other := range k.Addresses {
		if other != at {
			k.At(other, &lots)
		}
	}
	return lots
}
