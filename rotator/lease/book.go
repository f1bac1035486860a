package lease

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Book is what one node holds of each limit. Share and Unshare are safe for concurrent use;
// the other methods are for one goroutine, which asks:
//
//	call, due := b.Next(at)   // what is to be sent, if anything is
//	b.Settle(call, reply)     // the answer
//	b.Fail(call)              // or there was none
//
// A limit that nobody uses is looked at once a second, which takes less than a
// microsecond, and is not known to other nodes.
type Book struct {
	mu     sync.Mutex // never held while a meter is asked
	limits map[string]*limit
	fresh  []*limit // that were shared since the last Next, or lent

	all, active, resting ring
	known                atomic.Int64 // crowd.nodes, for Lend
	crowd                crowd
	epoch                string // of what others keep; "": they have never answered
	frozen               bool   // nobody gets more for now
	number               int64  // of calls
	beaten               int64  // when the node has last said that it is there
}

const unknown = -1

// limit is one that is shared.
type limit struct {
	name   string // hashed
	meter  Meter  // guarded by Book.mu, like users and told
	users  int
	told   int64 // the ceiling that the meter was told last; 0: none
	room   int64 // likewise, what others leave; unknown: nothing was told
	claim  claim
	active bool // it is in Book.active
	loan   loan
}

// Ask says what a node wants of one limit.
type Ask struct {
	Name       string // hashed
	Most       int64
	Per        time.Duration
	Want, Held int64   // Held is what it has, and goes on using: no more than Want
	Tail       []Piece // of a node that leaves: when what it has used leaves the window; nil: all at once
	Exact      bool    // all parts together are never more than the limit, however small
	limit      *limit
}

// Call is what a node asks for at one time.
type Call struct {
	At     int64
	Number int64  // grows from call to call: an older one that comes late is void
	Epoch  string // of what it was answered from last; "": it never was
	Beat   bool   // the node says that it is there
	Leaves bool   // it goes: what it holds, it has used
	Asks   []Ask
}

// Grant is the answer to an Ask.
type Grant struct {
	Ceiling int64 // how much the node has from now on, for the Term; below 0: nothing has changed
	Level   int64 // the most that it should have, as others go without; Most: nobody does
	Room    int64 // how much of the limit others have not got
}

// Reply is the answer to a Call.
type Reply struct {
	Epoch  string
	Nodes  int64 // how many there are
	Frozen bool  // nobody gets more for now: not all may have said what they hold
	Grants []Grant
}

// most of what is done at a time
const (
	batch = 500  // asks in a call
	looks = 4096 // limits that are looked at: of those in use, and of all

	glances = 64 // likewise, of those that were lent and are not used now
)

// NewBook returns one that holds nothing. at is the time.
func NewBook(at int64) *Book {
	return &Book{limits: make(map[string]*limit), beaten: at - int64(beat)}
}

// Share makes the node have a part of the limit. The name is the same on all nodes, and
// says what the limit is of, but not how large it is: nodes whose configs differ for a while
// share it all the same. A meter that comes under a name that there is already takes the
// place of the one before it: config reloads do that, and meters are comparable. Each Share
// wants one Unshare. Neither is called with a lock held that a method of the meter takes.
func (b *Book) Share(name string, m Meter) {
	key := Hash(name)
	if !b.has(key, m) {
		m.SetCeiling(crowd{}.spare(m.Most()))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.limits[key]
	if l == nil {
		l = &limit{name: key}
		b.limits[key], b.fresh = l, append(b.fresh, l)
	}
	l.users++
	if l.meter != m {
		l.meter, l.told, l.room = m, 0, unknown
	}
}

// has tells whether the meter is that of the limit.
func (b *Book) has(key string, m Meter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.limits[key]
	return l != nil && l.meter == m
}

// Unshare ends what Share began. What the node has used stays its own until it has left the
// window.
func (b *Book) Unshare(name string) {
	key := Hash(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.limits[key]; l != nil {
		if l.users--; l.users == 0 {
			delete(b.limits, key)
		}
	}
}

// Empty tells whether there is nothing to share.
func (b *Book) Empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.limits) == 0 && len(b.active.limits) == 0
}

