package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is what a pool should be: a map of deadlines, asked key by key.
type model map[subject]fact

// fact is what is known of a key: in a scope, or for all requests.
type fact struct {
	until  time.Time
	reason Reason
	off    bool // for all requests alone
}

func (m model) cool(id ID, now time.Time, c Cooldown) bool {
	about, until := subject{id, c.Scope}, now.Add(c.For)
	f := m[about]
	if c.For <= 0 || !until.After(f.until) {
		return false
	}
	f.until, f.reason = until, c.Reason
	m[about] = f
	return true
}

// end ends a cooldown and reports whether it was one.
func (m model) end(about subject, now time.Time) bool {
	f := m[about]
	m[about] = fact{off: f.off}
	return f.until.After(now)
}

// in returns what counts for a request of the scope.
func (m model) in(scope string, id ID) fact {
	f := m[subject{id, ""}]
	if own := m[subject{id, scope}]; own.until.After(f.until) {
		f.until, f.reason = own.until, own.reason
	}
	return f
}

func (m model) census(p *Pool, w Want, now time.Time) (c Census) {
	for s, k := range p.keys {
		if !p.isOpen(Slot(s), w) {
			continue
		}
		c.Keys++
		f := m.in(w.Scope, k.ID())
		switch {
		case f.off:
			c.Disabled++
			continue
		case !f.until.After(now):
			c.Ready++
			continue
		}
		c.Cooling[f.reason]++
		if left := f.until.Sub(now); c.Soonest == 0 || left < c.Soonest {
			c.Soonest = left
		}
	}
	return flat(c)
}

// history drives pools that share a state, and the model beside them.
type history struct {
	*testing.T
	r      *rand.Rand
	now    time.Time
	keys   []Key
	state  *State
	pools  []*Pool
	model  model
	scopes []string // the names that requests may have; the first is none

	limited bool // all pools have limits: see limit_test.go
	begun   map[ID][]time.Time
	open    []running
}

func newHistory(t *testing.T, seed uint64, scopes []string) *history {
	h := &history{
		T: t, r: rand.New(rand.NewPCG(seed, 5)), now: start, keys: makeKeys(t, 30),
		state: NewState(start), pools: make([]*Pool, 3), model: model{}, scopes: scopes,
		begun: make(map[ID][]time.Time), limited: seed%3 == 1 && len(scopes) <= MaxScopes,
	}
	for i := range h.pools {
		h.pools[i] = h.newPool()
	}
	return h
}

func TestPoolAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		h := newHistory(t, seed, []string{"", "gpt-x", "gpt-y", "gpt-z"}[:1+seed%4])
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
	case n < 60 && h.limited:
		h.takeOrEnd(p)
	case n < 60:
		h.pick(p)
	case n < 83:
		h.cool(p)
	case n < 85:
		h.serve(p)
	case n < 88:
		h.clear(p)
	case n < 90:
		h.turn(p)
	case n < 98:
		h.census(p, h.scope())
		checkPool(h, p)
		h.check(p)
	default:
		h.reload()
	}
}

func (h *history) census(p *Pool, scope string) {
	w := Want{Scope: scope, Shut: p.randomShut(h.r)}
	got, want := p.CensusFor(h.now, w), h.model.census(p, w, h.now)
	if !h.limited && got != want {
		h.Errorf("census in %q %+v, want %+v", scope, got, want)
	}
	if got.Ready > want.Ready || got.Ready < want.Ready-h.full(p) || got.Disabled != want.Disabled {
		h.Errorf("census in %q %+v, without limits %+v, but %d keys are at theirs", scope, got, want, h.full(p))
	}
}

func (h *history) scope() string { return h.scopes[h.r.IntN(len(h.scopes))] }

func (h *history) pick(p *Pool) {
	tried, scope := h.tried(p), h.scope()
	w := Want{Scope: scope, Tried: tried, Shut: p.randomShut(h.r)}
	out := func(s Slot) bool {
		f := h.model.in(scope, p.Key(s).ID())
		return !p.isOpen(s, w) || slices.Contains(tried, s) || f.off || f.until.After(h.now)
	}
	s, ok := p.PickFor(h.now, w)
	switch exists := slices.ContainsFunc(span(0, Slot(p.Len())), func(s Slot) bool { return !out(s) }); {
	case ok != exists && len(h.scopes) <= MaxScopes:
		h.Errorf("picked in %q: %t, but a ready and untried key exists: %t", scope, ok, exists)
	case ok && out(s):
		h.Errorf("picked slot %d in %q, which cools, is disabled, of the shut lots %v or among %v", s, scope, w.Shut, tried)
	case ok && p.tier(s) != p.lowest(out) && len(h.scopes) <= MaxScopes:
		h.Errorf("picked slot %d of tier %d in %q, though one of tier %d is ready", s, p.tier(s), scope, p.lowest(out))
	}
}

func (h *history) tried(p *Pool) (tried []Slot) {
	for range h.r.IntN(16) * h.r.IntN(2) {
		tried = append(tried, Slot(h.r.IntN(p.Len())))
	}
	return tried
}

// deadline is what the state itself says.
func (h *history) deadline(about subject) int64 {
	switch sc := h.state.scopes[about.scope]; {
	case about.scope == "":
		return h.state.entries[about.ID].until
	case sc != nil && sc.terms[about.ID] != nil:
		return sc.terms[about.ID].until
	default:
		return 0
	}
}

