// Package meter counts what goes out with a key, for the limits that pools have for it.
//
// It knows neither keys nor pools, and no clock: times are nanoseconds since an epoch that is
// the caller's. Whatever is counted of a key, and until when that leaves no room, goes here;
// who is kept from the key for it does not.
package meter

import (
	"math"
	"time"
)

// Parts is into how many parts a window is divided.
const Parts = 32

// never is before everything that is counted.
const never = math.MinInt64

// Window counts the requests of the last while, such as a minute, or their tokens, in parts
// of it. A part counts until its last instant has left the window: so in no window of that
// length, wherever it begins, are there more than are counted; and what has left is
// forgotten one part late, at the most. It takes 180 bytes. Not safe for concurrent use.
type Window struct {
	per, width int64 // nanoseconds: of the window, and of a part
	newest     int64 // the number of the last part in which there was something
	counts     [Parts + 1]uint32
	tokens     bool // they are what it counts

	ceiling uint32 // this node's part of a limit that is shared; 0: nobody shares any
	room    uint32 // likewise, of tokens: what others have left to this node
	need    uint32 // likewise: so many were wanted at a time since others were last asked
	wanted  bool   // more than the part was wanted since then
	full    bool   // the key was kept out for it
}

// NewWindow returns a window of that length in which nothing is counted.
func NewWindow(per time.Duration) *Window {
	return &Window{per: int64(per), width: (int64(per) + Parts - 1) / Parts}
}

// Add counts n at that instant. One that is older than all parts counts as the first of them:
// what another window has told may be later than now.
func (w *Window) Add(at int64, n uint32) {
	part := at / w.width
	for ; w.newest < part; w.newest++ {
		if part-w.newest > int64(len(w.counts)) {
			w.newest = part - int64(len(w.counts)) // all that is older is overwritten anyhow
		}
		*w.count(w.newest + 1) = 0
	}
	c := w.count(max(part, w.newest-int64(len(w.counts))+1))
	*c += min(n, math.MaxUint32-*c)
}

// end returns until when what was at that instant counts.
func (w *Window) end(at int64) int64 { return (at/w.width+1)*w.width + w.per }

// count returns that of one of the last parts.
func (w *Window) count(part int64) *uint32 {
	n := int64(len(w.counts))
	return &w.counts[(part%n+n)%n]
}

// RoomFrom returns from when on there is room for so many, where most are allowed: not
// after now, if there is; never, if there are not so many. w may be nil: nobody counts any
// more, since all pools that did are closed.
func (w *Window) RoomFrom(most, room int64) int64 {
	if w == nil {
		return never
	}
	sum := int64(0)
	for part := w.newest; part > w.newest-int64(len(w.counts)); part-- {
		if sum += int64(*w.count(part)); sum > most-room {
			return w.end(part * w.width)
		}
	}
	return never
}

// Learn counts what another window has counted, each as late as it can have been.
func (w *Window) Learn(other *Window) {
	for part := other.newest - int64(len(other.counts)) + 1; part <= other.newest; part++ {
		if n := *other.count(part); n > 0 {
			w.Add((part+1)*other.width, n)
		}
	}
}
