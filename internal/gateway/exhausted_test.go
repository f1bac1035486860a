package gateway

import (
	"math"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/reason"
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
		want   provider.Refusal
	}{
		{"all are rate limited", cooling(1500*time.Millisecond, 0, map[ttl.Class]int{ttl.RateLimited: 3}), provider.Refusal{Wait: 2 * second, Class: ttl.RateLimited}},
		{"all were refused", cooling(time.Hour, 0, map[ttl.Class]int{ttl.InvalidKey: 3}), provider.Refusal{Wait: time.Hour, Class: ttl.InvalidKey}},
		{"all quotas are spent", cooling(time.Hour, 0, map[ttl.Class]int{ttl.QuotaExhausted: 3}), provider.Refusal{Wait: time.Hour, Class: ttl.QuotaExhausted}},
		{"some refused, the others spent", cooling(time.Hour, 0, map[ttl.Class]int{ttl.InvalidKey: 1, ttl.QuotaExhausted: 2}), provider.Refusal{Wait: time.Hour, Class: ttl.QuotaExhausted}},
		{"one of them comes back by itself", cooling(second, 0, map[ttl.Class]int{ttl.InvalidKey: 1, ttl.QuotaExhausted: 2, ttl.RateLimited: 1}), provider.Refusal{Wait: second, Class: ttl.RateLimited}},
		{"cooled by a rule for an overloaded upstream", cooling(second, 0, map[ttl.Class]int{ttl.InvalidKey: 1, ttl.Overloaded: 1}), provider.Refusal{Wait: second, Class: ttl.RateLimited}},
		{"one is ready: the request has had its attempts", cooling(0, 1, map[ttl.Class]int{ttl.InvalidKey: 15}), provider.Refusal{Wait: second, Class: ttl.RateLimited}},
		{"all are at the limit, for a while", cooling(3*second, 0, map[ttl.Class]int{ttl.Class(reason.Limit): 3}), provider.Refusal{Wait: 3 * second, Class: ttl.RateLimited, Limited: true, Some: true}},
		{"one is, and the others were refused", cooling(3*second, 0, map[ttl.Class]int{ttl.Class(reason.Limit): 1, ttl.InvalidKey: 2}), provider.Refusal{Wait: 3 * second, Class: ttl.RateLimited, Some: true}},
		{"all are ready: the request has had its time", cooling(0, 4, nil), provider.Refusal{Wait: second, Class: ttl.RateLimited}},
	} {
		if got := newRefusal(test.census); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
