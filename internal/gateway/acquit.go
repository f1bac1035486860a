package gateway

import (
	"slices"
	"time"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// Where an upstream refuses request after request as if the key was invalid, it may be
// for what the client asks: a path that no key has rights to. A request that key after
// key refuses in this way, among them one that has served others lately, is to blame
// itself, and the keys are let off at once: no client cools them by asking, however
// often it does.
//
// Keys do become invalid, all those of an account at once. A request that meets them
// moves on, and where another key serves it, they were to blame. Where none does, a
// success of a key's speaks for the others a few times, until there is another.

const (
	// goodFor is for how long a success speaks for a key.
	goodFor = 5 * time.Minute

	// maxSuspects is how many keys refuse a request as invalid before it is the
	// request's fault. A pool that has fewer cannot tell.
	maxSuspects = 6
)

// suspect is a key that was refused as invalid, and cools for it.
type suspect struct {
	blame.Sentence
	slot rotator.Slot
}

// acquits notes that a key was refused, of which fresh came, and tells whether that is
// the request's fault: then the keys are ready again, and its client gets the answer.
func (x *exchange) acquits(now time.Time, v blame.Verdict, fresh []blame.Sentence) bool {
	if v.Class != ttl.InvalidKey || len(fresh) == 0 {
		return false
	}
	x.suspects = append(x.suspects, suspect{fresh[0], x.slot})
	if len(x.suspects) < maxSuspects {
		return false
	}
	good := func(s suspect) bool { return s.Pool.Testify(now.Add(-goodFor), s.slot) }
	if !slices.ContainsFunc(x.suspects, good) {
		return false
	}
	for _, s := range x.suspects {
		s.Pool.Retract(now, s.Token)
	}
	x.g.guard.Excuse(x.run)
	x.g.metrics.Stopped.Inc()
	x.g.announcer.Stopped(len(x.suspects), false)
	return true
}