// Nodes returns how many nodes there are, as far as it is known: 0 if it is not.
func (b *Book) Nodes() int { return int(b.crowd.nodes) }

// Next looks at the limits and returns what is to be sent, if anything is.
func (b *Book) Next(at int64) (c Call, due bool) {
	b.gather()
	c = Call{At: at, Epoch: b.epoch, Beat: at-b.beaten >= int64(beat)}
	full := func() bool { return len(c.Asks) >= batch }
	b.active.walk(looks, full, func(l *limit) bool {
		if l.active = b.look(l, &c); !l.active && l.loan.lent {
			b.rest(l)
		}
		return l.active
	})
	b.resting.walk(glances, full, func(l *limit) bool { return b.glance(l, &c) })
	b.all.walk(looks, full, func(l *limit) bool {
		if !l.active && b.look(l, &c) {
			l.active = true
			b.active.limits = append(b.active.limits, l)
		}
		return l.active || b.used(l)
	})
	if due = c.Beat || len(c.Asks) > 0; due {
		b.number++
		c.Number = b.number
	}
	return c, due
}

// gather takes up the limits that were shared lately.
func (b *Book) gather() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.fresh {
		switch {
		case !l.loan.lent:
			b.all.limits = append(b.all.limits, l)
		case !l.active:
			b.wake(l)
		}
	}
	b.fresh = nil
}

// used tells whether the limit is still shared.
func (b *Book) used(l *limit) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return l.users > 0
}

// look finds out what the node needs of the limit, and adds to the call what others must
// hear of that. It reports whether the limit is in use.
func (b *Book) look(l *limit, c *Call) bool {
	m, shared := b.meter(l)
	r := read(m, c.At)
	if !shared {
		if l.claim.owed { // it is not renewed
			c.Asks = append(c.Asks, b.ask(l, m, r, r.used, r.used))
			l.claim.owed = false
		}
		return false
	}
	_, l.claim.ample = m.(Roomy)
	l.claim.note(r, m.Wanted(c.At))
	l.claim.lapse(r, b.crowd)
	wants := l.claim.wants(r, b.crowd)
	if l.loan.lent && l.quiets(r) {
		if wants = l.claim.rests(r, b.crowd); l.claim.settled(wants, b.crowd.spare(r.most)) && b.crowd.lost == 0 {
			return false
		}
	}
	if l.claim.due(r, b.crowd, wants) {
		c.Asks = append(c.Asks, b.ask(l, m, r, wants, max(l.claim.keeps(r, wants), b.fallback(r))))
	} else if !l.claim.owed {
		l.claim.ceiling = min(l.claim.ceiling, max(wants, b.fallback(r)))
	}
	b.tell(l, m, l.claim.allowed(r, b.crowd))
	return wants > 0 || l.claim.owed || l.claim.ceiling > 0
}

// fallback is the ceiling that needs nobody's leave: the fair share, while nobody can be
// asked.
func (b *Book) fallback(r reading) int64 {
	if r.at < b.crowd.alone(r.per) {
		return 0
	}
	return b.crowd.fair(r.most)
}

// ask lowers the ceiling to what the node keeps, before anybody hears of it, and returns
// what to say. What was used meanwhile is kept, too.
func (b *Book) ask(l *limit, m Meter, r reading, wants, keeps int64) Ask {
	if keeps < l.claim.ceiling {
		l.claim.ceiling = keeps
		b.tell(l, m, l.claim.allowed(r, b.crowd))
		l.claim.ceiling = max(keeps, min(m.Used(r.at), largest))
	}
	l.claim.asked, l.claim.owed = r.at, true
	held := max(l.claim.ceiling, min(r.used, largest))
	return Ask{Name: l.name, Most: r.most, Per: time.Duration(r.per), Want: max(wants, held), Held: held, Exact: l.claim.ample, limit: l}
}

// meter returns the limit's, and whether it is still shared.
func (b *Book) meter(l *limit) (m Meter, shared bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return l.meter, l.users > 0
}

