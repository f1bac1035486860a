package blame

import (
	"math"
	"time"

	"github.com/keycycler/keycycler/ttl"
)

// Policy turns a verdict into the time that a key stays out of use. The zero
// Policy cools nothing.
type Policy struct {
	// Default is taken where the answer states nothing.
	Default time.Duration
	// Min and Max bound every cooldown before jitter. Where Min exceeds Max,
	// Max holds.
	Min, Max time.Duration
	// Jitter is added on top, uniform in [0, Jitter] percent of the bounded
	// cooldown, so that keys that cooled together do not return together.
	// From 0 to 100.
	Jitter float64
}

// Cooldown returns how long the key rests after v: what is stated; where nothing
// is, Max for ttl.QuotaExhausted, ttl.InvalidKey and ttl.Unknown, which time alone hardly
// cures, and Default for the rest. The result lies in [Min, Max] plus jitter. random is
// the draw for the jitter, in [0, 1).
func (p Policy) Cooldown(v ttl.Verdict, random float64) time.Duration {
	switch {
	case v.Stated && v.Seconds >= 0:
		return p.Fixed(p.clamp(v.Seconds*float64(time.Second)), random)
	case v.Class == ttl.QuotaExhausted, v.Class == ttl.InvalidKey, v.Class == ttl.Unknown:
		return p.Fixed(p.clamp(float64(p.Max)), random)
	default:
		return p.Fixed(p.clamp(float64(p.Default)), random)
	}
}

// Fixed returns d, a duration that an operator chose and that is therefore not
// bounded, plus the jitter. A sum past the longest time.Duration is that
// longest one; a negative d counts as 0. random is as for Cooldown.
func (p Policy) Fixed(d time.Duration, random float64) time.Duration {
	d = max(d, 0)
	extra := float64(d) * (p.Jitter / 100) * random
	switch {
	case !(extra > 0):
		return d
	case extra >= math.MaxInt64 || time.Duration(extra) > math.MaxInt64-d:
		return math.MaxInt64
	default:
		return d + time.Duration(extra)
	}
}

// clamp bounds a number of nanoseconds. It compares before it converts, since
// a float64 past the range of int64 converts to whatever the machine likes.
func (p Policy) clamp(nanoseconds float64) time.Duration {
	switch {
	case nanoseconds >= float64(p.Max):
		return max(p.Max, 0)
	case nanoseconds <= float64(p.Min):
		return max(min(p.Min, p.Max), 0)
	default:
		return time.Duration(math.Round(nanoseconds))
	}
}
