package rotator

import (
	"fmt"
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
	most  int64 // the lowest limit of the pools that share it
}

// leasedTokens is that of a window of tokens.
type leasedTokens struct{ leased }

// share lets other nodes have their parts of the limits of the pool's keys, or ends that.
func (p *Pool) share(begin bool) {
	for i, k := range p.leasing() {
		if p.limit.Requests > 0 {
			p.shareOne(begin, i, fmt.Sprintf("key %s %s", k.ID(), p.limit.Per), false) // the same on all nodes
		}
		if p.limit.Tokens > 0 {
			p.shareOne(begin, i, fmt.Sprintf("tokens %s %s", k.ID(), p.limit.TokensPer), true)
		}
	}
}

func (p *Pool) shareOne(begin bool, i int, name string, tokens bool) {
	if begin {
		p.limit.Shares.Share(name, p.state.lease(p.keys[i].ID(), p.entries[i], p.leases(tokens)))
	} else {
		p.limit.Shares.Unshare(name)
	}
}

// leasing are the keys whose limits are shared: all, or none.
func (p *Pool) leasing() []Key {
	if !p.bounds.Shared || p.bounds.Requests == 0 && p.bounds.Tokens == 0 {
		return nil
	}
	return p.keys
}

// terms are a limit that a pool shares.
type terms struct {
	tokens bool
	per    time.Duration
	most   int64 // 0: it does not
}

// leases returns the pool's terms for requests, or for tokens.
func (p *Pool) leases(tokens bool) terms {
	if p.leasing() == nil {
		return terms{}
	}
	if tokens {
		return terms{true, p.limit.TokensPer, p.limit.Tokens}
	}
	return terms{false, p.limit.Per, int64(p.limit.Requests)}
}

// lease returns the meter of the key's window that a pool shares on such terms.
func (s *State) lease(id ID, e *entry, t terms) lease.Meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := leased{part: e.usage.meter.Load().Lease(t.tokens, t.per), state: s, id: id, entry: e, most: t.most}
	for _, m := range e.members {
		if other := m.pool.leases(t.tokens); other.most > 0 && other.per == t.per {
			l.most = min(l.most, other.most)
		}
	}
	if t.tokens {
		return leasedTokens{l}
	}
	return l
}

// Most and Per implement lease.Meter, like the methods that follow.
func (l leased) Most() int64          { return l.most }
func (l leased) Per() time.Duration   { return l.part.Per() }
func (l leased) Used(at int64) int64  { return l.part.Used(l.state.since(at)) }
func (l leased) Wanted(_ int64) int64 { return l.part.Wanted() }

// SetCeiling tells pools at once where it makes room.
func (l leased) SetCeiling(n int64) {
	if l.part.Raise(n) {
		l.state.release(max(l.entry.usage.LastUsed.Load()-1, 0), l.id, l.entry)
	}
}

// SetRoom implements lease.Roomy.
func (l leasedTokens) SetRoom(n int64) { l.part.SetRoom(n) }
