package blame

import (
	"math"
	"testing"
	"time"

	"github.com/keycycler/keycycler/ttl"
)

func TestCooldown(t *testing.T) {
	p := Policy{Default: time.Minute, Min: 30 * time.Second, Max: 24 * time.Hour}
	says := func(c ttl.Class, seconds float64) ttl.Verdict {
		return ttl.Verdict{Class: c, Stated: true, Seconds: seconds}
	}
	for _, c := range []struct {
		why  string
		v    ttl.Verdict
		want time.Duration
	}{
		{"what is stated", says(ttl.RateLimited, 47.25), 47250 * time.Millisecond},
		{"to the nanosecond, although floats lack it", says(ttl.RateLimited, 32.001), 32001 * time.Millisecond},
		{"less than min", says(ttl.RateLimited, 0.174), 30 * time.Second},
		{"a stated 0 is a statement", says(ttl.RateLimited, 0), 30 * time.Second},
		{"more than max", says(ttl.RateLimited, 604800), 24 * time.Hour},
		{"far past int64", says(ttl.RateLimited, 1e100), 24 * time.Hour},
		{"past float64 in nanoseconds", says(ttl.RateLimited, math.MaxFloat64), 24 * time.Hour},
		{"nothing stated", ttl.Verdict{Class: ttl.RateLimited}, time.Minute},
		{"money states nothing", ttl.Verdict{Class: ttl.QuotaExhausted}, 24 * time.Hour},
		{"money states a time", says(ttl.QuotaExhausted, 3600), time.Hour},
		{"a bad key does not get better", ttl.Verdict{Class: ttl.InvalidKey}, 24 * time.Hour},
		{"unless the answer states when", says(ttl.InvalidKey, 60), time.Minute},
		{"nobody knows what a refusal means", ttl.Verdict{Class: ttl.Unknown}, 24 * time.Hour},
		{"but when it is over", says(ttl.Unknown, 90), 90 * time.Second},
		{"an operator cools for overload", says(ttl.Overloaded, 45), 45 * time.Second},
		{"and for a status of his own", ttl.Verdict{Class: ttl.OK}, time.Minute},
		{"a verdict nobody here makes", says(ttl.RateLimited, math.NaN()), time.Minute},
	} {
		if got := p.Cooldown(c.v, 0.999); got != c.want {
			t.Errorf("%s: got %v, want %v", c.why, got, c.want)
		}
	}
}

func TestCooldownBounds(t *testing.T) {
	limited := ttl.Verdict{Class: ttl.RateLimited}
	for _, c := range []struct {
		why  string
		p    Policy
		v    ttl.Verdict
		want time.Duration
	}{
		{"the default is bounded below", Policy{Default: 1, Min: 5, Max: 9}, limited, 5},
		{"the default is bounded above", Policy{Default: 10, Min: 5, Max: 9}, limited, 9},
		{"max holds against min", Policy{Default: 7, Min: 9, Max: 5}, limited, 5},
		{"max holds against min for less, too", Policy{Default: 1, Min: 9, Max: 5}, limited, 5},
		{"the zero policy cools nothing", Policy{}, ttl.Verdict{Class: ttl.RateLimited, Stated: true, Seconds: 1e9}, 0},
		{"the longest max holds 1e100", Policy{Max: math.MaxInt64}, ttl.Verdict{Stated: true, Seconds: 1e100}, math.MaxInt64},
		{"the longest max, just short of it", Policy{Max: math.MaxInt64},
			ttl.Verdict{Stated: true, Seconds: 9223372036}, 9223372036 * time.Second},
		{"jitter on the longest max saturates", Policy{Max: math.MaxInt64, Jitter: 100},
			ttl.Verdict{Stated: true, Seconds: 1e100}, math.MaxInt64},
	} {
		if got := c.p.Cooldown(c.v, 0.5); got != c.want {
			t.Errorf("%s: got %v, want %v", c.why, got, c.want)
		}
	}
}

func TestJitter(t *testing.T) {
	for _, c := range []struct {
		why            string
		jitter, random float64
		d, want        time.Duration
	}{
		{"none drawn", 10, 0, time.Minute, time.Minute},
		{"half of it", 10, 0.5, time.Minute, 63 * time.Second},
		{"none configured", 0, 0.999, time.Minute, time.Minute},
		{"a share of the whole", 100, 0.25, time.Minute, 75 * time.Second},
		{"of nothing", 100, 0.5, 0, 0},
		{"an operator's duration is not bounded", 10, 0.5, 1000 * time.Hour, 1050 * time.Hour},
		{"negative counts as nothing", 100, 0.5, -time.Hour, 0},
		{"past the longest duration", 100, 0.5, math.MaxInt64, math.MaxInt64},
		{"the sum past it", 50, 0.9999, math.MaxInt64 / 4 * 3, math.MaxInt64},
		{"just under it", 100, 0.25, 1 << 62, 1<<62 + 1<<60},
		{"a draw that is no number", 10, math.NaN(), time.Minute, time.Minute},
	} {
		p := Policy{Min: time.Second, Max: time.Hour, Jitter: c.jitter}
		if got := p.Fixed(c.d, c.random); got != c.want {
			t.Errorf("%s: got %v, want %v", c.why, got, c.want)
		}
	}
}

// The jitter comes after the bounds: a cooldown may exceed max by it, or all
// keys that reach max would return at once.
func TestJitterIsAddedAfterTheBounds(t *testing.T) {
	p := Policy{Min: 30 * time.Second, Max: time.Hour, Jitter: 10}
	for _, random := range []float64{0, 0.1, 0.5, math.Nextafter(1, 0)} {
		for seconds, bounded := range map[float64]time.Duration{1: p.Min, 100: 100 * time.Second, 1e9: p.Max} {
			got := p.Cooldown(ttl.Verdict{Class: ttl.RateLimited, Stated: true, Seconds: seconds}, random)
			want := bounded + time.Duration(float64(bounded)*0.1*random)
			if d := got - want; d < -1 || d > 1 || got < bounded || got > bounded+bounded/10 {
				t.Errorf("%v s with draw %v: got %v, want %v", seconds, random, got, want)
			}
		}
	}
}

// Whatever an answer states, the cooldown is within the bounds and the jitter.
func FuzzPolicy(f *testing.F) {
	f.Add(1, true, 1e100, 0.5)
	f.Add(3, false, 0.0, 0.999)
	f.Fuzz(func(t *testing.T, class int, stated bool, seconds, random float64) {
		if !(seconds >= 0) || !(random >= 0 && random < 1) || class < 1 || class > int(ttl.Unknown) {
			t.Skip()
		}
		p := Policy{Default: time.Minute, Min: time.Second, Max: time.Hour, Jitter: 10}
		d := p.Cooldown(ttl.Verdict{Class: ttl.Class(class), Stated: stated, Seconds: seconds}, random)
		if d < p.Min || d > p.Max+p.Max/10 {
			t.Fatalf("%v seconds of class %d cool for %v", seconds, class, d)
		}
	})
}
