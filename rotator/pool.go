// Package rotator is the engine of keycycler: keys, which of them are ready, and
// until when the others cool. It knows no Caddy and no HTTP.
//
// A Pool picks uniformly at random among its ready keys in constant time, without
// allocating, whatever share of the keys is cooling. A State remembers cooldowns
// for all pools of a process. Time is always an argument.
package rotator

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Slot is a key's place in its pool: 0 to Len()-1, the order in which the keys
// were given. It stays the same for as long as the pool lives.
type Slot int32

// MaxKeys is the largest number of keys in one pool: a child of the heap's last
// item, at twice its index and one more, still has an index that fits int32.
const MaxKeys = 1 << 30

// Pool picks among a fixed set of keys. All methods are safe for concurrent use.
type Pool struct {
	state   *State
	journal Journal // nil: what is learned stays in this process
	keys    []Key
	entries []*entry // slot → what is known about the key; set once, under the state's lock
	close   sync.Once

	mu      sync.Mutex
	rand    *rand.Rand // nil: the runtime's generator
	order   []Slot     // a permutation of all slots: the ready ones first …
	ready   int        // … and this many of them
	place   []int32    // slot → index in order
	cooling deadlines
	reasons []Reason // slot → why it cools; meaningful while it does
	counts  [MaxReasons]int
	off     int // disabled slots: neither ready nor in cooling
}

// Option changes how a pool is made.
type Option func(*Pool)

// WithSource makes the pool draw from src, for tests that need the same draw
// twice. The pool guards it with its own lock.
func WithSource(src rand.Source) Option {
	return func(p *Pool) { p.rand = rand.New(src) }
}

// WithJournal makes the pool tell j what it learns.
func WithJournal(j Journal) Option {
	return func(p *Pool) { p.journal = j }
}

// NewPool returns a pool of the keys, in their order, that shares what is known
// about them with all pools of the state. The keys' ids must differ. The slice is
// kept and must not change. Call Close when the pool is not needed any more.
func NewPool(keys []Key, state *State, now time.Time, options ...Option) (*Pool, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("%d keys are too many: at most %d", len(keys), MaxKeys)
	}
	seen := make(map[ID]struct{}, len(keys))
	for _, k := range keys {
		if _, doubled := seen[k.ID()]; doubled {
			return nil, fmt.Errorf("key %s stands twice in the pool", k)
		}
		seen[k.ID()] = struct{}{}
	}
	p := &Pool{
		state:   state,
		keys:    keys,
		entries: make([]*entry, len(keys)),
		order:   make([]Slot, len(keys)),
		ready:   len(keys),
		place:   make([]int32, len(keys)),
		cooling: newDeadlines(len(keys)),
		reasons: make([]Reason, len(keys)),
	}
	for i := range keys {
		p.order[i], p.place[i] = Slot(i), int32(i)
	}
	for _, option := range options {
		option(p)
	}
	state.attach(p, now)
	return p, nil
}

// Close takes the pool out of the state. A request that is still under way may go
// on picking, and what it learns still reaches the other pools. Close is
// idempotent.
func (p *Pool) Close(now time.Time) {
	p.close.Do(func() { p.state.detach(p, now) })
}

// Len returns the number of keys, ready or not.
func (p *Pool) Len() int { return len(p.keys) }

// Key returns the key at s.
func (p *Pool) Key(s Slot) Key { return p.keys[s] }

// Pick draws one of the keys that are ready at now and not in tried, each with
// the same probability. It reports false when there is none. It takes O(len(tried))
// and the amortised O(log n) of the cooldowns that ended since the last call, and
// does not allocate.
func (p *Pool) Pick(now time.Time, tried []Slot) (Slot, bool) {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(at)
	n := p.ready
	for _, t := range tried {
		// Ready keys that this request has tried go behind the ones to draw from.
		if i := p.place[t]; int(i) < n {
			n--
			p.swap(i, int32(n))
		}
	}
	if n == 0 {
		return 0, false
	}
	return p.order[p.draw(n)], true
}

