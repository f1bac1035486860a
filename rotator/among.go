package rotator

import (
	"math/rand/v2"
	"slices"
	"time"
)

// CensusAmong is CensusIn of some of the pool's keys.
func (p *Pool) CensusAmong(now time.Time, scope string, among []Slot) Census {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.expire(at)
	return p.in(at, scope).censusAmong(at, among)
}

// pickAmong returns the first of the slots or, where that is not ready, draws one of
// them. It draws without knowing how many there are to draw from: the n-th of them takes
// the place of the one before with a probability of 1/n.
func (d *draw) pickAmong(among, tried []Slot, r *rand.Rand) (picked Slot, ok bool) {
	intN := rand.IntN
	if r != nil {
		intN = r.IntN
	}
	n := 0
	for i, s := range among {
		if !d.isReady(s) || slices.Contains(tried, s) {
			continue
		}
		if i == 0 {
			return s, true
		}
		if n++; intN(n) == 0 {
			picked = s
		}
	}
	return picked, n > 0
}

func (d *draw) censusAmong(at int64, among []Slot) Census {
	c := Census{Keys: len(among)}
	for _, s := range among {
		switch {
		case d.disabled(s):
			c.Disabled++
		case d.cooling.has(s):
			c.Cooling[d.reasons[s]]++
			left := time.Duration(d.until(s) - at)
			if d.until(s) == forever {
				c.Busy++
			} else if c.Soonest == 0 || left < c.Soonest {
				c.Soonest = left
			}
		default:
			c.Ready++
		}
	}
	return c
}
