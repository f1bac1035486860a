package rotator

import (
	"fmt"
	"math"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
)

// Shares divides limits among nodes.
type Shares = lease.Shares

// askAgain is when a key is looked at again, at the latest, that has used up this node's
// part of its limit: others may give more of it.
const askAgain = time.Second

// leasedFrom is roomFrom where this node has a part of the n: when to look again, if only
// that is used up.
func (w *window) leasedFrom(at int64, n int) int64 {
	until := w.roomFrom(min(max(int(w.ceiling), 1), n))
	if until <= at {
		return until
	}
	return max(w.roomFrom(n), min(until, at+int64(askAgain)))
}

// used returns how many requests count in the window that ends at that time.
func (w *window) used(at int64) (n int64) {
	for part := w.newest; part > w.newest-int64(len(w.counts)) && (part+1)*w.width+w.per > at; part-- {
		n += int64(*w.count(part))
	}
	return n
}

// hunger notes that the key is kept out until then, if that is for want of a larger part of
// its limit. m.mu is held.
func (l *Limit) hunger(m *meter, until int64) {
	if l.Shares == nil || l.Requests == 0 || until == forever {
		return
	}
	if w := m.window(l.Per); int(w.ceiling) < l.Requests {
		w.wanted, w.full = true, true
	}
}

// leased is the lease.Meter of a key's window. Those of one window are equal.
type leased struct {
	state  *State
	id     ID
	entry  *entry
	window *window
	most   int // the lowest limit of the pools that share it
}

// share lets other nodes have their parts of the limits of the pool's keys, or ends that.
func (p *Pool) share(begin bool) {
	for i, k := range p.leasing() {
		name := fmt.Sprintf("key %s %s", k.ID(), p.limit.Per) // the same on all nodes
		if begin {
			p.limit.Shares.Share(name, p.state.lease(k.ID(), p.entries[i], p.limit.Per))
		} else {
			p.limit.Shares.Unshare(name)
		}
	}
}

// leasing are the keys whose limits are shared: all, or none.
func (p *Pool) leasing() []Key {
	if p.limit == nil || p.limit.Shares == nil || p.limit.Requests == 0 {
		return nil
	}
	return p.keys
}

// lease returns the meter of the key's window of that length, which a pool shares.
func (s *State) lease(id ID, e *entry, per time.Duration) lease.Meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := leased{state: s, id: id, entry: e, most: math.MaxInt32}
	for _, m := range e.members {
		if m.pool.leasing() != nil && m.pool.limit.Per == per {
			l.most = min(l.most, m.pool.limit.Requests)
		}
	}
	m := e.usage.meter.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	l.window = m.window(per)
	return l
}

// Most and Per implement lease.Meter, like the methods that follow.
func (l leased) Most() int64        { return int64(l.most) }
func (l leased) Per() time.Duration { return time.Duration(l.window.per) }

func (l leased) Used(at int64) int64 {
	m := l.entry.usage.meter.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	return l.window.used(l.state.since(at))
}

// Wanted is a quarter of what is used: who is refused a key takes another one.
func (l leased) Wanted(int64) int64 {
	m := l.entry.usage.meter.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !l.window.wanted {
		return 0
	}
	l.window.wanted = false
	return max(int64(l.window.ceiling)/4, 1)
}

// SetCeiling tells pools at once where it makes room.
func (l leased) SetCeiling(n int64) {
	u := l.entry.usage
	if l.raise(u.meter.Load(), uint32(min(max(n, 1), math.MaxInt32))) {
		l.state.release(max(u.LastUsed.Load()-1, 0), l.id, l.entry)
	}
}

// raise sets the ceiling. It reports whether pools keep the key out that need not.
func (l leased) raise(m *meter, n uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	better := n > l.window.ceiling && l.window.full
	l.window.full = l.window.full && !better
	l.window.ceiling = n
	return better
}