// tell sets the meter's ceiling, if that is news to it.
func (b *Book) tell(l *limit, m Meter, ceiling int64) {
	b.mu.Lock()
	news := l.meter == m && l.told != ceiling
	if news {
		l.told = ceiling
	}
	b.mu.Unlock()
	if news {
		m.SetCeiling(ceiling)
	}
}

// Settle takes up the answer to a call. That to one that leaves says nothing new.
func (b *Book) Settle(c Call, reply Reply) {
	if c.Leaves {
		return
	}
	anew := b.crowd.lost != 0 || b.epoch != "" && reply.Epoch != b.epoch || reply.Frozen && !b.frozen
	b.epoch, b.frozen = reply.Epoch, reply.Frozen
	nodes := max(reply.Nodes, 1)
	if reply.Frozen { // not all may have said yet that they are there
		nodes = max(nodes, b.crowd.nodes)
	}
	b.crowd = crowd{nodes: nodes}
	b.known.Store(nodes)
	if c.Beat {
		b.beaten = c.At
	}
	if anew {
		b.repeat()
	}
	for i, a := range c.Asks {
		if i < len(reply.Grants) && reply.Grants[i].Ceiling >= 0 {
			b.settle(c, a, reply.Grants[i])
		}
	}
}

// settle takes up the answer to one ask.
func (b *Book) settle(c Call, a Ask, g Grant) {
	a.limit.claim.settle(a, c.At, g)
	if m, shared := b.meter(a.limit); shared {
		b.tell(a.limit, m, a.limit.claim.allowed(reading{most: a.Most}, b.crowd))
		b.tellRoom(a.limit, m, g.Room)
	}
}

// tellRoom tells the meter what others leave, if that is news to one that wants to know.
func (b *Book) tellRoom(l *limit, m Meter, room int64) {
	roomy, wants := m.(Roomy)
	b.mu.Lock()
	news := wants && l.meter == m && l.room != room
	if news {
		l.room = room
	}
	b.mu.Unlock()
	if news {
		roomy.SetRoom(room)
	}
}

// Fail notes that a call was not answered: others may have heard of it or not.
func (b *Book) Fail(c Call) {
	if b.crowd.lost == 0 {
		b.crowd.lost = c.At
	}
	for _, a := range c.Asks {
		a.limit.claim.again = true
	}
}

// repeat has everything told again that others should know.
func (b *Book) repeat() {
	for _, l := range slices.Concat(b.active.limits, b.resting.limits) {
		l.claim.again = l.claim.owed || l.claim.ceiling > 0
	}
}

// Leave returns what a node says that goes: of its parts it leaves what it has used. As long
// as that has asks there may be more to say, in another call.
func (b *Book) Leave(at int64) Call {
	b.number++
	c := Call{At: at, Number: b.number, Epoch: b.epoch, Leaves: true}
	for _, l := range slices.Concat(b.active.limits, b.resting.limits) {
		if m, _ := b.meter(l); l.claim.owed && len(c.Asks) < batch {
			c.Asks = append(c.Asks, b.leave(l, m, at))
			l.claim.owed = false
		}
	}
	return c
}

// leave returns what is said of a limit by a node that goes.
func (b *Book) leave(l *limit, m Meter, at int64) Ask {
	r := read(m, at)
	a := b.ask(l, m, r, r.used, r.used)
	if lent, ok := m.(Borrower); ok {
		a.Tail = lent.Tail(at)
	}
	return a
}

// ring is walked a part at a time.
type ring struct {
	limits []*limit
	next   int
}

// walk calls keep for up to n of the limits, unless it is full before that, and drops those
// for which it reports false.
func (r *ring) walk(n int, full func() bool, keep func(*limit) bool) {
	for n = min(n, len(r.limits)); n > 0 && !full(); n-- {
		if r.next >= len(r.limits) {
			r.next = 0
		}
		if keep(r.limits[r.next]) {
			r.next++
			continue
		}
		last := len(r.limits) - 1
		r.limits[r.next], r.limits[last] = r.limits[last], nil
		r.limits = r.limits[:last]
	}
}
