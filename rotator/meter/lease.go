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

// lends tells whether this node's part has room for so many tokens besides those that are used
// and held. If others have left so much, one request may go beyond the part.
func (w *Window) lends(used, n int64) bool {
	part := int64(w.ceiling)
	return used+n <= part || used <= part && used+n <= int64(w.room)
}

// hunger notes that requests are kept from the key until then, if that is for want of a
// larger part of its limits: one of so many tokens among them.
func (c *Count) hunger(at, until, tokens int64, l *Limit) {
	if !l.Shared || until <= at || until == Forever {
		return
	}
	if w := c.window(false, l.Per); w != nil && int(w.ceiling) < l.Requests && w.leasedFrom(at, l.Requests) > at {
		w.wanted, w.full = true, true
	}
	n := max(tokens, 1)
	if w := c.window(true, l.TokensPer); w != nil && int64(w.ceiling) < l.Tokens && w.used(at)+c.held+n > int64(w.ceiling) {
		w.wanted, w.full, w.need = true, true, max(w.need, uint32(n))
	}
}

// Lease is this node's part of a limit of requests, or of tokens, that is shared. Those of one
// window are equal. It is safe for concurrent use.
type Lease struct {
	meter  *Meter
	window *Window
}

// Lease returns that of the key's window of that length, which some limit has asked for.
func (m *Meter) Lease(tokens bool, per time.Duration) Lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.all.window(tokens, per)
	if w.room == 0 {
		w.room = math.MaxUint32 // nobody knows better
	}
	return Lease{m, w}
}

// Per returns the length of the window.
func (l Lease) Per() time.Duration { return time.Duration(l.window.per) }

// Used returns how much counts in the window that ends at that time: of tokens, with those
// that are held.
func (l Lease) Used(at int64) int64 {
	l.meter.mu.Lock()
	defer l.meter.mu.Unlock()
	if l.window.tokens {
		return l.window.used(at) + l.meter.all.held
	}
	return l.window.used(at)
}

// Wanted returns how much more the part should have, and forgets that: the tokens of the
// largest request that was refused, or a quarter of the part: who is refused a key takes
// another one.
func (l Lease) Wanted() int64 {
	l.meter.mu.Lock()
	defer l.meter.mu.Unlock()
	w := l.window
	if !w.wanted {
		return 0
	}
	need := int64(w.need)
	w.wanted, w.need = false, 0
	if w.tokens {
		return need
	}
	return max(int64(w.ceiling)/4, 1)
}

// SetRoom says how many tokens others have left to this node.
func (l Lease) SetRoom(n int64) {
	l.meter.mu.Lock()
	defer l.meter.mu.Unlock()
	l.window.room = uint32(min(max(n, 1), math.MaxUint32))
}

// Raise makes the part n, at least one. It reports whether pools keep the key out
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
