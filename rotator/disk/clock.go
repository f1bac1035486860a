package disk

import (
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// mark says what the machine's clock said at a time of the file, in milliseconds since 1970.
type mark struct{ file, wall int64 }

// now is the file's time when the machine's clock says so: later by as much as has passed
// since. If the clock stands before that, it was set back, and nobody knows what has passed:
// nothing, so that a cooldown lasts no longer than it would have when the file was written
// last. Without a mark both are the same.
func (m mark) now(wall int64) int64 {
	if m == (mark{}) {
		return wall
	}
	return min(m.file+max(wall-m.wall, 0), maxMillis)
}

// clock translates between the file's time and this process's. The file's time goes on
// evenly for as long as a process runs, whatever is done to the machine's clock; when one
// starts, it continues where the last one has left it: see mark.now.
type clock struct {
	state *rotator.State
	wall  func() time.Time
	shift atomic.Int64 // the file's time less the state's, in nanoseconds
}

// start makes now the time that the file had, by its last mark, and what has passed since.
func (c *clock) start(now time.Time, last mark) {
	c.shift.Store(last.now(c.wall().UnixMilli())*int64(time.Millisecond) - c.state.Unix(now))
}

// at is the file's time now, in nanoseconds.
func (c *clock) at(now time.Time) int64 { return c.state.Unix(now) + c.shift.Load() }

func (c *clock) mark(now time.Time) mark { return mark{c.millis(now, now), c.wall().UnixMilli()} }

// millis is the file's time at t, or 0 if t is none.
func (c *clock) millis(now, t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	const most = 200 * 365 * 24 * time.Hour
	at := c.at(now) + int64(min(max(t.Sub(now), -most), most))
	return min(max(at/int64(time.Millisecond), 1), maxMillis)
}

// local is when the file's time is ms by this process's clock; the zero time for 0.
func (c *clock) local(now time.Time, ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(ms*int64(time.Millisecond) - c.at(now)))
}

// fact turns what this process knows into the file's time.
func (c *clock) fact(now time.Time, of rotator.Change) fact {
	f := fact{
		until: c.millis(now, of.Until), learned: c.millis(now, of.Learned), cleared: c.millis(now, of.Cleared), spare: c.millis(now, of.Spare),
		off: of.Off, equal: of.Equal, reason: of.Reason, source: of.Source,
	}
	if !of.Kept.IsZero() {
		f.until, f.learned = c.millis(now, of.Kept), 0 // it is void
	}
	return f
}

// change turns what the file says into this process's time.
func (c *clock) change(now time.Time, about subject, f fact) rotator.Change {
	f = f.bounded(c.at(now) / int64(time.Millisecond))
	of := rotator.Change{ID: about.id, Scope: about.scope, Off: f.off, Cleared: c.local(now, f.cleared)}
	switch {
	case f.void(f.cleared) && about.scope == "":
	case f.void(f.cleared):
		of.Kept = c.local(now, f.until)
	case f.until != 0:
		of.Until, of.Learned = c.local(now, f.until), c.local(now, f.learned)
		of.Spare, of.Equal = c.local(now, f.spare), f.equal
		of.Reason, of.Source = f.reason, f.source
	}
	return of
}
