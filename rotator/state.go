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

// MaxReasons bounds Reason. Each key counts by it.
const MaxReasons = 8

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
	sweepAt int // how many of them are a reason to sweep
}

// entry is what is known about one key.
type entry struct {
	until   int64 // nanoseconds since the epoch; not after now means ready
	learned int64 // when that was learned
	cleared int64 // when an operator last ended a cooldown: what was learned until then is void
	source  string
	reason  Reason
	off     Switch
	members []member
	usage   usage
}

// never is before everything that is learned or cleared.
const never = math.MinInt64

func newEntry() *entry { return &entry{learned: never, cleared: never} }

// member is a pool that holds the key, and where.
type member struct {
	pool *Pool
	slot Slot
}

// NewState returns a state that knows nothing. now is the origin of its
// deadlines; later calls must not pass earlier times.
func NewState(now time.Time) *State {
	return &State{epoch: now, entries: make(map[ID]*entry), sweepAt: minOrphans}
}

// Destruct lets a State live in a caddy.UsagePool. There is nothing to release.
func (s *State) Destruct() error { return nil }

// at turns an instant into nanoseconds since the epoch, and time turns them back.
func (s *State) at(t time.Time) int64 { return int64(t.Sub(s.epoch)) }

func (s *State) time(at int64) time.Time { return s.epoch.Add(time.Duration(at)) }

// instant is at, for one that may be missing.
func (s *State) instant(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return s.at(t)
}

// cool extends the key's cooldown to now+c.For in every pool that holds it, and
// tells the journal. An earlier deadline than the known one changes nothing: the
// later wins, whichever answer comes in last. It reports whether the deadline
// moved.
func (s *State) cool(id ID, now time.Time, c Cooldown, j Journal) bool {
	if c.For <= 0 {
		return false
	}
	if c.Reason >= MaxReasons {
		// Before anything has changed: a panic half-way would leave a broken pool.
		panic(fmt.Sprintf("rotator: reason %d is out of range", c.Reason))
	}
	at := s.at(now)
	until := addSaturating(at, int64(c.For))

	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id, at)
	if until <= e.until {
		return false
	}
	// It comes after the clearing that is known here, on all nodes.
	e.cool(until, max(at, addSaturating(e.cleared, int64(clockError))), c.Reason, c.Source)
	if j != nil {
		j.Record(s.change(id, e))
	}
	return true
}

// clear ends the key's cooldown in every pool that holds it, and tells the
// journal. It reports whether the key was cooling.
func (s *State) clear(id ID, now time.Time, j Journal) bool {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id, at)
	cooling := e.until > at
	if cooling {
		// It comes after the cooldown that is seen here, whoever learned of that.
		at = max(at, addSaturating(e.learned, int64(clockError)))
	}
	e.clear(max(at, e.cleared))
	if j != nil {
		j.Record(s.change(id, e))
	}
	return cooling
}

// minOrphans is how many keys that no pool holds are kept before their number is
// a reason to look which of them can be forgotten.
const minOrphans = 1000

// entry returns what is known about the key. There may be nothing, and no pool
// that holds it: its last request was still under way, or another node told. s.mu
// is held.
func (s *State) entry(id ID, at int64) *entry {
	e := s.entries[id]
	if e == nil {
		if s.orphans >= s.sweepAt {
			s.sweep(at)
			s.sweepAt = max(2*s.orphans, minOrphans)
		}
		e = newEntry()
		s.entries[id] = e
		s.orphans++
	}
	return e
}

// cool sets the deadline here and in all pools.
func (e *entry) cool(until, learned int64, r Reason, source string) {
	e.until, e.learned, e.reason, e.source = until, learned, r, source
	for _, m := range e.members {
		m.pool.set(m.slot, until, r)
	}
}

// void reports whether a clearing ends the cooldown.
func (e *entry) void(cleared int64) bool { return e.until != 0 && e.learned <= cleared }

// clear takes the deadline away here and in all pools.
func (e *entry) clear(cleared int64) {
	e.until, e.learned, e.cleared, e.reason, e.source = 0, never, cleared, 0, ""
	for _, m := range e.members {
		m.pool.unset(m.slot)
	}
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
			e = newEntry()
			s.entries[k.ID()] = e
		case len(e.members) == 0:
			s.orphans--
		}
		told := p.journal == nil || e.tells(p.journal)
		e.members = append(e.members, member{p, Slot(i)})
		p.entries[i] = e
		switch {
		case e.off.Disabled():
			p.disable(Slot(i))
		case e.until > at:
			p.set(Slot(i), e.until, e.reason)
		default:
			continue
		}
		if !told {
			p.journal.Record(s.change(k.ID(), e))
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

// sweep forgets the keys that no pool holds and that neither cool nor are disabled.
func (s *State) sweep(at int64) {
	if s.orphans == 0 {
		return
	}
	for id, e := range s.entries {
		if len(e.members) == 0 && e.until <= at && !e.off.Disabled() {
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
