package blame

import (
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// What an answer says against a key, as long as nothing is proven, and once it is.
func TestRefusalAndConviction(t *testing.T) {
	const day, minute = 24 * time.Hour, time.Minute
	for _, row := range []struct {
		sentence string
		verdict  Verdict
		step     time.Duration
		spare    time.Duration
		limit    bool // and so, past spare, as good as others
		shown    bool
		account  bool
	}{
		{"a rate limit that states nothing", Verdict{Class: ttl.RateLimited, Action: ActionCooldown, Cooldown: minute}, time.Second, 0, true, true, true},
		{"one that states a time", Verdict{Class: ttl.RateLimited, Action: ActionCooldown, Cooldown: 30 * time.Second, Stated: 3 * time.Second}, time.Second, 3 * time.Second, true, true, true},
		{"a spent quota", Verdict{Class: ttl.QuotaExhausted, Action: ActionCooldown, Cooldown: day}, 30 * time.Second, 0, false, true, true},
		{"a quota with a time", Verdict{Class: ttl.QuotaExhausted, Action: ActionCooldown, Cooldown: time.Hour, Stated: time.Hour}, 30 * time.Second, time.Hour, false, true, true},
		{"a refused key", Verdict{Class: ttl.InvalidKey, Action: ActionCooldown, Cooldown: day}, 30 * time.Second, 0, false, false, false},
		{"what nobody understands", Verdict{Class: ttl.Unknown, Action: ActionCooldown, Cooldown: day}, 30 * time.Second, 0, false, false, true},
		{"a status that a rule cools for", Verdict{Class: ttl.OK, Action: ActionCooldown, Cooldown: minute}, 30 * time.Second, 0, false, false, false},
	} {
		v := row.verdict
		v.Source = "body:message"
		convicted := v.Conviction("gpt-a")
		want := rotator.Cooldown{For: v.Cooldown, Spare: row.spare, Equal: row.limit, Reason: rotator.Reason(v.Class), Source: "body:message", Scope: "gpt-a"}
		if convicted != want {
			t.Errorf("%s: convicted %+v, want %+v", row.sentence, convicted, want)
		}
		refusal := rotator.Refusal{
			Cooldown: want, Began: in(-1), At: start, Stated: v.Stated, Step: row.step, Max: day, Limit: row.limit, Shown: row.shown,
		}
		if got := v.Refusal("gpt-a", in(-1), start, day); got != refusal {
			t.Errorf("%s: refused %+v, want %+v", row.sentence, got, refusal)
		}
		if v.OfAccount() != row.account {
			t.Errorf("%s: of the account %t", row.sentence, !row.account)
		}
	}
	spent := Verdict{Class: ttl.RateLimited, Action: ActionCooldown, Spent: true}
	if got := spent.Conviction("").Reason; got != reason.Spent {
		t.Errorf("a success that leaves nothing has reason %d", got)
	}
	if (Verdict{Class: ttl.QuotaExhausted, Action: ActionPass}).OfAccount() {
		t.Error("what passes is of no account")
	}
}

// Of the answers to one request, its client gets the one that says most of the request.
func TestWeight(t *testing.T) {
	ranking := []struct {
		class     ttl.Class
		convicted bool
	}{{ttl.Unknown, true}, {ttl.RateLimited, false}, {ttl.QuotaExhausted, false}, {ttl.InvalidKey, false}}
	for i, row := range ranking {
		if got := (Verdict{Class: row.class}).Weight(row.convicted); got != i {
			t.Errorf("%s of a convicted key (%t) weighs %d, want %d", row.class, row.convicted, got, i)
		}
	}
	for _, class := range []ttl.Class{ttl.Unknown, ttl.Overloaded, ttl.OK} {
		if got := (Verdict{Class: class}).Weight(false); got != 3 {
			t.Errorf("%s weighs %d", class, got)
		}
	}
	if got := (Verdict{Class: ttl.RateLimited}).Weight(false); got != LimitWeight {
		t.Errorf("a limit weighs %d", got)
	}
}
