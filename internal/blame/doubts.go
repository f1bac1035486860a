package blame

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// Long cooldowns are doubted now and then: a quota may be restored long before the
// time that was stated. A doubt is one request of a client's that goes out with the
// key as if it were ready. If it is rejected, the request moves on as any other, and
// the next doubt is twice as far away; if it is served, the key is ready again. The
// node that learned of the cooldown doubts it, and no other.

const (
	// doubted is how long a cooldown must be to be doubted, and how long after it
	// began that happens first.
	doubted = 15 * time.Minute

	// maxDoubts bounds how many cooldowns are doubted at a time: clients can choose
	// scopes.
	maxDoubts = 200_000

	// anotherTime is when a doubt is due again that came with a request of another
	// scope or pool, or while the key was at its limit.
	anotherTime = time.Second

	// unanswered is when one is due again whose request told nothing of the key.
	unanswered = time.Minute
)

// Doubts are those of the pools of one name. They outlive configs. It is safe for
// concurrent use.
type Doubts struct {
	next atomic.Int64 // when the first is due, in nanoseconds since 1970; MaxInt64: none

	mu    sync.Mutex
	queue doubtQueue // the first to be due first
	Of    map[CooldownOf]*doubt
}

// CooldownOf names what cools.
type CooldownOf struct {
	Key   rotator.ID
	Scope string
}

type doubt struct {
	CooldownOf
	at       time.Time
	until    time.Time // when the cooldown is over
	distance time.Duration
	index    int // in the queue
}

// doubtsByPool holds the process's doubts by the pools' names.
var doubtsByPool sync.Map

func DoubtsOf(pool string) *Doubts {
	d := &Doubts{Of: make(map[CooldownOf]*doubt)}
	d.next.Store(math.MaxInt64)
	found, _ := doubtsByPool.LoadOrStore(pool, d)
	return found.(*Doubts)
}

// Plan notes that a cooldown begins, or has been doubted in vain, and when it is to
// be doubted next.
func (d *Doubts) Plan(now time.Time, of CooldownOf, cools time.Duration) {
	if cools <= doubted {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.Of[of]
	switch {
	case p == nil && len(d.Of) >= maxDoubts:
		return
	case p == nil:
		p = &doubt{CooldownOf: of, index: -1, distance: doubted}
		d.Of[of] = p
	case p.index < 0: // it was doubted just now
		p.distance *= 2
	default:
		return // a request that was under way has met the same limit
	}
	p.until = now.Add(cools)
	// Keys that began to cool together are not doubted together.
	d.push(now, p, p.distance+rand.N(p.distance/10))
}

// push makes a doubt due, unless the cooldown is over by then. d.mu is held.
func (d *Doubts) push(now time.Time, p *doubt, after time.Duration) {
	if p.at = now.Add(after); !p.at.Before(p.until) {
		delete(d.Of, p.CooldownOf)
		return
	}
	heap.Push(&d.queue, p)
	d.setNext()
}

// Resume makes a doubt due again whose request is over, unless that has told what is
// true: much later if the key was refused for a short time, else soon.
func (d *Doubts) Resume(now time.Time, of CooldownOf, refused bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.Of[of]
	switch {
	case p == nil || p.index >= 0:
	case refused:
		p.distance *= 2
		d.push(now, p, p.distance+rand.N(p.distance/10))
	default:
		d.push(now, p, unanswered)
	}
}

// Take returns a cooldown that is to be doubted by a request of this scope. Whoever
// takes it calls plan, forget, postpone or resume.
func (d *Doubts) Take(now time.Time, scope string) (of CooldownOf, ok bool) {
	if now.UnixNano() < d.next.Load() {
		return of, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.setNext()
	if len(d.queue) == 0 || d.queue[0].at.After(now) {
		return of, false
	}
	p := d.queue[0]
	if p.Scope != "" && p.Scope != scope {
		p.at = now.Add(anotherTime)
		heap.Fix(&d.queue, 0)
		return of, false
	}
	heap.Pop(&d.queue)
	return p.CooldownOf, true
}

// Postpone makes a doubt due again that was taken and did not go out.
func (d *Doubts) Postpone(now time.Time, of CooldownOf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.Of[of]; p != nil && p.index < 0 {
		d.push(now, p, anotherTime)
	}
}

// Forget ends the doubts about a cooldown.
func (d *Doubts) Forget(of CooldownOf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.Of[of]; p != nil && p.index >= 0 {
		heap.Remove(&d.queue, p.index)
		d.setNext()
	}
	delete(d.Of, of)
}

// setNext is called with d.mu held.
func (d *Doubts) setNext() {
	next := int64(math.MaxInt64)
	if len(d.queue) > 0 {
		next = d.queue[0].at.UnixNano()
	}
	d.next.Store(next)
}

// doubtQueue implements heap.Interface.
type doubtQueue []*doubt

func (q doubtQueue) Len() int           { return len(q) }
func (q doubtQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q doubtQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *doubtQueue) Push(p any) {
	d := p.(*doubt)
	d.index = len(*q)
	*q = append(*q, d)
}

// Pop implements heap.Interface.
func (q *doubtQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	d.index = -1
	return d
}
