package rotator

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// Reason says why a key cools. The engine attaches no meaning to it: it keeps
// the reason beside the deadline and counts the cooling keys of each. Values
// are below MaxReasons.
type Reason uint8

// MaxReasons bounds Reason.
const MaxReasons = 16

// Cooldown is what a caller learned about a key.
type Cooldown struct {
	For    time.Duration // from now on; zero or less means nothing
	Reason Reason
	Source string // where the duration was stated: a header's name in lower case, "body:…", "default"
}

// State is what one process knows about keys: until when each cools, and why.
// It belongs to the keys, not to the pools: two pools that hold the same key
// share it, and a pool that replaces another (a config reload) finds what the
// first one learned. Deadlines run on the monotonic clock of this process.
//
// All methods are safe for concurrent use; none waits for the network.
type State struct {
	epoch time.Time // deadlines are nanoseconds since then

	mu      sync.Mutex // taken before a pool's own lock, never after it
	entries map[ID]*entry
	orphans int // entries that no pool holds
}

// entry is what is known about one key.
type entry struct {
	until   int64 // nanoseconds since the epoch; not after now means ready
	source  string
	reason  Reason
	members []member
}

// member is a pool that holds the key, and where.
type member struct {
	pool *Pool
	slot Slot
}

// NewState returns a state that knows nothing. now is the origin of its
// deadlines; later calls must not pass earlier times.
func NewState(now time.Time) *State {
	return &State{epoch: now, entries: make(map[ID]*entry)}
}

// Destruct lets a State live in a caddy.UsagePool. There is nothing to release.
func (s *State) Destruct() error { return nil }

// at turns an instant into nanoseconds since the epoch.
func (s *State) at(t time.Time) int64 { return int64(t.Sub(s.epoch)) }

// cool extends the key's cooldown to now+c.For in every pool that holds it. An
// earlier deadline than the known one changes nothing: the later wins, whichever
// answer comes in last. It reports whether the deadline moved.
func (s *State) cool(id ID, now time.Time, c Cooldown) bool {
	if c.For <= 0 {
		return false
	}
	if c.Reason >= MaxReasons {
		// Before anything has changed: a panic half-way would leave a broken pool.
		panic(fmt.Sprintf("rotator: reason %d is out of range", c.Reason))
	}
	until := addSaturating(s.at(now), int64(c.For))

	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		// The last pool that held the key is gone, its request was still under way.
		e = &entry{}
		s.entries[id] = e
		s.orphans++
	}
	if until <= e.until {
		return false
	}
	e.until, e.reason, e.source = until, c.Reason, c.Source
	for _, m := range e.members {
		m.pool.set(m.slot, until, c.Reason)
	}
	return true
}

// attach makes p a holder of its keys and tells it what is known about them.
func (s *State) attach(p *Pool, now time.Time) {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range p.keys {
		e := s.entries[k.ID()]
		switch {
		case e == nil:
			e = &entry{}
			s.entries[k.ID()] = e
		case len(e.members) == 0:
			s.orphans--
		}
		e.members = append(e.members, member{p, Slot(i)})
		if e.until > at {
			p.set(Slot(i), e.until, e.reason)
		}
	}
	s.sweep(at)
}

// detach is the reverse of attach. What is known about a key that no pool holds
// any more stays until its cooldown is over: the key may come back.
func (s *State) detach(p *Pool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range p.keys {
		e := s.entries[k.ID()]
		// Delete clears what it cuts off: an entry that stays must not hold the pool.
		e.members = slices.DeleteFunc(e.members, func(m member) bool { return m.pool == p })
		if len(e.members) == 0 {
			s.orphans++
		}
	}
	s.sweep(s.at(now))
}

// sweep forgets the keys that no pool holds and that do not cool.
func (s *State) sweep(at int64) {
	if s.orphans == 0 {
		return
	}
	for id, e := range s.entries {
		if len(e.members) == 0 && e.until <= at {
			delete(s.entries, id)
			s.orphans--
		}
	}
}

func addSaturating(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
