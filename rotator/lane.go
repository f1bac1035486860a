package rotator

import "math"

// A pool has a lane for each scope in which one of its keys cools. In the lane,
// each key cools until the later of its two deadlines, the one for all requests and
// the scope's. So a request of the scope draws from the lane as others do from the
// pool's own draw, in the same time, whatever share cools in the scope; and the
// price is paid by those who cool: a cooldown for all requests goes into each lane,
// and the first one in a scope copies the pool's draw.
type lane struct {
	draw
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
func (p *Pool) in(at int64, scope string) *draw {
	if len(p.lanes.byScope) == 0 {
		return &p.all
	}
	return p.lanes.in(at, scope, &p.all)
}

// in returns the draw of the scope's lane, or all, if it has none.
func (ls *lanes) in(at int64, scope string, all *draw) *draw {
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
	l.draw.expire(at)
	return &l.draw
}

// cool makes the slot cool until then for all requests, unless it is at its limit for
// longer. The state calls it, holding its own lock.
func (p *Pool) cool(s Slot, until int64, r Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.extend(s, until, r)
}

// extend makes the slot cool until then in all draws, where it does not for longer.
// p.mu is held.
func (p *Pool) extend(s Slot, until int64, r Reason) {
	p.all.extend(s, until, r)
	for _, l := range p.lanes.byScope {
		l.extend(s, until, r)
	}
}

// coolIn makes the slot cool until then for requests of the scope. The state calls
// it, holding its own lock, and for no earlier deadline than before.
func (p *Pool) coolIn(scope string, s Slot, until int64, r Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes.byScope[scope]
	if l == nil {
		l = p.lanes.open(scope, p.all.clone())
	}
	l.end = max(l.end, until)
	p.lanes.soonest = min(p.lanes.soonest, l.end)
	if until > l.until(s) {
		l.cool(s, until, r)
	}
}

// disable takes the slot out of all draws. The state calls it, holding its own lock.
func (p *Pool) disable(s Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.disable(s)
	for _, l := range p.lanes.byScope {
		l.disable(s)
	}
}

// renew makes of the slot what is known now, which may be less than before:
// disabled, or cooling until what in says for requests of a scope (0: it does not), or
// for as long as it is at the pool's limit.
// The state calls it, holding its own lock.
func (p *Pool) renew(s Slot, off bool, in func(scope string) (until int64, r Reason)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.renew(s, "", off, in)
	for scope, l := range p.lanes.byScope {
		l.renew(s, scope, off, in)
	}
	if full := p.full(s); full != never {
		p.extend(s, full, p.limit.Reason)
	}
	p.wake()
}

func (d *draw) renew(s Slot, scope string, off bool, in func(scope string) (until int64, r Reason)) {
	d.free(s)
	if off {
		d.disable(s)
	} else if until, r := in(scope); until != 0 {
		d.cool(s, until, r)
	}
}

// shut frees the scope's lane, since nothing cools in it any more. The state calls
// it, holding its own lock.
func (p *Pool) shut(scope string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes.shut(scope)
}

func (ls *lanes) open(scope string, d draw) *lane {
	if len(ls.byScope) == 0 {
		ls.byScope, ls.soonest = make(map[string]*lane), math.MaxInt64
	}
	l := &lane{draw: d}
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
