package blame

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// statuses returns what list has, and first to last.
func statuses(first, last int, list ...int) []int {
	for s := first; s <= last; s++ {
		list = append(list, s)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestWhatIsHeldBack(t *testing.T) {
	openai := statuses(400, 599) // whose words may speak of the key
	without := func(less ...int) []int {
		return slices.DeleteFunc(slices.Clone(openai), func(s int) bool { return slices.Contains(less, s) })
	}
	for _, test := range []struct {
		name    string
		dialect *ttl.Dialect
		rules   []Rule
		want    []int
	}{
		{"openai: what its dialect judges", ttl.OpenAI, nil, openai},
		{"generic: 429, and what may echo a key", ttl.Generic, nil, []int{400, 401, 403, 429}},
		{"a status that is retried", ttl.Generic, []Rule{{Status: []int{500}, Action: "retry"}}, []int{400, 401, 403, 429, 500}},
		{"a status that cools", ttl.Generic, []Rule{{Status: []int{404, 599}, Action: "cooldown"}}, []int{400, 401, 403, 404, 429, 599}},
		{"a status that cools by its text", ttl.Generic, []Rule{{Status: []int{404}, Text: "x", Action: "cooldown"}}, []int{400, 401, 403, 404, 429}},
		{"all of 5xx", ttl.Generic, []Rule{{Status: []int{5}, Action: "retry"}}, statuses(500, 599, 400, 401, 403, 429)},
		{"all of 5xx but one", ttl.Generic, []Rule{{Status: []int{5}, Action: "retry"}, {Status: []int{500}, Action: "pass"}}, statuses(501, 599, 400, 401, 403, 429)},
		{"a status that passes streams", ttl.OpenAI, []Rule{{Status: []int{429, 402, 413, 503, 529}, Action: "pass"}}, without(429, 402, 413, 503, 529)},
		{"but for the key that they may echo", ttl.OpenAI, []Rule{{Status: []int{4, 5}, Action: "pass"}}, []int{400, 401, 403}},
		{"unless a class is told otherwise", ttl.OpenAI, []Rule{{Status: []int{4, 5}, Action: "pass"}, {Class: "overloaded", Action: "retry"}}, openai},
		{"a class that passes leaves the others", ttl.OpenAI, []Rule{{Class: "rate_limited", Action: "pass"}}, openai},
		{"a class that passes, where there is no other", ttl.OpenAI, []Rule{
			{Class: "rate_limited", Action: "pass"}, {Class: "quota_exhausted", Action: "pass"}, {Class: "invalid_key", Action: "pass"}, {Class: "unknown", Action: "pass"},
		}, []int{400, 401, 403}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := NewJudge(test.dialect, defaultPolicy, test.rules)
			var got []int
			for status := range 1000 {
				if j.Holds(status) {
					got = append(got, status)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("held: %v, want %v", got, test.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	const minute = time.Minute
	quota := `{"error":{"code":"insufficient_quota"}}`
	invalid := `{"error":{"code":"invalid_api_key"}}`
	hours := func(n int) time.Duration { return time.Duration(n) * time.Hour }
	for _, test := range []struct {
		name       string
		dialect    *ttl.Dialect
		rules      []Rule
		status     int
		retryAfter string
		body       string
		want       Verdict // without jitter
	}{
		{"what is stated counts", ttl.OpenAI, nil, 429, "90", "", Verdict{ttl.RateLimited, ActionCooldown, 90 * time.Second, 90 * time.Second, false, "retry-after", false}},
		{"where the body states it", ttl.OpenAI, nil, 429, "", `{"error":{"message":"Please try again in 2m."}}`, Verdict{ttl.RateLimited, ActionCooldown, 2 * minute, 2 * minute, false, "body:message", false}},
		{"the default where nothing is stated", ttl.OpenAI, nil, 429, "", "", Verdict{ttl.RateLimited, ActionCooldown, minute, 0, false, reason.SourceDefault, false}},
		{"no less than min", ttl.OpenAI, nil, 429, "1", "", Verdict{ttl.RateLimited, ActionCooldown, 30 * time.Second, time.Second, false, "retry-after", false}},
		{"no more than max", ttl.OpenAI, nil, 429, "1e9", "", Verdict{ttl.RateLimited, ActionCooldown, 24 * time.Hour, 24 * time.Hour, false, "retry-after", false}},
		{"a spent quota cools for max", ttl.OpenAI, nil, 429, "", quota, Verdict{ttl.QuotaExhausted, ActionCooldown, 24 * time.Hour, 0, false, reason.SourceDefault, false}},
		{"a refused key cools for max", ttl.OpenAI, nil, 401, "", invalid, Verdict{ttl.InvalidKey, ActionCooldown, 24 * time.Hour, 0, false, reason.SourceDefault, false}},
		{"unless the answer says for how long", ttl.OpenAI, nil, 401, "60", invalid, Verdict{ttl.InvalidKey, ActionCooldown, minute, minute, false, "retry-after", false}},
		{"a refusal that nobody understands cools for max", ttl.OpenAI, nil, 403, "", "", Verdict{ttl.Unknown, ActionCooldown, 24 * time.Hour, 0, false, reason.SourceDefault, false}},
		{"or for what it states", ttl.OpenAI, nil, 412, "60", "", Verdict{ttl.Unknown, ActionCooldown, minute, minute, false, "retry-after", false}},
		{"and may pass", ttl.OpenAI, []Rule{{Class: "unknown", Action: "pass"}}, 403, "", "", Verdict{Class: ttl.Unknown, Action: ActionPass}},
		{"an overloaded upstream says nothing about the key", ttl.OpenAI, nil, 503, "60", "", Verdict{Class: ttl.Overloaded, Action: ActionPass}},
		{"nor does a request that is too large", ttl.OpenAI, nil, 413, "", "", Verdict{Class: ttl.RequestTooLarge, Action: ActionPass}},
		{"a status without a meaning passes", ttl.OpenAI, nil, 500, "60", "", Verdict{Class: ttl.OK, Action: ActionPass}},
		{"generic knows no quota", ttl.Generic, nil, 429, "", quota, Verdict{ttl.RateLimited, ActionCooldown, minute, 0, false, reason.SourceDefault, false}},
		{"generic knows no refused key", ttl.Generic, nil, 401, "", invalid, Verdict{Class: ttl.OK, Action: ActionPass}},

		{"a rule for a text", ttl.OpenAI, []Rule{{Status: []int{403}, Text: "Has Been Suspended", Action: "cooldown", Duration: hours(3)}}, 403, "", `{"message":"Your licence HAS BEEN\nsuspended"}`, Verdict{ttl.Unknown, ActionCooldown, 3 * time.Hour, 0, true, reason.SourceConfig, false}},
		{"comes before one for the class", ttl.OpenAI, []Rule{{Class: "quota_exhausted", Action: "pass"}, {Status: []int{4}, Text: "insufficient", Action: "retry"}}, 429, "", quota, Verdict{Class: ttl.QuotaExhausted, Action: actionRetry}},
		{"the first that fits decides", ttl.OpenAI, []Rule{{Status: []int{429}, Text: "nowhere", Action: "pass"}, {Status: []int{429}, Text: "quota", Action: "retry"}, {Status: []int{429}, Text: "insufficient", Action: "pass"}}, 429, "", quota, Verdict{Class: ttl.QuotaExhausted, Action: actionRetry}},
		{"one for a class and a text", ttl.OpenAI, []Rule{{Class: "quota_exhausted", Text: "INSUFFICIENT", Action: "pass"}}, 429, "", quota, Verdict{Class: ttl.QuotaExhausted, Action: ActionPass}},
		{"is not for other classes", ttl.OpenAI, []Rule{{Class: "invalid_key", Text: "insufficient", Action: "pass"}}, 429, "", quota, Verdict{ttl.QuotaExhausted, ActionCooldown, 24 * time.Hour, 0, false, reason.SourceDefault, false}},
		{"a text that JSON escapes", ttl.Generic, []Rule{{Status: []int{403}, Text: "余额", Action: "cooldown"}}, 403, "", `{"message":"\u4f59\u989d"}`, Verdict{ttl.RateLimited, ActionCooldown, minute, 0, true, reason.SourceDefault, false}},
		{"a text that is not there", ttl.Generic, []Rule{{Status: []int{403}, Text: "suspended", Action: "cooldown"}}, 403, "", "blocked", Verdict{Class: ttl.OK, Action: ActionPass}},

		{"a rule for a status", ttl.OpenAI, []Rule{{Status: []int{429}, Action: "retry"}}, 429, "90", "", Verdict{Class: ttl.RateLimited, Action: actionRetry}},
		{"a rule for all of 4xx", ttl.OpenAI, []Rule{{Status: []int{4}, Action: "retry"}}, 404, "", "", Verdict{Class: ttl.OK, Action: actionRetry}},
		{"says nothing about 5xx", ttl.OpenAI, []Rule{{Status: []int{4}, Action: "retry"}}, 500, "", "", Verdict{Class: ttl.OK, Action: ActionPass}},
		{"an exact status comes before all of 4xx", ttl.OpenAI, []Rule{{Status: []int{4}, Action: "retry"}, {Status: []int{429}, Action: "pass"}}, 429, "", "", Verdict{Class: ttl.RateLimited, Action: ActionPass}},
		{"in whatever order they stand", ttl.OpenAI, []Rule{{Status: []int{429}, Action: "pass"}, {Status: []int{4}, Action: "retry"}}, 429, "", "", Verdict{Class: ttl.RateLimited, Action: ActionPass}},
		{"a class comes before an exact status", ttl.OpenAI, []Rule{{Status: []int{429}, Action: "pass"}, {Class: "quota_exhausted", Action: "retry"}}, 429, "", quota, Verdict{Class: ttl.QuotaExhausted, Action: actionRetry}},
		{"and says nothing about other classes", ttl.OpenAI, []Rule{{Class: "quota_exhausted", Action: "pass"}}, 429, "", "", Verdict{ttl.RateLimited, ActionCooldown, minute, 0, false, reason.SourceDefault, false}},
		{"a rule cools for what is stated", ttl.OpenAI, []Rule{{Status: []int{500}, Action: "cooldown"}}, 500, "90", "", Verdict{ttl.RateLimited, ActionCooldown, 90 * time.Second, 0, true, "retry-after", false}},
		{"or for the default", ttl.OpenAI, []Rule{{Status: []int{500}, Action: "cooldown"}}, 500, "", "", Verdict{ttl.RateLimited, ActionCooldown, minute, 0, true, reason.SourceDefault, false}},
		{"a rule that cools keeps the class", ttl.OpenAI, []Rule{{Status: []int{503}, Action: "cooldown"}}, 503, "90", "", Verdict{ttl.Overloaded, ActionCooldown, 90 * time.Second, 0, true, "retry-after", false}},
		{"a fixed time, whatever is stated", ttl.OpenAI, []Rule{{Class: "rate_limited", Action: "cooldown", Duration: hours(2)}}, 429, "90", "", Verdict{ttl.RateLimited, ActionCooldown, 2 * time.Hour, 0, true, reason.SourceConfig, false}},
		{"a fixed time below min", ttl.OpenAI, []Rule{{Status: []int{429}, Action: "cooldown", Duration: time.Second}}, 429, "90", "", Verdict{ttl.RateLimited, ActionCooldown, time.Second, 0, true, reason.SourceConfig, false}},
		{"a fixed time for a refused key", ttl.OpenAI, []Rule{{Class: "invalid_key", Action: "cooldown", Duration: hours(1)}}, 401, "", invalid, Verdict{ttl.InvalidKey, ActionCooldown, time.Hour, 0, true, reason.SourceConfig, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := NewJudge(test.dialect, defaultPolicy, test.rules)
			response := ttl.Response{Status: test.status, Header: http.Header{}, Body: []byte(test.body), Now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
			if test.retryAfter != "" {
				response.Header["Retry-After"] = []string{test.retryAfter}
			}
			if got := j.Judge(response, 0); got != test.want {
				t.Errorf("verdict %+v, want %+v", got, test.want)
			}
			// Jitter is added on top: at most 10 percent.
			got := j.Judge(response, 0.5)
			if want := test.want.Cooldown + test.want.Cooldown/20; got.Cooldown != want {
				t.Errorf("with half the jitter %s, want %s", got.Cooldown, want)
			}
			if got.Reason() != rotator.Reason(test.want.Class) {
				t.Errorf("the engine is told reason %d", got.Reason())
			}
		})
	}
}

func TestAReasonFitsTheEngine(t *testing.T) {
	if ttl.Unknown >= rotator.MaxReasons {
		t.Errorf("%d classes, but only %d reasons", ttl.Unknown+1, rotator.MaxReasons)
	}
	if len(defaultActions) != int(ttl.Unknown)+1 {
		t.Errorf("%d classes have a default action, want %d", len(defaultActions), ttl.Unknown+1)
	}
	for class, says := range defaultActions {
		if says == ActionNone {
			t.Errorf("%s has no default action", ttl.Class(class))
		}
	}
}

// defaultPolicy is that of a config that says nothing.
var defaultPolicy = DefaultPolicy

// What errors of the connection and answers of 502 and 503 mean where keys have upstreams
// of their own, and where they have none.
func TestFaults(t *testing.T) {
	retry, pass := Rule{Fault: []string{"reset", "timeout"}, Action: "retry"}, Rule{Fault: []string{"connect"}, Action: "pass"}
	for _, test := range []struct {
		why    string
		rules  []Rule
		fault  string
		status int
		away   bool
		want   bool
	}{
		{"no connection, and another address", nil, "connect", 0, true, true},
		{"no connection, and no other", nil, "connect", 0, false, false},
		{"a rule against it", []Rule{pass}, "connect", 503, true, false},
		{"a reset", nil, "reset", 0, true, false},
		{"a rule for it", []Rule{pass, retry}, "reset", 0, false, true},
		{"… and not for all", []Rule{retry}, "connect", 0, false, false},
		{"an answer that was given up", nil, "unavailable", 503, true, true},
		{"… of 504", nil, "unavailable", 504, true, false},
		{"… and a rule for that", []Rule{{Status: []int{504}, Action: "retry"}}, "unavailable", 504, false, true},
		{"… and one for all of 5xx", []Rule{{Status: []int{5}, Action: "pass"}}, "unavailable", 503, true, false},
	} {
		if got := NewJudge(ttl.OpenAI, DefaultPolicy, test.rules).MovesOn(test.fault, test.status, test.away); got != test.want {
			t.Errorf("%s: another key is tried: %t", test.why, got)
		}
	}
	for status, away := range map[int]bool{500: false, 502: true, 503: true, 504: false, 429: false} {
		for _, dialect := range []*ttl.Dialect{ttl.OpenAI, ttl.Generic} {
			j := NewJudge(dialect, DefaultPolicy, nil)
			held := j.Holds(status)
			if j.HeedsFaults() || j.Judge(ttl.Response{Status: status}, 0).Action == ActionAway {
				t.Errorf("%d goes to another address, where there is none", status)
			}
			j.Spread()
			if got := j.Judge(ttl.Response{Status: status}, 0).Action == ActionAway; got != away || !j.HeedsFaults() || j.Holds(status) != (held || away) {
				t.Errorf("%d goes to another address: %t; it is held: %t", status, got, j.Holds(status))
			}
		}
	}
}
