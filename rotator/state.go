package rotator

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator/draw"
)

// Cooldown is what a caller learned about a key.
type Cooldown struct {
	For    time.Duration // from now on; zero or less means nothing
	Spare  time.Duration // from now on: when the key may be asked again where nothing better is left; 0: not before For
	Equal  bool          // then it is as good as a ready one
	Reason Reason
	Source string // where the duration was stated: a header's name in lower case, "body:…", "default"
	Scope  string // which requests it concerns, such as those for a model; "": all
}

// State is what one process knows about keys: until when each cools, and why.
// It belongs to the keys, not to the pools: two pools that hold the same key
// share it, and a pool that replaces another (a config reload) finds what the
// first one learned. What is learned of a key is told to every journal of a pool that
// holds it, whichever pool learned it. Deadlines run on the monotonic clock of this process.
//
// All methods are safe for concurrent use; none waits for the network.
type State struct {
	epoch   time.Time    // deadlines are nanoseconds since then
	skipped atomic.Int64 // nanoseconds that have passed besides: see Skip

	clearings atomic.Uint64 // see Pool.Clearings

	sessions draw.Homes[ID]

	mu      sync.Mutex // taken before a pool's own lock, never after it
	entries map[ID]*entry
	scopes  map[string]*scope // those that something cools in
	spilled int64             // until when a name cools in Overflow because there were too many
	pools   []*Pool
	owners  *owners
	orphans int // entries that no pool holds
	sweepAt int // how many of them are a reason to sweep
}

// entry is what is known about one key.
type entry struct {
	term     // for all requests; its clearing counts in all scopes, too
	off      Switch
	explored atomic.Int32 // requests under way that find out what the key is worth
	members  []member
	usage    *usage
}

func newEntry(u *usage) *entry {
	return &entry{term: term{learned: never, cleared: never}, usage: u}
}

// member is a pool that holds the key, and where.
type member struct {
	pool *Pool
	slot Slot
}

// NewState returns a state that knows nothing. now is the origin of its
// deadlines; later calls must not pass earlier times.
func NewState(now time.Time) *State {
	s := &State{epoch: now, entries: make(map[ID]*entry), scopes: make(map[string]*scope), owners: newOwners(maxOwners), spilled: never, sweepAt: minOrphans}
	s.sessions.Bound(maxSessions)
	return s
}

// Destruct lets a State live in a caddy.UsagePool. There is nothing to release.
func (s *State) Destruct() error { return nil }

// at turns an instant into nanoseconds since the epoch, and time turns them back.
func (s *State) at(t time.Time) int64 { return addSaturating(int64(t.Sub(s.epoch)), s.skipped.Load()) }

func (s *State) time(at int64) time.Time { return s.epoch.Add(time.Duration(at - s.skipped.Load())) }

// told turns them into what journals are told: see Told.
func (s *State) told(at int64) time.Time { return s.epoch.Add(time.Duration(at)) }

// Unix is t in Unix nanoseconds by the state's clock, which goes on evenly, whatever is done
// to the machine's, but for what was skipped.
func (s *State) Unix(t time.Time) int64 { return s.epoch.UnixNano() + s.at(t) }

// since turns that into nanoseconds since the epoch.
func (s *State) since(unix int64) int64 { return unix - s.epoch.UnixNano() }

// instant turns what journals are told back. It may be missing.
func (s *State) instant(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return min(int64(t.Sub(s.epoch)), forever-1)
}

// cool extends the key's cooldown to now+c.For in every pool that holds it, for all
// requests or for those of a scope, and tells the journals; by is who learned it. An earlier deadline than
// the known one changes nothing: the later wins, whichever answer comes in last. It
// reports whether the deadline moved.
func (s *State) cool(id ID, now time.Time, c Cooldown, by *Pool) bool {
	if c.For <= 0 {
		return false
	}
	if c.Reason >= MaxReasons {
		// Before anything has changed: a panic half-way would leave a broken pool.
		panic(fmt.Sprintf("rotator: reason %d is out of range", c.Reason))
	}
	at := s.at(now)
	until := min(addSaturating(at, int64(c.For)), forever-1)

	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id, at)
	t, sc := s.termOf(id, e, c.Scope, at, until)
	spare := until
	if c.Spare > 0 {
		spare = addSaturating(at, int64(c.Spare))
	}
	if until <= t.until {
		if t.postpone(spare) {
			s.renew(at, id, e, false)
		}
		return false
	}
	s.coolTerm(t, sc, e, at, until, c)
	t.rest(spare, c.Equal)
	s.renew(at, id, e, false)
	s.tell(e, by.journal, nil, s.about(id, e, sc))
	return true
}

// termOf returns what is known of the key for all requests, or in a scope, to be changed.
// sc is nil for all requests. s.mu is held.
func (s *State) termOf(id ID, e *entry, name string, at, until int64) (t *term, sc *scope) {
	if name == "" {
		return &e.term, nil
	}
	sc = s.scope(name, at, until)
	s.open(sc, e, until)
	return s.term(sc, id, at), sc
}

