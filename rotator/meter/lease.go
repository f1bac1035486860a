package meter

import (
	"math"
	"time"
)

// AskAgain is when a key is looked at again, at the latest, that has used up this node's
// part of its limit: others may give more of it.
const AskAgain = time.Second

// leasedFrom is RoomFrom for a request where this node has a part of the n: when to look
// again, if only that is used up.
func (w *Window) leasedFrom(at int64, n int) int64 {
	until := w.RoomFrom(int64(min(max(int(w.ceiling), 1), n)), 1)
	if until <= at {
		return until
	}
	return max(w.RoomFrom(int64(n), 1), min(until, at+int64(AskAgain)))
}

// used returns how many requests count in the window that ends at that time.
func (w *Window) used(at int64) (n int64) {
	for part := w.newest; part > w.newest-int64(len(w.counts)) && w.end(part*w.width) > at; part-- {
		n += int64(*w.count(part))
	}
	return n
}

// hunger notes that requests are kept from the key until then, if that is for want of a
// larger part of its limit.
func (c *Count) hunger(at, until int64, l *Limit) {
	if !l.Shared || l.Requests == 0 || until <= at || until == Forever {
		return
	}
	if w := c.window(false, l.Per); w != nil && int(w.ceiling) < l.Requests && w.leasedFrom(at, l.Requests) > at {
		w.wanted, w.full = true, true
	}
}

// Lease is this node's part of a limit of requests that is shared. Those of one window are
// equal. It is safe for concurrent use.
type Lease struct {
	meter  *Meter
	window *Window
}

// Lease returns that of the key's window of that length, which some limit has asked for.
func (m *Meter) Lease(per time.Duration) Lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Lease{m, m.all.window(false, per)}
}

// Per returns the length of the window.
func (l Lease) Per() time.Duration { return time.Duration(l.window.per) }

// Used returns how many requests count in the window that ends at that time.
func (l Lease) Used(at int64) int64 {
	l.meter.mu.Lock()
	defer l.meter.mu.Unlock()
	return l.window.used(at)
}

// Wanted returns how many requests more the part should have, and forgets that. It is a
// quarter of the part: who is refused a key takes another one.
func (l Lease) Wanted() int64 {
	l.meter.mu.Lock()
	defer l.meter.mu.Unlock()
	if !l.window.wanted {
		return 0
	}
	l.window.wanted = false
	return max(int64(l.window.ceiling)/4, 1)
}

// Raise makes the part n requests, at least one. It reports whether pools keep the key out
// that need not.
func (l Lease) Raise(n int64) bool {
	ceiling := uint32(min(max(n, 1), math.MaxInt32))
	l.meter.mu.Lock()
	defer l.meter.mu.Unlock()
	better := ceiling > l.window.ceiling && l.window.full
	l.window.full = l.window.full && !better
	l.window.ceiling = ceiling
	return better
}
