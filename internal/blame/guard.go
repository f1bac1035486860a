// Package blame tells whose fault a refusal is: the key's, the request's, or nobody's. It
// judges answers by the config's rules and the dialect's, stops requests that key after
// key refuses, closes the pool where everything is refused, and doubts long cooldowns.
//
// It knows keys and what answers mean, but neither HTTP nor Caddy, and writes nothing to
// anybody. A rule about keys and requests goes here.
package blame

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// Guard tells what is a key's fault from what is not. A request that is too large
// for every key's limit is refused by each key that it tries; a throttle of the
// gateway's address, or of everybody's organisation, refuses everything. Neither
// says anything about the keys that met it.
//
// It judges by how likely it is that so many keys in a row have met limits of their
// own, after what the pool has seen lately. A request for which that is all but
// impossible is stopped: its client gets the last answer, and its keys' cooldowns
// are on trial: the next request that the upstream takes shows that it was that
// request's fault, and they come back. Where no request is taken any more, of
// several, the pool is closed: all keys come back that were refused since the last
// one was served, everybody is told to wait, and one request now and then finds out
// whether that is over.
//
// An upstream mostly refuses at once, and takes long to serve: what is still open
// counts for the keys, and a success counts for what was refused before it began.
//
// It is safe for concurrent use. A success costs a few atomic operations.
type Guard struct {
	served atomic.Uint64 // attempts that the upstream took
	latest atomic.Int64  // when the last of them began, in nanoseconds since 1970
	Open   atomic.Int64  // attempts that have no answer yet
	alert  atomic.Bool   // a success has more to do than to be counted
	Off    bool          // for tests that compare

	mu      sync.Mutex
	share   float64   // of attempts that are rejected, as seen lately
	counted uint64    // of served, when share was estimated …
	looked  time.Time // … and when that was

	// Since the upstream has taken a request:
	since    time.Time  // when it has refused the first after that
	before   float64    // the share then
	refused  int        // attempts that it has refused …
	requests int        // … of so many requests
	streak   []Sentence // what cools for that
	trial    []Sentence // likewise, of requests that were stopped

	closed bool
	until  time.Time     // when the next request goes out to see
	pause  time.Duration // between two of those
	stated time.Time     // when the upstream says that it is over
}

// Sentence is a cooldown that may have to be taken back.
type Sentence struct {
	Pool  *rotator.Pool
	Token rotator.Token
}

// TakeBack ends cooldowns, unless longer ones have come in their place.
func TakeBack(now time.Time, sentences []Sentence) {
	for _, s := range sentences {
		s.Pool.Retract(now, s.Token)
	}
}

const (
	// impossible is how unlikely it must be that all keys which refused a request have
	// met limits of their own.
	impossible = 1e-6

	// unlikely is the same for a request that would leave the pool without a key.
	unlikely = 1e-2

	// unheard is the same for all requests together.
	unheard = 1e-18

	// openPer is how many refusals there must be for each attempt that is still open
	// before the pool is closed.
	openPer = 10

	// witnesses is how many requests must have been refused before the pool is closed.
	witnesses = 3

	// leastShare is the least share of rejected attempts that is believed: limits come
	// together more often than by chance.
	leastShare = 0.07

	// unknownShare is the share of a pool that nothing is known about.
	unknownShare = 0.5

	// memory is over how many attempts the share is estimated …
	memory = 64

	// … and forget is after how long without any half of it is forgotten.
	forget = 10 * time.Minute

	minClosed = time.Second      // between the first two requests that go out to see …
	MaxClosed = 10 * time.Second // … and between later ones

	// maxStreak bounds how many cooldowns can come back. What is beyond them stays.
	maxStreak = 1024
)

// estimate brings the share up to date. g.mu is held.
func (g *Guard) estimate(now time.Time) {
	if g.looked.IsZero() {
		g.share, g.looked = unknownShare, now
	}
	served := g.served.Load()
	g.share *= math.Pow(1-1.0/memory, float64(served-g.counted))
	if idle := min(now.Sub(g.looked), now.Sub(time.Unix(0, g.latest.Load()))); idle > 0 {
		known := math.Exp2(-float64(idle) / float64(forget))
		g.share = unknownShare + (g.share-unknownShare)*known
	}
	g.counted, g.looked = served, now
}

