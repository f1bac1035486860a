package shared

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

const (
	// fillSpread is how long a process waits at most before it fills in what Redis does
	// not know: others have found the same.
	fillSpread = 400 * time.Millisecond

	// fillRest is for how many times as long as a batch took the next one waits, so that
	// Redis and those who hear of it have time for other things.
	fillRest = 3
)

// refill is what this process may know and Redis not: that has restarted empty, or with
// old data. News goes before it, and one process after the other does it. Until its turn
// comes a process only collects what Redis is told; so of many that know the same, one
// sends it.
type refill struct {
	number uint64 // a later one has a higher number
	due    bool
	at     time.Time // when to try next
	asked  bool      // whether it is this process's turn
	turn   bool      // it is, and what follows is what to send
	seen   knowledge // what Redis knows, until it is this process's turn
	facts  []rotator.Change
	owners []rotator.Owner
}

// refill notes what Redis knows, and that it lacks something, if it does. More than one
// process may find so.
func (j *Journal) refill(seen knowledge) {
	lacks := j.lacks(seen)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fill = refill{number: j.fill.number + 1}
	if lacks {
		j.fill.due, j.fill.at, j.fill.seen = true, j.now().Add(rand.N(fillSpread)), seen
		rouse(j.wake)
	}
}

// lacks tells whether this process knows anything that was not seen in Redis.
func (j *Journal) lacks(seen knowledge) (lacks bool) {
	now := j.now()
	at := j.clock.shows(now)
	j.state.Known(now, j, func(c rotator.Change) bool {
		lacks = j.missing(c, seen, at)
		return !lacks
	})
	if !lacks {
		j.state.KnownOwners(now, j, func(o rotator.Owner) bool {
			lacks = j.minute(o.Used) > seen.used[o.Resource]
			return !lacks
		})
	}
	return lacks
}

// left is how much is still to be sent, or at most that, until it is known. j.mu is held.
func (r *refill) left(known int) int {
	switch {
	case !r.due:
		return 0
	case r.turn:
		return len(r.facts) + len(r.owners) + 1
	}
	return max(known-r.seen.size(), 0) + 1
}

// part is a batch of a refill.
type part struct {
	facts  []rotator.Change
	owners []rotator.Owner
	of     uint64 // the refill's number
	turn   bool   // it was this process's turn
	last   bool   // nothing is left then
}

func (p part) size() int { return len(p.facts) + len(p.owners) }

// fillNext does a part of what is due: it asks for its turn, or sends a batch.
func (j *Journal) fillNext(ctx context.Context) error {
	begin := j.now()
	p := j.takeFill()
	how := "fill"
	if p.last {
		how = "filled"
	}
	news, err := j.send(ctx, p.facts, p.owners, how)
	took := j.now().Sub(begin)
	mine := err == nil && news >= 0
	if mine && !p.turn {
		j.computeFill(p.of)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if mine {
		j.health.Written += uint64(p.size())
	}
	if j.fill.number == p.of { // else all was read anew meanwhile, and Redis lacks something else
		j.filled(p, mine, took)
	}
	return err
}

// filled notes what has become of a batch. j.mu is held.
func (j *Journal) filled(p part, mine bool, took time.Duration) {
	j.fill.asked = true
	switch {
	case !mine:
		j.fill.facts = append(j.fill.facts, p.facts...)
		j.fill.owners = append(j.fill.owners, p.owners...)
		j.fill.at = j.now().Add(fillSpread/2 + rand.N(fillSpread))
	case p.last:
		j.fill = refill{number: p.of}
	default:
		j.fill.at = j.now().Add(max(fillRest*took, j.crowd.fillPause(p.size())))
	}
}

// takeFill removes a batch.
func (j *Journal) takeFill() part {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &j.fill
	p := part{of: r.number, turn: r.turn}
	most := j.crowd.fillSize()
	n := min(len(r.facts), most)
	p.facts, r.facts = r.facts[:n:n], r.facts[n:]
	if n == 0 {
		n = min(len(r.owners), most)
		p.owners, r.owners = r.owners[:n:n], r.owners[n:]
	}
	p.last = r.turn && len(r.facts)+len(r.owners) == 0
	return p
}

// computeFill finds out what Redis lacks, now that it is this process's turn in that refill.
func (j *Journal) computeFill(of uint64) {
	j.mu.Lock()
	if j.fill.number != of {
		j.mu.Unlock()
		return
	}
	known := j.fill.seen
	j.fill.seen, j.fill.turn = knowledge{}, true
	j.mu.Unlock()

	var facts []rotator.Change
	now := j.clock.shows(j.now())
	for _, c := range j.known() {
		if j.missing(c, known, now) {
			facts = append(facts, c)
		}
	}
	var owners []rotator.Owner
	for _, o := range j.knownOwners() {
		if j.minute(o.Used) > known.used[o.Resource] {
			owners = append(owners, o)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fill.number == of { // nothing was read anew meanwhile
		j.fill.facts, j.fill.owners = facts, owners
	}
}

// known returns what this process knows. The state is locked for as long as it takes to
// copy it.
func (j *Journal) known() (all []rotator.Change) {
	j.state.Known(j.now(), j, func(c rotator.Change) bool {
		all = append(all, c)
		return true
	})
	return all
}

func (j *Journal) knownOwners() (all []rotator.Owner) {
	j.state.KnownOwners(j.now(), j, func(o rotator.Owner) bool {
		all = append(all, o)
		return true
	})
	return all
}

// missing reports whether the change is news to who has written what was seen.
func (j *Journal) missing(c rotator.Change, seen knowledge, now int64) bool {
	about := subjectOf(c)
	ours, theirs := j.remote(c), seen.about(about)
	if about.scope != "" {
		theirs.cleared = max(theirs.cleared, seen.about(about.key()).cleared)
		if theirs.void(theirs.cleared) {
			theirs.until = 0
		}
	}
	return ours.adds(theirs, now)
}

// What is no news, and for how long a clearing is: as in the script, in ms.
const (
	tolerance = 100
	tombstone = 24 * 60 * 60 * 1000
)

// adds reports whether f is news to who knows g.
func (f fact) adds(g fact, now int64) bool {
	if f.cleared > g.cleared+tolerance && f.cleared+tombstone > now || f.off.After(g.off) {
		return true
	}
	if g.void(f.cleared) {
		g.until = 0
	}
	return f.until > max(g.until+tolerance, now) && f.learned > max(f.cleared, g.cleared)
}
