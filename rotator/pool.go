// Package rotator is the engine of keycycler: keys, which of them are ready, and
// until when the others cool. It knows no Caddy and no HTTP, nor anything else outside the
// standard library. Whatever is true of a pool of keys, whoever asks, goes here.
//
// A Pool picks at random among its ready keys in constant time, without allocating,
// whatever share of the keys is cooling: uniformly, or as their ranks say. A State remembers cooldowns
// for all pools of a process. A cooldown may have a scope, such as a model: then it
// counts for requests of that scope alone. Time is always an argument.
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
	journal Journal // hears what is learned about its keys, by any pool; nil: none does
	wake    func()  // never nil
	keys    []Key
	ranks   []Rank      // slot → its rank; nil: all are alike
	affine  bool        // requests may have an affinity
	limit   *Limit      // nil: none
	ids     func() []ID // of the keys, in order: made when they are asked for
	entries []*entry    // slot → what is known about the key; set once, under the state's lock
	close   sync.Once

	mu    sync.Mutex
	rand  *rand.Rand // nil: the runtime's generator
	all   draw       // for requests without a scope, and of scopes in which nothing cools
	lanes lanes
}

// Option changes how a pool is made.
type Option func(*Pool)

// WithSource makes the pool draw from src, for tests that need the same draw
// twice. The pool guards it with its own lock.
func WithSource(src rand.Source) Option {
	return func(p *Pool) { p.rand = rand.New(src) }
}

// WithJournal makes j hear what any pool of the state learns about the keys of this one.
func WithJournal(j Journal) Option {
	return func(p *Pool) { p.journal = j }
}

// WithWake makes the pool call wake when keys may have become ready by anything but
// the passing of time: they were cleared, enabled or taken back. It is called with
// locks held: it must not block, nor call the pool or its state.
func WithWake(wake func()) Option {
	return func(p *Pool) { p.wake = wake }
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
		ids:     sync.OnceValue(func() []ID { return sortedIDs(keys) }),
		entries: make([]*entry, len(keys)),
		wake:    func() {},
	}
	for _, option := range options {
		option(p)
	}
	var err error
	if p.all, err = newDraw(len(keys), p.ranks); err != nil {
		return nil, err
	}
	if p.affine {
		p.all.obey(newOrders(keys, p.ranks))
	}
	state.attach(p, now)
	return p, nil
}

// Close takes the pool out of the state. A request that is still under way may go
// on picking, and what it learns still reaches the other pools and their journals.
// Close is idempotent.
func (p *Pool) Close(now time.Time) {
	p.close.Do(func() { p.state.detach(p, now) })
}

// Len returns the number of keys, ready or not.
func (p *Pool) Len() int { return len(p.keys) }

// Key returns the key at s.
func (p *Pool) Key(s Slot) Key { return p.keys[s] }

// Pick is PickIn for a request that has no scope: keys that cool in a scope only are
// ready for it.
func (p *Pool) Pick(now time.Time, tried []Slot) (Slot, bool) { return p.PickIn(now, "", tried) }

// PickIn is PickFor for a request of the scope that has no affinity.
func (p *Pool) PickIn(now time.Time, scope string, tried []Slot) (Slot, bool) {
	return p.PickFor(now, Want{Scope: scope, Tried: tried})
}

// Want says which key a request wants.
type Want struct {
	Scope    string // keys that cool in it are not ready for the request; "": none
	Tried    []Slot // by the request: it does not get them again
	Affinity Affinity

	// The slots that can serve it, each once, and the first of them preferably; nil: all.
	Among []Slot
}

// PickFor returns one of the keys that are ready at now for the request: by its
// affinity, or drawn, each with the same probability or, where keys have ranks, in
// proportion to its weight among those of the lowest tier. It reports false when there
// is none. It takes O(len(w.Tried)) and the amortised O(log n) of the cooldowns that
// ended since the last call, with an affinity O(√n) besides, or else O(len(w.Among)), and
// does not allocate.
func (p *Pool) PickFor(now time.Time, w Want) (Slot, bool) {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.expire(at)
	return p.in(at, w.Scope).choose(w, p.rand)
}

// Cool keeps the key out of every pool that holds it until now+c.For, for requests
// of c.Scope or for all, unless it already cools for longer there. It reports
// whether the deadline moved.
func (p *Pool) Cool(now time.Time, s Slot, c Cooldown) bool {
	_, moved := p.CoolRevocably(now, s, c)
	return moved
}

// CoolRevocably is Cool for a caller that may have to take the cooldown back. The
// token is that of no cooldown unless the deadline moved.
func (p *Pool) CoolRevocably(now time.Time, s Slot, c Cooldown) (t Token, moved bool) {
	return p.state.cool(p.keys[s].ID(), now, c, p)
}

// Retract ends the cooldown that the token is of, in every pool that holds the key
// and on every node, because it was the request's fault and not the key's. It
// reports whether that cooldown was still the one that held: a longer one that came
// meanwhile stays. What the key knew before the retracted cooldown replaced it is
// not known any more; nor, on other nodes, what they had learned of the key in that
// scope by then and this process had not heard.
func (p *Pool) Retract(now time.Time, t Token) bool { return p.state.retract(now, t, p) }

// Clear ends the key's cooldowns, those in scopes too, in every pool that holds it
// and on every node. It reports whether there were any.
func (p *Pool) Clear(now time.Time, s Slot) bool {
	return p.state.clear(p.keys[s].ID(), now, p)
}

// Disable keeps the key out of every pool that holds it, on every node, until
// Enable. It reports whether the key was enabled here; nodes that had not heard of
// that do so now. The same goes for Enable.
func (p *Pool) Disable(now time.Time, s Slot) bool {
	return p.state.turn(p.keys[s].ID(), now, true, p)
}

// Enable ends what Disable began; a cooldown that is not over goes on. It reports
// whether the key was disabled.
func (p *Pool) Enable(now time.Time, s Slot) bool {
	return p.state.turn(p.keys[s].ID(), now, false, p)
}

// Census is a pool at one instant.
type Census struct {
	Keys     int             // all
	Ready    int             // neither cooling nor disabled
	Disabled int             // by an operator, whether or not they would be cooling
	Cooling  [MaxReasons]int // the others, by the reason why they cool
	Busy     int             // of those, the ones that are ready when a request ends, at any time
	Soonest  time.Duration   // until the first of the rest is ready; 0 when there are none
}

// Census is CensusIn for a request that has no scope.
func (p *Pool) Census(now time.Time) Census { return p.CensusIn(now, "") }

// CensusIn counts the pool's keys at now, as a request of the scope sees them: a key
// that cools both for all requests and in the scope counts by its later deadline.
func (p *Pool) CensusIn(now time.Time, scope string) Census {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.expire(at)
	return p.in(at, scope).census(at)
}