// Ruled is what becomes of a request that was refused.
type Ruled uint8

const (
	GoOn Ruled = iota // with another key
	stop              // with the last answer
	Shut              // likewise, and so do all others from now on
)

// Run is the keys in a row that have refused one request.
type Run struct {
	Length int
	share  float64 // as it was at the first
}

// chance returns how likely it is that all of them have met limits of their own.
func (r Run) chance() float64 { return chance(r.share, r.Length) }

func chance(share float64, refusals int) float64 {
	return math.Pow(max(share, leastShare), float64(refusals))
}

// Refuse notes that one more key has refused a request, adds it to the request's
// run, and says what becomes of the request. last tells that no other key is ready,
// stated when the upstream says that it may be tried again; sentences are all
// cooldowns that the request has caused, fresh those of this refusal. It returns the
// cooldowns that are taken back.
func (g *Guard) Refuse(now time.Time, run *Run, last bool, sentences, fresh []Sentence, stated time.Time) (r Ruled, back []Sentence) {
	if g.Off {
		return GoOn, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.estimate(now)
	if g.refused == 0 {
		g.since, g.before = now, g.share
		g.alert.Store(true)
	}
	g.refused++
	if run.Length++; run.Length == 1 {
		run.share = g.share
		g.requests++
	}
	g.streak = append(g.streak, fresh[:min(len(fresh), maxStreak-len(g.streak))]...)
	g.share += (1 - g.share) / memory
	g.stated = stated
	switch {
	case g.closed:
		return stop, fresh
	case g.requests >= witnesses && chance(g.before, g.refused) <= unheard && g.Open.Load()*openPer <= int64(g.refused):
		g.closed, g.pause, g.until = true, minClosed, now.Add(minClosed)
		return Shut, g.streak
	case run.chance() <= impossible:
		g.try(sentences)
		return stop, nil
	case last && run.Length > 1 && run.chance() <= unlikely && g.requests == 1:
		return stop, sentences // the pool has no other keys
	}
	return GoOn, nil
}

// try puts a request's cooldowns on trial. g.mu is held.
func (g *Guard) try(sentences []Sentence) {
	g.trial = append(g.trial, sentences[:min(len(sentences), maxStreak-len(g.trial))]...)
}

// GiveUp notes that a request has had its attempts, and that each was refused.
func (g *Guard) GiveUp(r Run, sentences []Sentence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.Off && g.alert.Load() && r.chance() <= unlikely {
		g.try(sentences)
	}
}

// Excuse takes back that a request's refusals were counted: they say nothing of others.
func (g *Guard) Excuse(r Run) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Off || g.closed || r.Length == 0 {
		return
	}
	g.refused = max(g.refused-r.Length, 0)
	g.requests = max(g.requests-1, 0)
	kept := math.Pow(1-1.0/memory, float64(r.Length)) // of what was no share before
	g.share = max(1-(1-g.share)/kept, 0)
}

// Admits tells whether a request may go out: while the pool is closed, one now and
// then. If not, it returns how long the request's client shall wait.
func (g *Guard) Admits(now time.Time) (wait time.Duration, ok bool) {
	if !g.alert.Load() {
		return 0, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.closed:
		return 0, true
	case now.Before(g.until):
		return max(g.stated.Sub(now), g.until.Sub(now)), false
	}
	g.until, g.pause = now.Add(g.pause), min(2*g.pause, MaxClosed)
	return 0, true
}

// Opens returns when the next request may go out to see, while the pool is closed.
func (g *Guard) Opens(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.until.Sub(now), time.Millisecond)
}

// Serve notes that the upstream has taken a request, which began then. It returns the cooldowns that
// were nobody's fault, and whether the pool was closed until now.
func (g *Guard) Serve(began time.Time) (back []Sentence, reopens bool) {
	g.served.Add(1)
	g.latest.Store(began.UnixNano())
	if !g.alert.Load() {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if began.Before(g.since) {
		return nil, false // that was another time
	}
	back, reopens = g.trial, g.closed
	g.refused, g.requests, g.streak, g.trial, g.closed = 0, 0, nil, nil, false
	g.alert.Store(false)
	return back, reopens
}
