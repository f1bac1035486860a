package blame

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// paceFrom is how many refused calls there are, since one was served, when the pace
	// begins …
	paceFrom = 5

	// … if no key is left that nothing is held against. paceAfter is how long ago the first
	// was then, unless all were rate limits.
	paceAfter = 2 * time.Second

	// manyLimits is how many rate limits there are in a row when the pace begins even where
	// keys are left: then the limit is not that of keys. What is still open counts for the
	// keys: for each such call there must be openPer limits.
	manyLimits = 100
	openPer    = 3

	// oldTrouble is how old it is when one call is enough to find out about it.
	oldTrouble = 10 * time.Second

	minPace = 250 * time.Millisecond // between two requests that find out …
	maxPace = 10 * time.Second       // … and the longest time between them

	// statedParts is into how many parts the time is divided at most that is left until the
	// first key's time is over, where all refusals have stated theirs.
	statedParts = 30

	// maxShapes is how many shapes of refused requests are remembered: more than come
	// between two successes, unless nothing is served any more.
	maxShapes = 256
)

// Pace is that of a pool whose upstream refuses everything. As long as nothing is served,
// a request goes out now and then to find out whether that is over, and so does each that
// is of another kind than what was refused: it may be those requests' fault. All others
// are told when the next one goes out.
//
// The times between those requests grow with the trouble: half of the time since it
// began. So what lasts a second is found to be over within half a second more.
//
// It is safe for concurrent use. A success costs an atomic read.
type Pace struct {
	active atomic.Bool  // a call was refused since the last success
	open   atomic.Int64 // calls that have no answer yet

	mu       sync.Mutex
	first    time.Time     // when that was
	refused  int           // how many were
	limits   bool          // all of them were rate limits
	until    time.Time     // the soonest that they have stated; zero: some have stated nothing
	answers  map[Shape]any // what the requests got, by their shapes; nil where that is not known
	next     time.Time     // when a request may go out to find out
	cleared  uint64        // how often operators had cleared keys then
	announce bool          // that the pace has begun was told
}

// Shape is what requests have in common that are refused for the same reason: a hash of
// the client, the path and the model.
type Shape uint64

// Active tells whether a call was refused since the last success.
func (p *Pace) Active() bool { return p.active.Load() }

// Call notes that a call begins, or with -1 that it has its answer.
func (p *Pace) Call(n int64) { p.open.Add(n) }

// Refuse notes a call that was refused, for no reason that is proven to be the key's own.
// stated is for how long, 0 if the answer did not say.
func (p *Pace) Refuse(now time.Time, s Shape, limit bool, stated time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == 0 {
		p.first, p.limits, p.next, p.until = now, true, time.Time{}, now.Add(stated)
		p.active.Store(true)
	}
	p.refused++
	switch until := now.Add(stated); {
	case stated == 0:
		p.until = time.Time{}
	case until.Before(p.until):
		p.until = until
	}
	p.limits = p.limits && limit
	if p.refused == paceFrom {
		p.next = now.Add(p.between(now))
	}
	p.remember(s, p.answers[s])
}

// remember makes the shape known, in the place of any other one where they are many. p.mu
// is held.
func (p *Pace) remember(s Shape, answer any) {
	if p.answers == nil {
		p.answers = make(map[Shape]any)
	}
	if _, known := p.answers[s]; !known && len(p.answers) >= maxShapes {
		for other := range p.answers {
			delete(p.answers, other)
			break
		}
	}
	p.answers[s] = answer
}

// Answer notes what a request of the shape has got that was refused: others of it get the
// same as long as the pace holds them back.
func (p *Pace) Answer(s Shape, answer any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused > 0 {
		p.remember(s, answer)
	}
}

// Serve notes that a request was served that began then. If that was after the first
// refusal, the pace ends. It reports whether it was on and that was told.
func (p *Pace) Serve(began time.Time) (told bool) {
	if !p.active.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused > 0 && began.Before(p.first) {
		return false
	}
	return p.end()
}

// end forgets what was refused. p.mu is held.
func (p *Pace) end() (told bool) {
	told = p.announce
	clear(p.answers)
	p.refused, p.announce = 0, false
	p.active.Store(false)
	return told
}

// Heed ends the pace where operators have cleared or enabled keys meanwhile: cleared counts
// that, and who has counted before others may come after them. A key that is added is ready, and
// needs no more: the pace asks for that.
func (p *Pace) Heed(cleared uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cleared < cleared {
		p.cleared = cleared
		p.end()
	}
}

// Holds tells whether the pace is on: requests under way stop trying. ready tells
// whether a key is left that nothing is held against; it is not called with a lock held
// by anybody else.
func (p *Pace) Holds(now time.Time, ready func() bool) bool {
	if !p.active.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holds(now, ready)
}

func (p *Pace) holds(now time.Time, ready func() bool) bool {
	switch {
	case p.refused < paceFrom, !p.limits && now.Sub(p.first) < paceAfter:
		return false
	case p.limits && p.refused >= max(manyLimits, openPer*int(p.open.Load())):
		return true
	}
	return !ready()
}

// Pass is what the pace says to a request.
type Pass struct {
	Goes   bool          // it may go out …
	Calls  int           // … to so many keys; 0: to as many as others
	Wait   time.Duration // if not, how long it would have to wait …
	Answer any           // … and what others of its shape have got; nil: that is not known
	Begins bool          // it is the first that the pace holds back or lets out
}

// Admit tells whether a request may go out.
func (p *Pace) Admit(now time.Time, s Shape, ready func() bool) Pass {
	if !p.active.Load() {
		return Pass{Goes: true}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.holds(now, ready) {
		return Pass{Goes: true}
	}
	pass := Pass{Goes: true, Calls: anyNumber, Begins: !p.announce}
	p.announce = true
	if p.limits || now.Sub(p.first) > oldTrouble {
		pass.Calls = 1
	}
	switch answer, known := p.answers[s]; {
	case !known:
	case now.Before(p.next):
		pass.Goes, pass.Wait, pass.Answer = false, p.next.Sub(now), answer
	default:
		p.next = now.Add(p.between(now))
	}
	return pass
}

// anyNumber is how many calls a request makes that nothing but the config's bound holds.
const anyNumber = 1 << 20

// between returns the time to the next request that finds out. p.mu is held.
func (p *Pace) between(now time.Time) time.Duration {
	return min(max(now.Sub(p.first)/2, minPace, p.until.Sub(now)/statedParts), maxPace)
}