// Cool keeps the key out of every pool that holds it until now+c.For, unless it
// already cools for longer. It reports whether the deadline moved.
func (p *Pool) Cool(now time.Time, s Slot, c Cooldown) bool {
	return p.state.cool(p.keys[s].ID(), now, c, p.journal)
}

// Clear ends the key's cooldown in every pool that holds it, and on every node. It
// reports whether the key was cooling.
func (p *Pool) Clear(now time.Time, s Slot) bool {
	return p.state.clear(p.keys[s].ID(), now, p.journal)
}

// Disable keeps the key out of every pool that holds it, on every node, until
// Enable. It reports whether the key was enabled.
func (p *Pool) Disable(now time.Time, s Slot) bool {
	return p.state.turn(p.keys[s].ID(), now, true, p.journal)
}

// Enable ends what Disable began; a cooldown that is not over goes on. It reports
// whether the key was disabled.
func (p *Pool) Enable(now time.Time, s Slot) bool {
	return p.state.turn(p.keys[s].ID(), now, false, p.journal)
}

// Census is a pool at one instant.
type Census struct {
	Keys     int             // all
	Ready    int             // neither cooling nor disabled
	Disabled int             // by an operator, whether or not they would be cooling
	Cooling  [MaxReasons]int // the others, by the reason why they cool
	Soonest  time.Duration   // until the first of those is ready; 0 when there are none
}

// Census counts the pool's keys at now.
func (p *Pool) Census(now time.Time) Census {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(at)
	c := Census{Keys: len(p.keys), Ready: p.ready, Disabled: p.off, Cooling: p.counts}
	if len(p.cooling.items) > 0 {
		c.Soonest = time.Duration(p.cooling.items[0].until - at)
	}
	return c
}

// set makes the slot cool until then. The state calls it, holding its own lock.
func (p *Pool) set(s Slot, until int64, r Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.disabled(s):
		return // the state will tell when it is enabled
	case p.cooling.has(s):
		p.counts[p.reasons[s]]--
	default:
		p.makeUnready(s)
	}
	p.cooling.set(s, until)
	p.reasons[s] = r
	p.counts[r]++
}

// unset ends the slot's cooldown. The state calls it, holding its own lock.
func (p *Pool) unset(s Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cooling.has(s) {
		return
	}
	p.cooling.remove(s)
	p.counts[p.reasons[s]]--
	p.makeReady(s)
}

// disabled tells whether the slot is in neither of the sets. p.mu is held.
func (p *Pool) disabled(s Slot) bool { return int(p.place[s]) >= p.ready && !p.cooling.has(s) }

// disable takes the slot out of the draw for good. The state calls it, holding its
// own lock.
func (p *Pool) disable(s Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.disabled(s):
		return
	case p.cooling.has(s):
		p.cooling.remove(s)
		p.counts[p.reasons[s]]--
	default:
		p.makeUnready(s)
	}
	p.off++
}

// enable is the reverse of disable. A slot that still cools is then set by the
// state, which calls this, holding its own lock.
func (p *Pool) enable(s Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.disabled(s) {
		p.off--
		p.makeReady(s)
	}
}

// makeReady puts a slot that does not cool any more among the ready ones. p.mu is
// held.
func (p *Pool) makeReady(s Slot) {
	p.swap(p.place[s], int32(p.ready))
	p.ready++
}

// makeUnready takes a slot out of the ready ones. p.mu is held.
func (p *Pool) makeUnready(s Slot) {
	p.ready--
	p.swap(p.place[s], int32(p.ready))
}

// expire makes ready what has cooled long enough. p.mu is held.
func (p *Pool) expire(at int64) {
	for len(p.cooling.items) > 0 && p.cooling.items[0].until <= at {
		s := p.cooling.pop()
		p.counts[p.reasons[s]]--
		p.makeReady(s)
	}
}

func (p *Pool) swap(i, j int32) {
	a, b := p.order[i], p.order[j]
	p.order[i], p.order[j] = b, a
	p.place[a], p.place[b] = j, i
}

func (p *Pool) draw(n int) int {
	if p.rand != nil {
		return p.rand.IntN(n)
	}
	return rand.IntN(n)
}
