package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// For how long an address rests.
const (
	firstRest = 10 * time.Second // after a failure; twice as long after each further one, …
	lastRest  = time.Minute      // … up to this
	memory    = 10 * time.Minute // after which a rest that is over is forgotten, if nobody has found out
	maxRests  = 1024             // addresses that rest at a time; further ones do not
)

// Rests are addresses that are left alone for a while, since requests failed there. They
// are an order, no ban: who has no other address uses them all the same. The zero Rests is
// empty. It is safe for concurrent use.
type Rests struct {
	any atomic.Bool // there is one
	mu  sync.Mutex
	all map[string]*rest
}

// Resting are those of the process.
var Resting Rests

// rest is an address' rest.
type rest struct {
	over  time.Time // when it is
	until time.Time // likewise, for requests that come while another one finds out
	step  time.Duration
}

// Any tells whether an address rests, or has rested and was not found well since. It takes
// an atomic load.
func (r *Rests) Any() bool { return r.any.Load() }

// Each calls f with the index of each of the addresses that rests.
func (r *Rests) Each(now time.Time, addresses []string, f func(i int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purge(now)
	for i, a := range addresses {
		if e := r.all[a]; e != nil && now.Before(e.until) {
			f(i)
		}
	}
}

// Try tells whether a request may be sent to an address that does not rest any more: one
// at a time finds out whether it is well. Others are let through only if nothing has
// become of that one for as long as the address had rested. began is when the request's
// attempt begins.
func (r *Rests) Try(began time.Time, address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.all[address]
	if e == nil {
		return true
	}
	if began.Before(e.until) {
		return false
	}
	e.until = began.Add(e.step)
	return true
}

// Fail notes that an attempt has failed, which began at a moment. It returns for how long
// the address rests from now on; 0 where that is nothing new, since it rested when the
// attempt began, or had not failed yet.
func (r *Rests) Fail(began, now time.Time, address string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purge(now)
	e := r.all[address]
	switch {
	case e == nil && len(r.all) >= maxRests:
		return 0
	case e == nil:
		e = r.add(address)
	case began.Before(e.over):
		return 0
	}
	e.step = max(firstRest, min(2*e.step, lastRest))
	e.over = now.Add(e.step)
	e.until = e.over
	return e.step
}

// Serve notes that the address has answered. It tells whether that ends its rest.
func (r *Rests) Serve(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[address] == nil {
		return false
	}
	r.remove(address)
	return true
}

// Count returns how many addresses rest.
func (r *Rests) Count(now time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.all {
		if now.Before(e.until) {
			n++
		}
	}
	return n
}

// purge forgets rests that are to be forgotten. r.mu is held.
func (r *Rests) purge(now time.Time) {
	for a, e := range r.all {
		if now.Sub(e.until) > memory {
			r.remove(a)
		}
	}
}

// add makes room for a rest. r.mu is held.
func (r *Rests) add(address string) *rest {
	if r.all == nil {
		r.all = make(map[string]*rest)
	}
	e := new(rest)
	r.all[address] = e
	r.any.Store(true)
	return e
}

// remove forgets a rest. r.mu is held.
func (r *Rests) remove(address string) {
	delete(r.all, address)
	r.any.Store(len(r.all) > 0)
}
