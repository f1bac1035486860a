package rotator

import (
	"testing"
	"time"
	"unsafe"
)

// clockSet returns what t would be if the machine's clock had been set by so many
// seconds before: another time of day, the same reading of the monotonic clock.
func clockSet(t *testing.T, at time.Time, seconds int64) time.Time {
	t.Helper()
	set := at
	// The seconds since 1885 stand above 30 bits of nanoseconds, see package time.
	(*struct{ wall, monotonic uint64 })(unsafe.Pointer(&set)).wall += uint64(seconds << 30)
	if by := set.Round(0).Sub(at.Round(0)); by != time.Duration(seconds)*time.Second || set.Sub(at) != 0 {
		t.Fatalf("time.Time is made otherwise now: set by %s, and %s apart", by, set.Sub(at))
	}
	return set
}

// A machine's clock that is set changes no deadline: neither of the keys that cool by
// then nor of those that come after.
func TestTheClockIsSet(t *testing.T) {
	const cools = 40 * time.Second
	for _, row := range []struct {
		sentence string
		seconds  int64
	}{
		{"not at all", 0},
		{"an hour forward", 3600},
		{"an hour back", -3600},
		{"years forward", 5 * 365 * 86400},
		{"before the process began", -10 * 365 * 86400},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			begin := time.Now() // with a reading of the monotonic clock
			p := makePool(t, makeKeys(t, 2), NewState(begin), begin)
			p.Cool(begin, 0, Cooldown{For: cools})
			at := func(after time.Duration) time.Time { return clockSet(t, begin.Add(after), row.seconds) }
			p.Cool(at(10*time.Second), 1, Cooldown{For: cools})
			for _, want := range []struct {
				after   time.Duration
				ready   int
				soonest time.Duration
			}{
				{10 * time.Second, 0, 30 * time.Second},
				{cools - 1, 0, 1},
				{cools, 1, 0},
				{cools + 10*time.Second - 1, 1, 0},
				{cools + 10*time.Second, 2, 0},
			} {
				c := p.Census(at(want.after))
				if c.Ready != want.ready || want.ready == 0 && c.Soonest != want.soonest {
					t.Errorf("after %s %d keys are ready, the next in %s; want %d, %s", want.after, c.Ready, c.Soonest, want.ready, want.soonest)
				}
			}
		})
	}
}
