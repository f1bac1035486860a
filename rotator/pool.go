// Package rotator is the engine of keycycler: keys, which of them are ready, and
// until when the others cool. It knows no Caddy and no HTTP, nor anything else outside the
// standard library but draw, which says which of a pool's slots is next, and meter, which
// counts. Whatever is true of a pool of keys, whoever asks, goes here.
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

	"github.com/keycycler/keycycler/rotator/draw"
	"github.com/keycycler/keycycler/rotator/meter"
)

// MaxKeys is the largest number of keys in one pool: a child of the heap's last
// item, at twice its index and one more, still has an index that fits int32.
const MaxKeys = 1 << 30

// Pool picks among a fixed set of keys. All methods are safe for concurrent use.
type Pool struct {
	state   *State
	journal Journal // hears what is learned about its keys, by any pool; nil: none does
	wake    func()  // never nil
	keys    []Key
	ranks   []Rank            // slot → its rank; nil: all are alike
	lots    []uint16          // slot → its lot; nil: all are of lot 0
	affine  bool              // requests may have an affinity
	even    bool              // keys take turns
	first   bool              // requests go out with one key until that is not ready
	ways    func(Slot) uint32 // how it asks with a key; nil: it does not matter
	unfit   []Reason          // for which a key cools that was asked in a wrong way
	limit   *Limit            // nil: none
	bounds  meter.Limit       // its numbers
	ids     func() []ID       // of the keys, in order: made when they are asked for
	entries []*entry          // slot → what is known about the key; set once, under the state's lock
	usages  []*usage          // slot → the entry's
	uses    []*draw.Use       // slot → the entry's, for draws
	close   sync.Once

	mu    sync.Mutex
	rand  *rand.Rand // nil: the runtime's generator
	all   draw.Draw  // for requests without a scope, and of scopes in which nothing cools
	lanes lanes

	cramped cramped // while a draw is under way
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

// WithWays says how the pool asks its upstream with each key, as a number other than 0, and
// for which reasons a key cools that was refused since it was asked in a wrong way: what
// another way has found out about that is void. ways is called with locks held, for as long
// as the pool is in use, and says always the same.
func WithWays(ways func(Slot) uint32, unfit ...Reason) Option {
	return func(p *Pool) { p.ways, p.unfit = ways, unfit }
}

// WithTurns makes keys take turns instead of being drawn: the request gets the one with
// the fewest requests under way and, of these, the one that was not used for longest; in
// a random order at first. Ranks count as they do for drawing.
func WithTurns() Option {
	return func(p *Pool) { p.even = true }
}

// WithFirst makes requests go out with one key until that is not ready any more, and then
// with the next one, in the order of the keys and of their tiers. Weights do not count.
func WithFirst() Option {
	return func(p *Pool) { p.first = true }
}

// WithRanks gives each key its rank: ranks are those of the slots, in order. Without
// it all keys are alike.
func WithRanks(ranks []Rank) Option {
	return func(p *Pool) { p.ranks = ranks }
}

// WithLots gives each key its lot: lots are those of the slots, in order. Want.Shut names
// those whose keys a request does not get. Without it all keys are of lot 0.
func WithLots(lots []uint16) Option {
	return func(p *Pool) { p.lots = lots }
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
		usages:  make([]*usage, len(keys)),
		uses:    make([]*draw.Use, len(keys)),
		wake:    func() {},
	}
	for _, option := range options {
		option(p)
	}
	var err error
	if p.all, err = draw.New(p.draws()); err != nil {
		return nil, err
	}
	state.attach(p, now)
	p.share(true)
	return p, nil
}

// draws returns how the pool's keys are drawn.
func (p *Pool) draws() draw.Config {
	c := draw.Config{Uses: p.uses, Ranks: p.ranks, Lots: p.lots, Turns: p.even, First: p.first, Rand: p.rand, Claim: p.claim}
	if p.affine {
		c.Secret = p.affinitySecret
	}
	return c
}

// Close takes the pool out of the state. A request that is still under way may go
// on picking, and what it learns still reaches the other pools and their journals.
// Close is idempotent.
func (p *Pool) Close(now time.Time) {
	p.close.Do(func() {
		p.state.detach(p, now)
		p.share(false)
	})
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

// PickFor returns one of the keys that are ready at now for the request: by its
// affinity, or drawn, each with the same probability or, where keys have ranks, in
// proportion to its weight among those of the lowest tier, but for those of the lots in
// w.Shut. It reports false when there is none. It takes O(len(w.Tried)) and the amortised O(log n) of the cooldowns that
// ended since the last call, with an affinity O(√n) besides, or else O(len(w.Among)), and
// does not allocate.
func (p *Pool) PickFor(now time.Time, w Want) (Slot, bool) {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.Expire(at)
	w.Explore = 0
	d, ok := p.in(at, w.Scope).Choose(at, &w, p.rand)
	return d.Slot, ok
}

// Cool keeps the key out of every pool that holds it until now+c.For, for requests
// of c.Scope or for all, unless it already cools for longer there. It reports
// whether the deadline moved.
func (p *Pool) Cool(now time.Time, s Slot, c Cooldown) bool {
	return p.state.cool(p.keys[s].ID(), now, c, p)
}

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

// Census is CensusIn for a request that has no scope.
func (p *Pool) Census(now time.Time) Census { return p.CensusIn(now, "") }

// CensusIn counts the pool's keys at now, as a request of the scope sees them: a key
// that cools both for all requests and in the scope counts by its later deadline.
func (p *Pool) CensusIn(now time.Time, scope string) Census {
	return p.CensusFor(now, Want{Scope: scope})
}

// CensusFor is CensusIn of the keys that the request may get: those of w.Among, if it says
// so, and none of the lots in w.Shut. Nothing else of w counts.
func (p *Pool) CensusFor(now time.Time, w Want) Census {
	at := p.state.at(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.Expire(at)
	return p.in(at, w.Scope).CensusFor(at, &w)
}

// Clearings counts how often keys of any pool were cleared or enabled by an operator, and
// how often what was held against one became void.
func (p *Pool) Clearings() uint64 { return p.state.clearings.Load() }
