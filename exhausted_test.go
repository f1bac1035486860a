package keycycler

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

func TestWholeSeconds(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name string
		d    time.Duration
		want time.Duration
	}{
		{"nothing to wait for: SDKs take 0 for none", 0, second},
		{"less than nothing", -5 * second, second},
		{"the longest time ago", math.MinInt64, second},
		{"a nanosecond", 1, second},
		{"a whole second stays", second, second},
		{"a bit more is rounded up", second + 1, 2 * second},
		{"almost the next", 2*second - 1, 2 * second},
		{"an hour stays", time.Hour, time.Hour},
		{"a day and a bit", 24*time.Hour + 1, 24*time.Hour + second},
		{"past what can be rounded up", math.MaxInt64, time.Duration(math.MaxInt64).Truncate(second)},
		{"almost past it", math.MaxInt64 - second, time.Duration(math.MaxInt64).Truncate(second)},
	} {
		if got := wholeSeconds(test.d); got != test.want {
			t.Errorf("%s: wholeSeconds(%d) = %d, want %d", test.name, test.d, got, test.want)
		}
	}
}

// cooling makes a census of keys that cool, and of some that are ready.
func cooling(soonest time.Duration, ready int, counts map[ttl.Class]int) rotator.Census {
	c := rotator.Census{Keys: ready, Ready: ready, Soonest: soonest}
	for class, n := range counts {
		c.Cooling[class] = n
		c.Keys += n
	}
	return c
}

func TestNewRefusal(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name   string
		census rotator.Census
		want   refusal
	}{
		{"all are rate limited", cooling(1500*time.Millisecond, 0, map[ttl.Class]int{ttl.RateLimited: 3}), refusal{wait: 2 * second, class: ttl.RateLimited}},
		{"all were refused", cooling(time.Hour, 0, map[ttl.Class]int{ttl.InvalidKey: 3}), refusal{wait: time.Hour, class: ttl.InvalidKey}},
		{"all quotas are spent", cooling(time.Hour, 0, map[ttl.Class]int{ttl.QuotaExhausted: 3}), refusal{wait: time.Hour, class: ttl.QuotaExhausted}},
		{"some refused, the others spent", cooling(time.Hour, 0, map[ttl.Class]int{ttl.InvalidKey: 1, ttl.QuotaExhausted: 2}), refusal{wait: time.Hour, class: ttl.QuotaExhausted}},
		{"one of them comes back by itself", cooling(second, 0, map[ttl.Class]int{ttl.InvalidKey: 1, ttl.QuotaExhausted: 2, ttl.RateLimited: 1}), refusal{wait: second, class: ttl.RateLimited}},
		{"cooled by a rule for an overloaded upstream", cooling(second, 0, map[ttl.Class]int{ttl.InvalidKey: 1, ttl.Overloaded: 1}), refusal{wait: second, class: ttl.RateLimited}},
		{"one is ready: the request has had its attempts", cooling(0, 1, map[ttl.Class]int{ttl.InvalidKey: 15}), refusal{wait: second, class: ttl.RateLimited}},
		{"all are ready: the request has had its time", cooling(0, 4, nil), refusal{wait: second, class: ttl.RateLimited}},
	} {
		if got := newRefusal(test.census); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		refusal    refusal
		kind, code string
		says       string
		retryAfter string
		notWorthIt bool
	}{
		{refusal{wait: time.Second, class: ttl.RateLimited}, "requests", "rate_limit_exceeded", "Please try again in 1s.", "1", false},
		{refusal{wait: maxSDKWait, class: ttl.RateLimited}, "requests", "rate_limit_exceeded", "Please try again in 1m0s.", "60", false},
		{refusal{wait: maxSDKWait + time.Second, class: ttl.RateLimited}, "requests", "rate_limit_exceeded", "Please try again in 1m1s.", "61", true},
		{refusal{wait: 24 * time.Hour, class: ttl.QuotaExhausted}, "insufficient_quota", "insufficient_quota", "quota", "86400", true},
		{refusal{wait: 24 * time.Hour, class: ttl.InvalidKey}, "invalid_request_error", "invalid_api_key", "invalid", "86400", true},
		{refusal{wait: wholeSeconds(math.MaxInt64), class: ttl.RateLimited}, "requests", "rate_limit_exceeded", "Please", "9223372036", true},
	} {
		for name, p := range providers {
			w := httptest.NewRecorder()
			if err := p.writeRefusal(w, test.refusal); err != nil {
				t.Fatal(err)
			}
			var body struct {
				Error map[string]any `json:"error"`
			}
			decoder := json.NewDecoder(strings.NewReader(w.Body.String()))
			if err := decoder.Decode(&body); err != nil || decoder.More() {
				t.Errorf("%s: the body is no JSON: %q, %v", name, w.Body, err)
			}
			text, _ := body.Error["message"].(string)
			param, hasParam := body.Error["param"]
			if body.Error["type"] != test.kind || body.Error["code"] != test.code || !strings.Contains(text, test.says) || !hasParam || param != nil {
				t.Errorf("%s: %+v: body %s", name, test.refusal, w.Body)
			}
			h := w.Header()
			if w.Code != 429 || h.Get("Retry-After") != test.retryAfter || (h.Get("X-Should-Retry") == "false") != test.notWorthIt ||
				h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
				t.Errorf("%s: %+v: %d %v", name, test.refusal, w.Code, h)
			}
		}
	}
}
