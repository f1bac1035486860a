package keycycler

import (
	"net/http"
	"slices"
	"testing"
	"time"

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
	openai := []int{400, 401, 402, 403, 413, 429, 503, 529}
	with := func(more ...int) []int { return statuses(1, 0, append(more, openai...)...) }
	for _, test := range []struct {
		name    string
		dialect *ttl.Dialect
		rules   []rule
		want    []int
	}{
		{"openai: what its dialect judges", ttl.OpenAI, nil, openai},
		{"generic: 429, and what may echo a key", ttl.Generic, nil, []int{400, 401, 403, 429}},
		{"a status that is retried", ttl.OpenAI, []rule{{status: []int{500}, action: "retry"}}, with(500)},
		{"a status that cools", ttl.Generic, []rule{{status: []int{404, 599}, action: "cooldown"}}, []int{400, 401, 403, 404, 429, 599}},
		{"all of 5xx", ttl.OpenAI, []rule{{status: []int{5}, action: "retry"}}, with(statuses(500, 599)...)},
		{"all of 5xx but one", ttl.Generic, []rule{{status: []int{5}, action: "retry"}, {status: []int{500}, action: "pass"}}, statuses(501, 599, 400, 401, 403, 429)},
		{"a status that passes streams", ttl.OpenAI, []rule{{status: []int{429, 402, 413, 503, 529}, action: "pass"}}, []int{400, 401, 403}},
		{"unless a class is told otherwise", ttl.OpenAI, []rule{{status: []int{4, 5}, action: "pass"}, {class: "overloaded", action: "retry"}}, openai},
		{"a class that passes leaves the others", ttl.OpenAI, []rule{{class: "rate_limited", action: "pass"}}, openai},
		{"a class that passes, where there is no other", ttl.OpenAI, []rule{
			{class: "rate_limited", action: "pass"}, {class: "quota_exhausted", action: "pass"}, {class: "invalid_key", action: "pass"},
		}, []int{400, 401, 403}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := newJudge(test.dialect, defaultPolicy, test.rules)
			var got []int
			for status := range 1000 {
				if j.holds(status) {
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
		rules      []rule
		status     int
		retryAfter string
		body       string
		want       verdict // without jitter
	}{
		{"what is stated counts", ttl.OpenAI, nil, 429, "90", "", verdict{ttl.RateLimited, actionCooldown, 90 * time.Second, "retry-after", false}},
		{"where the body states it", ttl.OpenAI, nil, 429, "", `{"error":{"message":"Please try again in 2m."}}`, verdict{ttl.RateLimited, actionCooldown, 2 * minute, "body:message", false}},
		{"the default where nothing is stated", ttl.OpenAI, nil, 429, "", "", verdict{ttl.RateLimited, actionCooldown, minute, sourceDefault, false}},
		{"no less than min", ttl.OpenAI, nil, 429, "1", "", verdict{ttl.RateLimited, actionCooldown, 30 * time.Second, "retry-after", false}},
		{"no more than max", ttl.OpenAI, nil, 429, "1e9", "", verdict{ttl.RateLimited, actionCooldown, 24 * time.Hour, "retry-after", false}},
		{"a spent quota cools for max", ttl.OpenAI, nil, 429, "", quota, verdict{ttl.QuotaExhausted, actionCooldown, 24 * time.Hour, sourceDefault, false}},
		{"a refused key cools for max, whatever is stated", ttl.OpenAI, nil, 401, "60", invalid, verdict{ttl.InvalidKey, actionCooldown, 24 * time.Hour, sourceDefault, false}},
		{"an overloaded upstream says nothing about the key", ttl.OpenAI, nil, 503, "60", "", verdict{class: ttl.Overloaded, action: actionPass}},
		{"nor does a request that is too large", ttl.OpenAI, nil, 413, "", "", verdict{class: ttl.RequestTooLarge, action: actionPass}},
		{"a status without a meaning passes", ttl.OpenAI, nil, 500, "60", "", verdict{class: ttl.OK, action: actionPass}},
		{"generic knows no quota", ttl.Generic, nil, 429, "", quota, verdict{ttl.RateLimited, actionCooldown, minute, sourceDefault, false}},
		{"generic knows no refused key", ttl.Generic, nil, 401, "", invalid, verdict{class: ttl.OK, action: actionPass}},

		{"a rule for a status", ttl.OpenAI, []rule{{status: []int{429}, action: "retry"}}, 429, "90", "", verdict{class: ttl.RateLimited, action: actionRetry}},
		{"a rule for all of 4xx", ttl.OpenAI, []rule{{status: []int{4}, action: "retry"}}, 404, "", "", verdict{class: ttl.OK, action: actionRetry}},
		{"says nothing about 5xx", ttl.OpenAI, []rule{{status: []int{4}, action: "retry"}}, 500, "", "", verdict{class: ttl.OK, action: actionPass}},
		{"an exact status comes before all of 4xx", ttl.OpenAI, []rule{{status: []int{4}, action: "retry"}, {status: []int{429}, action: "pass"}}, 429, "", "", verdict{class: ttl.RateLimited, action: actionPass}},
		{"in whatever order they stand", ttl.OpenAI, []rule{{status: []int{429}, action: "pass"}, {status: []int{4}, action: "retry"}}, 429, "", "", verdict{class: ttl.RateLimited, action: actionPass}},
		{"a class comes before an exact status", ttl.OpenAI, []rule{{status: []int{429}, action: "pass"}, {class: "quota_exhausted", action: "retry"}}, 429, "", quota, verdict{class: ttl.QuotaExhausted, action: actionRetry}},
		{"and says nothing about other classes", ttl.OpenAI, []rule{{class: "quota_exhausted", action: "pass"}}, 429, "", "", verdict{ttl.RateLimited, actionCooldown, minute, sourceDefault, false}},
		{"a rule cools for what is stated", ttl.OpenAI, []rule{{status: []int{500}, action: "cooldown"}}, 500, "90", "", verdict{ttl.RateLimited, actionCooldown, 90 * time.Second, "retry-after", false}},
		{"or for the default", ttl.OpenAI, []rule{{status: []int{500}, action: "cooldown"}}, 500, "", "", verdict{ttl.RateLimited, actionCooldown, minute, sourceDefault, false}},
		{"a rule that cools keeps the class", ttl.OpenAI, []rule{{status: []int{503}, action: "cooldown"}}, 503, "90", "", verdict{ttl.Overloaded, actionCooldown, 90 * time.Second, "retry-after", false}},
		{"a fixed time, whatever is stated", ttl.OpenAI, []rule{{class: "rate_limited", action: "cooldown", duration: hours(2)}}, 429, "90", "", verdict{ttl.RateLimited, actionCooldown, 2 * time.Hour, sourceConfig, false}},
		{"a fixed time below min", ttl.OpenAI, []rule{{status: []int{429}, action: "cooldown", duration: time.Second}}, 429, "90", "", verdict{ttl.RateLimited, actionCooldown, time.Second, sourceConfig, false}},
		{"a fixed time for a refused key", ttl.OpenAI, []rule{{class: "invalid_key", action: "cooldown", duration: hours(1)}}, 401, "", invalid, verdict{ttl.InvalidKey, actionCooldown, time.Hour, sourceConfig, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := newJudge(test.dialect, defaultPolicy, test.rules)
			response := ttl.Response{Status: test.status, Header: http.Header{}, Body: []byte(test.body), Now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
			if test.retryAfter != "" {
				response.Header["Retry-After"] = []string{test.retryAfter}
			}
			if got := j.judge(response, 0); got != test.want {
				t.Errorf("verdict %+v, want %+v", got, test.want)
			}
			// Jitter is added on top: at most 10 percent.
			got := j.judge(response, 0.5)
			if want := test.want.cooldown + test.want.cooldown/20; got.cooldown != want {
				t.Errorf("with half the jitter %s, want %s", got.cooldown, want)
			}
			if got.reason() != rotator.Reason(test.want.class) {
				t.Errorf("the engine is told reason %d", got.reason())
			}
		})
	}
}

func TestAReasonFitsTheEngine(t *testing.T) {
	if ttl.Overloaded >= rotator.MaxReasons {
		t.Errorf("%d classes, but only %d reasons", ttl.Overloaded+1, rotator.MaxReasons)
	}
	if len(defaultActions) != int(ttl.Overloaded)+1 {
		t.Errorf("%d classes have a default action, want %d", len(defaultActions), ttl.Overloaded+1)
	}
	for class, says := range defaultActions {
		if says == actionNone {
			t.Errorf("%s has no default action", ttl.Class(class))
		}
	}
}

// defaultPolicy is that of a config that says nothing.
var defaultPolicy = ttl.Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour, Jitter: 10}