// coolTerm sets the deadline. The pools are not told. s.mu is held.
func (s *State) coolTerm(t *term, sc *scope, e *entry, at, until int64, c Cooldown) {
	// It comes after the clearings that are known here, on all nodes.
	learned := max(at, after(e.cleared), after(t.cleared))
	if sc == nil {
		t.cool(until, learned, c.Reason, c.Source)
	} else {
		sc.cool(t, until, learned, c.Reason, c.Source)
	}
	sc.relent(t)
	e.usage.marked.Store(true)
}

// clear ends the key's cooldowns in every pool that holds it, and tells the journals.
// It reports whether there were any.
func (s *State) clear(id ID, now time.Time, by *Pool) bool {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id, at)
	// It comes after the cooldowns that are seen here, whoever learned of those.
	cleared := max(at, e.cleared)
	if e.until > at {
		cleared = max(cleared, after(e.learned))
	}
	for _, t := range s.inScopes(id, at) {
		cleared = max(cleared, after(t.learned))
	}
	cooling := s.clearAll(id, e, at, cleared)
	s.clearings.Add(1)
	s.tell(e, by.journal, nil, s.change(id, e))
	return cooling
}

// clearAll ends what was learned of the key until the clearing, for all requests and
// in all scopes, here and in all pools. It reports whether any of that was cooling.
// s.mu is held.
func (s *State) clearAll(id ID, e *entry, at, cleared int64) bool {
	e.cleared = max(e.cleared, cleared)
	ended := s.voidScopes(id, cleared, at)
	ended = e.forgive(nil, cleared, at) || ended
	if e.void(cleared) {
		ended = ended || e.until > at
		e.end()
	}
	if ended {
		s.renew(at, id, e, true)
	}
	return ended
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
		e = newEntry(new(usage))
		s.entries[id] = e
		s.orphans++
	}
	return e
}

// attach makes p a holder of its keys and tells it what is known about them.
func (s *State) attach(p *Pool, now time.Time) {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	var met map[ID]struct{} // by a journal that had not to do with these keys
	if s.hears(p.journal) {
		met = make(map[ID]struct{})
	}
	var room []usage // for keys that are new
	for i, k := range p.keys {
		e := s.entries[k.ID()]
		switch {
		case e == nil:
			if len(room) == 0 {
				room = make([]usage, len(p.keys)-i)
			}
			e, room = newEntry(&room[0]), room[1:]
			s.entries[k.ID()] = e
		case len(e.members) == 0:
			s.orphans--
		}
		if p.journal != nil && !e.tells(p.journal) {
			s.introduce(p.journal, k.ID(), e, at)
			if met != nil {
				met[k.ID()] = struct{}{}
			}
		}
		e.members = append(e.members, member{p, Slot(i)})
		p.entries[i], p.usages[i], p.uses[i] = e, e.usage, &e.usage.Use
		if p.limit != nil {
			e.measure(p)
		}
		s.doubtWay(p, Slot(i), e, at)
		s.brief(p, Slot(i), e, at)
	}
	s.pools = append(s.pools, p)
	s.introduceOwners(p.journal, met, at)
	s.sweep(at)
}

// brief tells a new pool what is known about one of its keys. s.mu is held.
func (s *State) brief(p *Pool, slot Slot, e *entry, at int64) {
	id := p.keys[slot].ID()
	for sc, t := range s.inScopes(id, at) {
		p.open(sc.name, t.over(at))
		e.usage.marked.Store(true) // it may have been learned while no pool held the key
	}
	if e.usage.marked.Load() || e.off.Disabled() || p.limit != nil {
		p.renew(at, slot, false, s.view(id, e, at))
	}
}

// detach is the reverse of attach. What is known about a key that no pool holds
// any more stays until its cooldown is over: the key may come back.
func (s *State) detach(p *Pool, now time.Time) {
	at := s.at(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range p.keys {
		e := s.entries[k.ID()]
		// Delete clears what it cuts off: an entry that stays must not hold the pool.
		e.members = slices.DeleteFunc(e.members, func(m member) bool { return m.pool == p })
		switch {
		case len(e.members) == 0:
			s.orphans++
		case e.doubt != nil && !e.asked(e.doubt.way):
			// The pool may have found that out after the others came.
			s.doubtWay(e.members[0].pool, e.members[0].slot, e, at)
		}
	}
	s.pools = slices.DeleteFunc(s.pools, func(q *Pool) bool { return q == p })
	s.sweep(at)
}

// sweep forgets the keys that no pool holds and that neither cool nor are disabled nor
// have anything that counts for a limit, the scopes in which nothing cools, and of others what
// is over.
func (s *State) sweep(at int64) {
	s.sweepScopes(at)
	if s.orphans > 0 {
		s.sweepEntries(at)
	}
	for _, sc := range s.scopes {
		s.sweepTerms(sc, at)
	}
}

func (s *State) sweepEntries(at int64) {
	for id, e := range s.entries {
		if len(e.members) == 0 && e.until <= at && !e.off.Disabled() && e.usage.idle(at) {
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
