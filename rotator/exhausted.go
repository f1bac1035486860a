package rotator

import (
	"slices"
	"strings"
	"time"
)

// ScopeCensus is a pool at one instant, as requests of the scope see it.
type ScopeCensus struct {
	Scope string // Overflow stands for all names that share it
	Census
}

// Exhausted returns the scopes in which no key is ready at now while keys are ready for
// other requests, by name: at most MaxScopes and Overflow. Where the pool has no ready
// key at all there are none: that is the whole pool's trouble. It takes O(scopes in which
// keys of the pool cool), whatever the number of keys, and the amortised O(log n) of the
// cooldowns that ended since the last call.
func (p *Pool) Exhausted(now time.Time) []ScopeCensus {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.expire(at)
	if p.all.ready() == 0 {
		return nil
	}
	out := p.lanes.exhausted(at)
	slices.SortFunc(out, func(a, b ScopeCensus) int { return strings.Compare(a.Scope, b.Scope) })
	return out
}

// exhausted returns the lanes that have no ready key, in any order.
func (ls *lanes) exhausted(at int64) (out []ScopeCensus) {
	for scope, l := range ls.byScope {
		if l.draw.expire(at); l.ready() == 0 {
			out = append(out, ScopeCensus{scope, l.census(at)})
		}
	}
	return out
}
