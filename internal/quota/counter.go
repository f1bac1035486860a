package quota

import (
	"math"
	"time"
)

// counter counts what was used in a period. It is not safe for concurrent use. Times are
// Unix nanoseconds; one that is earlier than that of a call before counts as that.
type counter interface {
	used(at int64) int64
	add(at, n int64)

	// from returns when n of what is counted do not count any more; never, if there are not
	// so many.
	from(at, n int64) int64

	// clear returns when nothing counts any more that counts now; not after at, if nothing
	// does.
	clear(at int64) int64

	// tail calls f with how much counts for how much longer.
	tail(at int64, f func(n, left int64))

	// bringBack counts n that count for so much longer, of what tail has said before.
	bringBack(at, n, left int64)
}

const never = int64(math.MaxInt64)

// How much is counted at most: in a part of a window, which is more than any limit there is, and
// in all, so little that what is held besides makes it no number beyond all numbers. An upstream
// may state anything.
const (
	mostInPart = mostInAll / (windowParts + 1)
	mostInAll  = math.MaxInt64 / 2
)

// plus adds. What would be more than most is that.
func plus(n, more, most int64) int64 { return n + min(more, most-n) }

func newCounter(p Period) counter {
	switch {
	case p.Calendar != Sliding:
		return &dated{period: p}
	case p.Per > 0:
		return newWindow(p.Per)
	}
	return nil
}

// windowParts is into how many parts a window is divided: its resolution.
const windowParts = 32

// window counts what was used in the last while, such as a minute, in parts of it. A part
// counts until its last instant has left the window: so in no window of that length,
// wherever it begins, is there more than is counted; and what has left is forgotten one part
// late, at the most. It takes 310 bytes, whatever is counted.
type window struct {
	per, width int64 // nanoseconds: of the window, and of a part
	newest     int64 // the number of the last part that has begun
	total      int64 // of counts
	counts     [windowParts + 1]int64
}

func newWindow(per time.Duration) *window {
	return &window{per: int64(per), width: (int64(per) + windowParts - 1) / windowParts}
}

// turn makes the part of that time the last one, unless it is an earlier one.
func (w *window) turn(at int64) {
	part := at / w.width
	if part-w.newest > int64(len(w.counts)) {
		w.newest = part - int64(len(w.counts)) // all that is older is overwritten anyhow
	}
	for w.newest < part {
		w.newest++
		c := w.count(w.newest)
		w.total -= *c
		*c = 0
	}
}

// count returns that of one of the last parts.
func (w *window) count(part int64) *int64 {
	n := int64(len(w.counts))
	return &w.counts[(part%n+n)%n]
}

// oldest returns the number of the first part that is remembered.
func (w *window) oldest() int64 { return w.newest - windowParts }

// leaves returns when the part has left the window.
func (w *window) leaves(part int64) int64 { return (part+1)*w.width + w.per }

func (w *window) used(at int64) int64 {
	w.turn(at)
	if first := w.oldest(); at >= w.leaves(first) {
		return w.total - *w.count(first)
	}
	return w.total
}

func (w *window) add(at, n int64) {
	w.turn(at)
	w.put(w.newest, n)
}

// put counts it in one of the last parts. What is too much for that is left out of the total, too.
func (w *window) put(part, n int64) {
	c := w.count(part)
	before := *c
	*c = plus(before, n, mostInPart)
	w.total += *c - before
}

// remove takes n away that were added at that time, as far as they are there still.
func (w *window) remove(at, n int64) {
	part := at / w.width
	if part < w.oldest() || part > w.newest {
		return
	}
	c := w.count(part)
	n = min(n, *c)
	*c -= n
	w.total -= n
}

func (w *window) from(at, n int64) int64 {
	w.turn(at)
	for part := w.oldest(); part <= w.newest; part++ {
		if at >= w.leaves(part) {
			continue
		}
		if n -= *w.count(part); n <= 0 {
			return w.leaves(part)
		}
	}
	return never
}

func (w *window) clear(at int64) int64 {
	w.turn(at)
	for part := w.newest; part >= w.oldest(); part-- {
		if *w.count(part) > 0 {
			return w.leaves(part)
		}
	}
	return at
}

func (w *window) tail(at int64, f func(n, left int64)) {
	w.turn(at)
	for part := w.oldest(); part <= w.newest; part++ {
		if n := *w.count(part); n > 0 && w.leaves(part) > at {
			f(n, w.leaves(part)-at)
		}
	}
}

// bringBack counts it in the part in which it was. Where clocks have been set meanwhile it may be
// in none: then in one that leaves later, but for what clocks differ by that are read in turn.
func (w *window) bringBack(at, n, left int64) {
	w.turn(at)
	ended := max(at+left-w.per-w.width/4, 0)
	part := min(ended/w.width, w.newest)
	if part < w.oldest() {
		return
	}
	w.put(part, n)
}

// learn counts what another window has counted, each as late as it can have been.
func (w *window) learn(other *window) {
	for part := other.oldest(); part <= other.newest; part++ {
		if n := *other.count(part); n > 0 {
			w.add((part+1)*other.width, n)
		}
	}
}

// dated counts what was used since the calendar's day or month began.
type dated struct {
	period Period
	until  int64 // the end of the day or month
	n      int64
}

func (d *dated) turn(at int64) {
	if at >= d.until {
		d.n, d.until = 0, d.period.next(at)
	}
}

func (d *dated) used(at int64) int64 { d.turn(at); return d.n }

func (d *dated) add(at, n int64) { d.turn(at); d.n = plus(d.n, n, mostInAll) }

func (d *dated) from(at, n int64) int64 {
	if d.used(at) < n {
		return never
	}
	return d.until
}

func (d *dated) clear(at int64) int64 {
	if d.used(at) == 0 {
		return at
	}
	return d.until
}

func (d *dated) tail(at int64, f func(n, left int64)) {
	if n := d.used(at); n > 0 {
		f(n, d.until-at)
	}
}

func (d *dated) bringBack(at, n, _ int64) { d.add(at, n) }
