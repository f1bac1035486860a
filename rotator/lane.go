package rotator

import (
	"math"

	"github.com/keycycler/keycycler/rotator/draw"
)

// A pool has a lane for each scope in which something is known of one of its keys. In
// the lane, each key is what it is both for all requests and in the scope. So a request
// of the scope draws from the lane as others do from the pool's own draw, in the same
// time, whatever share cools in the scope; and the price is paid by those who cool: a
// cooldown for all requests goes into each lane, and the first one in a scope copies the
// pool's draw.
type lane struct {
	draw.Draw
	end int64 // when nothing cools in the scope any more, at the latest
}

// lanes are those of one pool, whose lock guards them.
type lanes struct {
	byScope map[string]*lane // nil: there has never been one
	rest    *lane            // the one of Overflow, which is in byScope, too
	soonest int64            // when one of them may have come to its end
}

// in returns the draw for requests of the scope. It is short so that it costs
// nothing where no scope matters. p.mu is held.
func (p *Pool) in(at int64, scope string) *draw.Draw {
	if len(p.lanes.byScope) == 0 {
		return &p.all
	}
	return p.lanes.in(at, scope, &p.all)
}

// in returns the draw of the scope's lane, or all, if it has none.
func (ls *lanes) in(at int64, scope string, all *draw.Draw) *draw.Draw {
	if at >= ls.soonest {
		ls.expire(at)
	}
	if scope == "" {
		return all
	}
	l := ls.byScope[scope]
	if l == nil {
		l = ls.rest
	}
	if l == nil {
		return all
	}
	l.Expire(at)
	return &l.Draw
}

// extend keeps the slot out until then in all draws, where it is not for longer.
// p.mu is held.
func (p *Pool) extend(s Slot, until int64, r Reason, at int64) {
	p.all.Extend(s, until, r, at)
	for _, l := range p.lanes.byScope {
		l.Extend(s, until, r, at)
	}
}

// open makes a lane for requests of the scope, until then at least. The state calls it,
// holding its own lock, before it says what there is in the lane.
func (p *Pool) open(scope string, until int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes.byScope[scope]
	if l == nil {
		l = p.lanes.open(scope, p.all.Clone())
	}
	l.end = max(l.end, until)
	p.lanes.soonest = min(p.lanes.soonest, l.end)
}

// renew makes of the slot what is known now: disabled, or what the view says for requests
// of a scope, or out for as long as it is at the pool's limit. better tells that it may be
// of use to who waits. The state calls it, holding its own lock.
func (p *Pool) renew(at int64, s Slot, better bool, v view) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v.put(&p.all, s, "")
	for scope, l := range p.lanes.byScope {
		v.put(&l.Draw, s, scope)
	}
	if full := p.full(at, s); full > at {
		p.extend(s, full, p.limit.Reason, at)
	}
	if better {
		p.wake()
	}
}

// put makes of the slot of a draw for requests of the scope what the view says.
func (v *view) put(d *draw.Draw, s Slot, scope string) {
	if v.off {
		d.Disable(s)
		return
	}
	d.Put(s, v.in(scope), v.at)
}

// shut frees the scope's lane, since nothing cools in it any more. The state calls
// it, holding its own lock.
func (p *Pool) shut(scope string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes.shut(scope)
}

func (ls *lanes) open(scope string, d draw.Draw) *lane {
	if len(ls.byScope) == 0 {
		ls.byScope, ls.soonest = make(map[string]*lane), math.MaxInt64
	}
	l := &lane{Draw: d}
	ls.byScope[scope] = l
	if scope == Overflow {
		ls.rest = l
	}
	return l
}

func (ls *lanes) shut(scope string) {
	delete(ls.byScope, scope)
	if scope == Overflow {
		ls.rest = nil
	}
}

// expire frees the lanes in which nothing cools any more. It is called no more
// often than there are cooldowns in scopes: each call but the first finds an end
// that has moved.
func (ls *lanes) expire(at int64) {
	ls.soonest = math.MaxInt64
	for scope, l := range ls.byScope {
		if l.end <= at {
			ls.shut(scope)
			continue
		}
		ls.soonest = min(ls.soonest, l.end)
	}
}
