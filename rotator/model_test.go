package rotator

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is what a pool should be: a map of deadlines, asked key by key.
type model map[ID]struct {
	until  time.Time
	reason Reason
	off    bool
}

func (m model) cool(id ID, now time.Time, c Cooldown) bool {
	e, until := m[id], now.Add(c.For)
	if c.For <= 0 || !until.After(e.until) {
		return false
	}
	e.until, e.reason = until, c.Reason
	m[id] = e
	return true
}

func (m model) census(p *Pool, now time.Time) Census {
	c := Census{Keys: p.Len()}
	for _, k := range p.keys {
		e := m[k.ID()]
		switch {
		case e.off:
			c.Disabled++
			continue
		case !e.until.After(now):
			c.Ready++
			continue
		}
		c.Cooling[e.reason]++
		if left := e.until.Sub(now); c.Soonest == 0 || left < c.Soonest {
			c.Soonest = left
		}
	}
	return c
}

// history drives pools that share a state, and the model beside them.
type history struct {
	*testing.T
	r     *rand.Rand
	now   time.Time
	keys  []Key
	state *State
	pools []*Pool
	model model
}

func TestPoolAgainstModel(t *testing.T) {
	keys := makeKeys(t, 30)
	for seed := range uint64(40) {
		h := &history{t, rand.New(rand.NewPCG(seed, 5)), start, keys, NewState(start), make([]*Pool, 3), model{}}
		for i := range h.pools {
			h.pools[i] = h.newPool()
		}
		for range 3000 {
			h.step()
			if h.Failed() {
				t.Fatalf("seed %d, %v after the start", seed, h.now.Sub(start))
			}
		}
		h.end()
	}
}

func (h *history) step() {
	p := h.pools[h.r.IntN(len(h.pools))]
	switch n := h.r.IntN(100); {
	case n < 30:
		h.now = h.now.Add(time.Duration(h.r.IntN(20)))
	case n < 60:
		h.pick(p)
	case n < 85:
		h.cool(p)
	case n < 88:
		h.clear(p)
	case n < 90:
		h.turn(p)
	case n < 98:
		if got, want := p.Census(h.now), h.model.census(p, h.now); got != want {
			h.Errorf("census %+v, want %+v", got, want)
		}
		checkPool(h, p)
		h.check(p)
	default:
		h.reload()
	}
}

func (h *history) pick(p *Pool) {
	var tried []Slot
	for range h.r.IntN(16) * h.r.IntN(2) {
		tried = append(tried, Slot(h.r.IntN(p.Len())))
	}
	out := func(s Slot) bool {
		e := h.model[p.Key(s).ID()]
		return slices.Contains(tried, s) || e.off || e.until.After(h.now)
	}
	s, ok := p.Pick(h.now, tried)
	switch exists := slices.ContainsFunc(span(0, Slot(p.Len())), func(s Slot) bool { return !out(s) }); {
	case ok != exists:
		h.Errorf("picked: %t, but a ready and untried key exists: %t", ok, exists)
	case ok && out(s):
		h.Errorf("picked slot %d, which cools, is disabled or is among %v", s, tried)
	}
}

func (h *history) cool(p *Pool) {
	s := Slot(h.r.IntN(p.Len()))
	c := Cooldown{For: time.Duration(h.r.IntN(200) - 10), Reason: Reason(h.r.IntN(MaxReasons))}
	id := p.Key(s).ID()
	before := h.state.entries[id].until
	if got, want := p.Cool(h.now, s, c), h.model.cool(id, h.now, c); got != want {
		h.Errorf("Cool reports %t, want %t", got, want)
	}
	if after := h.state.entries[id].until; after < before {
		h.Errorf("the deadline shrank from %d to %d", before, after)
	}
}

func (h *history) clear(p *Pool) {
	s := Slot(h.r.IntN(p.Len()))
	id := p.Key(s).ID()
	if got, want := p.Clear(h.now, s), h.model[id].until.After(h.now); got != want {
		h.Errorf("Clear reports %t, want %t", got, want)
	}
	e := h.model[id]
	e.until, e.reason = time.Time{}, 0
	h.model[id] = e
}

// turn disables or enables a key.
func (h *history) turn(p *Pool) {
	s, disable := Slot(h.r.IntN(p.Len())), h.r.IntN(3) > 0
	id := p.Key(s).ID()
	e := h.model[id]
	turn := p.Enable
	if disable {
		turn = p.Disable
	}
	if got, want := turn(h.now, s), e.off != disable; got != want {
		h.Errorf("turning %t reports %t, want %t", disable, got, want)
	}
	e.off = disable
	h.model[id] = e
}

// check compares what the pool says of one key with the model.
func (h *history) check(p *Pool) {
	s := Slot(h.r.IntN(p.Len()))
	e, want := h.model[p.Key(s).ID()], Ready
	switch {
	case e.off:
		want = Disabled
	case e.until.After(h.now):
		want = Cooling
	}
	got := p.Status(h.now, s)
	if got.Condition != want || got.Left != max(e.until.Sub(h.now), 0) && e.until.After(h.now) || got.Left > 0 && got.Reason != e.reason {
		h.Errorf("status %+v, want %s, %+v", got, want, e)
	}
}

// reload replaces a pool by one that holds other keys in another order.
func (h *history) reload() {
	i := h.r.IntN(len(h.pools))
	old := h.pools[i]
	if h.r.IntN(2) == 0 {
		old.Close(h.now)
		h.pools[i] = h.newPool()
	} else {
		h.pools[i] = h.newPool()
		old.Close(h.now)
	}
	checkState(h, h.state)
}

func (h *history) newPool() *Pool {
	var keys []Key
	for _, i := range h.r.Perm(len(h.keys))[:1+h.r.IntN(len(h.keys))] {
		keys = append(keys, h.keys[i])
	}
	p, err := NewPool(keys, h.state, h.now, WithSource(rand.NewPCG(h.r.Uint64(), 6)))
	if err != nil {
		h.Fatal(err)
	}
	return p
}

// end closes all pools after all cooldowns: nothing may be left behind.
func (h *history) end() {
	h.now = h.now.Add(time.Hour)
	for _, p := range h.pools {
		p.Close(h.now)
	}
	h.enableAll()
	if len(h.state.entries) != 0 {
		h.Fatalf("%d entries are left", len(h.state.entries))
	}
}

// enableAll lets the keys be forgotten that no pool holds and that are disabled.
func (h *history) enableAll() {
	p := makePool(h, h.keys, h.state, h.now)
	for s := range p.Len() {
		p.Enable(h.now, Slot(s))
	}
	p.Close(h.now)
}
