package observe

import (
	"net/url"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// refusal is one of the class, for which the key would cool for a minute.
func refusal(class ttl.Class, scope string) rotator.Refusal {
	return rotator.Refusal{
		Cooldown: rotator.Cooldown{For: minute, Reason: rotator.Reason(class), Source: "default", Scope: scope},
		Began:    start, At: start, Step: time.Second, Max: time.Hour,
		Limit: class == ttl.RateLimited, Shown: class == ttl.RateLimited || class == ttl.QuotaExhausted,
	}
}

// What people see of a key that was refused, before and after it is known whose fault
// that was.
func TestSuspectsAreTold(t *testing.T) {
	const (
		none = iota
		unproven
		proven
	)
	suspect := func(class ttl.Class) func(*rotator.Pool) {
		return func(p *rotator.Pool) { p.Suspect(0, refusal(class, "")) }
	}
	for _, row := range []struct {
		sentence     string
		do           func(*rotator.Pool)
		after        time.Duration
		state, class string
		left         float64
		proven       int
		suspect      Suspect
	}{
		{"nothing was refused", func(*rotator.Pool) {}, 0, "ready", "", 0, none, Suspect{}},
		{"a rate limit: it cools, unproven", suspect(ttl.RateLimited), 10 * time.Second, "cooling", "rate_limited", 50, unproven, Suspect{}},
		{"a spent quota likewise", suspect(ttl.QuotaExhausted), 0, "cooling", "quota_exhausted", 60, unproven, Suspect{}},
		{"a refused key is ready, and suspect", suspect(ttl.InvalidKey), 10 * time.Second, "ready", "", 0, none, Suspect{"invalid_key", "default", 50}},
		{"so is one that was refused in unknown words", suspect(ttl.Unknown), 0, "ready", "", 0, none, Suspect{"unknown", "default", 60}},
		{"a suspicion outlives the cooldown that would follow", suspect(ttl.QuotaExhausted), 2 * minute, "ready", "", 0, none, Suspect{"quota_exhausted", "default", 0}},
		{"another key has served the request", func(p *rotator.Pool) {
			p.Suspect(0, refusal(ttl.InvalidKey, ""))
			p.Convict(start, 0, refusal(ttl.InvalidKey, ""))
		}, 0, "cooling", "invalid_key", 60, proven, Suspect{}},
		{"the answer proves it", func(p *rotator.Pool) {
			p.Cool(start, 0, rotator.Cooldown{For: minute, Reason: limited, Source: "retry-after"})
		}, 0, "cooling", "rate_limited", 60, proven, Suspect{}},
		{"a proven cooldown that is longer comes first", func(p *rotator.Pool) {
			p.Suspect(0, refusal(ttl.QuotaExhausted, ""))
			p.Cool(start, 0, rotator.Cooldown{For: time.Hour, Reason: limited, Source: "retry-after"})
		}, 0, "cooling", "rate_limited", 3600, proven, Suspect{}},
		{"a disabled key is still one", func(p *rotator.Pool) {
			p.Suspect(0, refusal(ttl.InvalidKey, ""))
			p.Disable(start, 0)
		}, 0, "disabled", "", 0, none, Suspect{"invalid_key", "default", 60}},
		{"the key has served", func(p *rotator.Pool) {
			p.Suspect(0, refusal(ttl.InvalidKey, ""))
			p.Serve(start.Add(1), start.Add(1), 0, "")
		}, 0, "ready", "", 0, none, Suspect{}},
		{"an operator has cleared it", func(p *rotator.Pool) {
			p.Suspect(0, refusal(ttl.RateLimited, ""))
			p.Clear(start.Add(1), 0)
		}, 0, "ready", "", 0, none, Suspect{}},
	} {
		p := poolOf(t, 2)
		row.do(p)
		now := start.Add(row.after)
		got := KeyStatusOf(now, p.Key(0).ID(), p.Status(now, 0))
		if got.State != row.state || got.Class != row.class || got.Remaining != row.left {
			t.Errorf("%s: %+v", row.sentence, got)
		}
		if (got.Proven == nil) != (row.proven == none) || got.Unproven() != (row.proven == unproven) {
			t.Errorf("%s: proven is %v", row.sentence, got.Proven)
		}
		if (got.Suspect != nil) != (row.suspect != Suspect{}) || got.Suspect != nil && *got.Suspect != row.suspect {
			t.Errorf("%s: it is suspected of %+v, want %+v", row.sentence, got.Suspect, row.suspect)
		}
	}
}

// What a key is suspected of for one model is told of that model alone.
func TestSuspectsOfOneModelAreTold(t *testing.T) {
	p := poolOf(t, 1)
	p.Suspect(0, refusal(ttl.RateLimited, "large"))
	p.Cool(start, 0, rotator.Cooldown{For: minute, Reason: limited, Source: "retry-after", Scope: "small"})
	got := KeyStatusOf(start, p.Key(0).ID(), p.Status(start, 0))
	if len(got.Scopes) != 2 || got.State != "ready" || got.Suspect != nil || got.Proven != nil {
		t.Fatalf("%+v", got)
	}
	for i, want := range []ScopeStatus{
		{"large", "rate_limited", "default", 60, start.Add(minute), false},
		{"small", "rate_limited", "retry-after", 60, start.Add(minute), true},
	} {
		if got.Scopes[i] != want {
			t.Errorf("%+v, want %+v", got.Scopes[i], want)
		}
	}
	later := start.Add(2 * minute)
	if got := KeyStatusOf(later, p.Key(0).ID(), p.Status(later, 0)); got.Scopes != nil {
		t.Errorf("when the cooldown would be over: %+v", got.Scopes)
	}
}

// A list of a class has the suspects, too: they are what one looks for after a refusal.
func TestAListOfAClassHasItsSuspects(t *testing.T) {
	p := poolOf(t, 4)
	p.Suspect(0, refusal(ttl.InvalidKey, ""))
	p.Suspect(1, refusal(ttl.Unknown, ""))
	p.Cool(start, 2, rotator.Cooldown{For: minute, Reason: rotator.Reason(ttl.InvalidKey)})
	v := &View{sets: []*Index{NewIndex(p, nil)}}
	for query, want := range map[string]int{"class=invalid_key": 2, "class=unknown": 1, "class=rate_limited": 0, "class=invalid_key&state=ready": 1} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ParseFilter(values)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range v.Keys(start, f, nil) {
			n++
		}
		if n != want {
			t.Errorf("%s: %d keys, want %d", query, n, want)
		}
	}
}
