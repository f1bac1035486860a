package rotator

import (
	"fmt"
	"math"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/meter"
)

// Shares divides limits among nodes.
type Shares = lease.Shares

// Keeper keeps what pools have used for all nodes, and over restarts. It may be nil: it stays
// in memory.
type Keeper = keep.Keeper

// leased is the lease.Meter of a key's window. Those of one window are equal.
type leased struct {
	part  meter.Lease
	state *State
	id    ID
	entry *entry
	most  int // the lowest limit of the pools that share it
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
	if !p.bounds.Shared || p.bounds.Requests == 0 {
		return nil
	}
	return p.keys
}

// lease returns the meter of the key's window of that length, which a pool shares.
func (s *State) lease(id ID, e *entry, per time.Duration) lease.Meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := leased{part: e.usage.meter.Load().Lease(per), state: s, id: id, entry: e, most: math.MaxInt32}
	for _, m := range e.members {
		if m.pool.leasing() != nil && m.pool.limit.Per == per {
			l.most = min(l.most, m.pool.limit.Requests)
		}
	}
	return l
}

// Most and Per implement lease.Meter, like the methods that follow.
func (l leased) Most() int64          { return int64(l.most) }
func (l leased) Per() time.Duration   { return l.part.Per() }
func (l leased) Used(at int64) int64  { return l.part.Used(l.state.since(at)) }
func (l leased) Wanted(_ int64) int64 { return l.part.Wanted() }

// SetCeiling tells pools at once where it makes room.
func (l leased) SetCeiling(n int64) {
	if l.part.Raise(n) {
		l.state.release(max(l.entry.usage.LastUsed.Load()-1, 0), l.id, l.entry)
	}
}