func (h *history) cool(p *Pool) {
	s := Slot(h.r.IntN(p.Len()))
	c := Cooldown{For: time.Duration(h.r.IntN(200) - 10), Reason: Reason(h.r.IntN(MaxReasons)), Scope: h.scope()}
	about := subject{p.Key(s).ID(), c.Scope}
	before := h.deadline(about)
	got := p.Cool(h.now, s, c)
	if want := h.model.cool(about.ID, h.now, c); got != want && len(h.scopes) <= MaxScopes {
		h.Errorf("Cool reports %t, want %t", got, want)
	}
	if after := h.deadline(about); after < before && before > h.state.at(h.now) {
		h.Errorf("the deadline shrank from %d to %d", before, after)
	}
}

// serve lets a request be served that begins now: the key cools no more, neither for all
// requests nor in the scope of that one. It begins a bit later, since what was learned
// after a clearing is so on all nodes, though their clocks differ.
func (h *history) serve(p *Pool) {
	s, scope := Slot(h.r.IntN(p.Len())), h.scope()
	id := p.Key(s).ID()
	want := h.model.end(subject{id, scope}, h.now)
	want = h.model.end(subject{id, ""}, h.now) || want
	if got := p.Serve(h.now, h.now.Add(time.Hour), s, scope); got != want {
		h.Errorf("Serve reports %t, want %t", got, want)
	}
}

func (h *history) clear(p *Pool) {
	s := Slot(h.r.IntN(p.Len()))
	want := false
	for _, scope := range h.scopes {
		want = h.model.end(subject{p.Key(s).ID(), scope}, h.now) || want
	}
	if got := p.Clear(h.now, s); got != want {
		h.Errorf("Clear reports %t, want %t", got, want)
	}
}

// turn disables or enables a key.
func (h *history) turn(p *Pool) {
	s, disable := Slot(h.r.IntN(p.Len())), h.r.IntN(3) > 0
	about := subject{p.Key(s).ID(), ""}
	f := h.model[about]
	turn := p.Enable
	if disable {
		turn = p.Disable
	}
	if got, want := turn(h.now, s), f.off != disable; got != want {
		h.Errorf("turning %t reports %t, want %t", disable, got, want)
	}
	f.off = disable
	h.model[about] = f
}

// check compares what the pool says of one key with the model.
func (h *history) check(p *Pool) {
	s := Slot(h.r.IntN(p.Len()))
	id := p.Key(s).ID()
	f, want := h.model[subject{id, ""}], Ready
	switch {
	case f.off:
		want = Disabled
	case f.until.After(h.now), h.atLimit(p, s):
		want = Cooling
	}
	got := p.Status(h.now, s)
	if got.Condition != want || !h.limited && got.Left != max(f.until.Sub(h.now), 0) && f.until.After(h.now) || !h.limited && got.Left > 0 && got.Reason != f.reason {
		h.Errorf("status %+v, want %s, %+v", got, want, f)
	}
	var scopes []ScopeStatus
	for _, scope := range h.scopes[1:] {
		if f := h.model[subject{id, scope}]; f.until.After(h.now) {
			scopes = append(scopes, ScopeStatus{Scope: scope, Left: f.until.Sub(h.now), Reason: f.reason})
		}
	}
	if !slices.Equal(got.Scopes, scopes) {
		h.Errorf("scopes %+v, want %+v", got.Scopes, scopes)
	}
}

// Clients invent many names. Some share a scope then, and keys may stay out that
// are ready; but never may one be picked that cools, and there is an end to what is
// kept.
func TestManyScopesAgainstModel(t *testing.T) {
	scopes := []string{""}
	for i := range 3 * MaxScopes {
		scopes = append(scopes, fmt.Sprintf("model-%03d", i))
	}
	most, spilled, steps := 0, 0, 0
	for seed := range uint64(40) {
		h := newHistory(t, seed, scopes)
		for range 3000 {
			switch p := h.pools[h.r.IntN(len(h.pools))]; h.r.IntN(10) {
			case 0:
				h.now = h.now.Add(time.Duration(h.r.IntN(10) + 250*(h.r.IntN(50)/49)))
			case 1:
				h.turn(p)
			case 2, 3, 4, 5:
				h.pick(p)
			case 6:
				checkPool(h, p)
				checkState(h, h.state)
			default:
				h.cool(p)
			}
			most = max(most, len(h.state.scopes))
			if steps++; h.state.scopes[Overflow] != nil {
				spilled++
			}
			if h.Failed() {
				t.Fatalf("seed %d, %v after the start", seed, h.now.Sub(start))
			}
		}
		h.end()
	}
	if most != MaxScopes+1 || spilled < steps/8 || spilled > steps*7/8 {
		t.Errorf("%d scopes at most, Overflow in use after %d of %d steps", most, spilled, steps)
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
	p, err := NewPool(keys, h.state, h.now, WithSource(rand.NewPCG(h.r.Uint64(), 6)), WithRanks(randomRanks(h.r, len(keys))), WithLots(randomLots(h.r, len(keys))), h.limit())
	if err != nil {
		h.Fatal(err)
	}
	return p
}

// end closes all pools after all cooldowns: nothing may be left behind.
func (h *history) end() {
	h.now = h.now.Add(time.Hour)
	for len(h.open) > 0 {
		h.endOne()
	}
	for _, p := range h.pools {
		p.Close(h.now)
	}
	h.enableAll()
	if len(h.state.entries)+len(h.state.scopes)+len(h.state.pools) != 0 {
		h.Fatalf("%d entries, %d scopes and %d pools are left", len(h.state.entries), len(h.state.scopes), len(h.state.pools))
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
