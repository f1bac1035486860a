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
	begun atomic.Pointer[beginning]
}

// beginning is when the file's time began to go on by this process's clock.
type beginning struct {
	told time.Time // as a rotator.Change tells it
	file int64     // the file's time then, in milliseconds since 1970
}

// start makes now the time that the file had, by its last mark, and what has passed since.
func (c *clock) start(now time.Time, last mark) {
	c.begun.Store(&beginning{c.state.Told(now), last.now(c.wall().UnixMilli())})
}

// at is the file's time now.
func (c *clock) at(now time.Time) int64 { return c.millis(c.state.Told(now)) }

func (c *clock) mark(now time.Time) mark { return mark{c.at(now), c.wall().UnixMilli()} }

// millis is the file's time at an instant, as a rotator.Change tells it; 0 if it is none. What
// waits to be written is the same time, whatever is skipped meanwhile.
func (c *clock) millis(told time.Time) int64 {
	if told.IsZero() {
		return 0
	}
	begun := c.begun.Load()
	return min(max(begun.file+told.Sub(begun.told).Milliseconds(), 1), maxMillis)
}

// local turns that back; the zero time for 0.
func (c *clock) local(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	begun := c.begun.Load()
	return begun.told.Add(time.Duration(ms-begun.file) * time.Millisecond)
}

// fact turns what this process knows into the file's time.
func (c *clock) fact(of rotator.Change) fact {
	f := fact{
		until: c.millis(of.Until), learned: c.millis(of.Learned), cleared: c.millis(of.Cleared), spare: c.millis(of.Spare),
		off: of.Off, equal: of.Equal, reason: of.Reason, source: of.Source,
	}
	if !of.Kept.IsZero() {
		f.until, f.learned = c.millis(of.Kept), 0 // it is void
	}
	return f
}

// change turns what the file says into this process's time.
func (c *clock) change(now time.Time, about subject, f fact) rotator.Change {
	f = f.bounded(c.at(now))
	of := rotator.Change{ID: about.id, Scope: about.scope, Off: f.off, Cleared: c.local(f.cleared)}
	switch {
	case f.void(f.cleared) && about.scope == "":
	case f.void(f.cleared):
		of.Kept = c.local(f.until)
	case f.until != 0:
		of.Until, of.Learned = c.local(f.until), c.local(f.learned)
		of.Spare, of.Equal = c.local(f.spare), f.equal
		of.Reason, of.Source = f.reason, f.source
	}
	return of
}
