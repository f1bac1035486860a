package rotator

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxOwners bounds how many resources are remembered. Clients make them, and each
	// takes about 100 bytes. The one that was not used for longest is forgotten first.
	maxOwners = 100_000

	// ownerTerm is how long after its last use a resource is forgotten: as long as
	// OpenAI keeps responses, and longer than most others keep anything.
	ownerTerm = 30 * 24 * time.Hour

	// ownerNews is how much later a use must be than the last one that was told to be
	// told to others.
	ownerNews = 24 * time.Hour
)

// owners remembers which key made which resource: a hash table, and a ring of its
// entries in the order of their use. It is safe for concurrent use.
type owners struct {
	count atomic.Int64 // of the resources: to see without the lock that there are none

	mu    sync.Mutex
	index map[Resource]int32
	ring  []ownership // at 0 is nothing: its neighbours are the latest and the oldest
	free  int32       // the first that is not in use, linked by older; 0: none
	most  int
}

// ownership is one entry. The longer ago its use was, the further it is in the ring.
type ownership struct {
	resource     Resource
	key          ID
	newer, older int32
	used         int64 // nanoseconds since the state's epoch
	told         int64 // which of the uses other nodes know
}

func newOwners(most int) *owners {
	return &owners{index: make(map[Resource]int32), ring: make([]ownership, 1), most: most}
}

// find returns the resource's key. It counts as a use; news tells whether others
// should hear of it.
func (o *owners) find(at int64, r Resource) (key ID, news, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, ok := o.index[r]
	if !ok {
		return ID{}, false, false
	}
	e := &o.ring[i]
	if e.used <= at-int64(ownerTerm) {
		o.remove(i)
		return ID{}, false, false
	}
	o.use(i, at)
	if news = e.used-e.told >= int64(ownerNews); news {
		e.told = e.used
	}
	return e.key, news, true
}

// set notes that the key has made the resource, unless replace says no of the one
// that is known to have. It reports whether that is news.
func (o *owners) set(at int64, r Resource, key ID, replace func(known ID, used int64) bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, known := o.index[r]
	if !known {
		i = o.insert(r)
	} else if e := &o.ring[i]; e.key == key || !replace(e.key, e.used) {
		return false
	}
	o.ring[i].key, o.ring[i].told = key, at
	o.use(i, at)
	return true
}

// hear notes what another node knows: of two keys the one that was used later. It reports
// whether that is news to others, too.
func (o *owners) hear(used int64, r Resource, key ID) (news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, known := o.index[r]
	switch {
	case !known && len(o.index) >= o.most && used <= o.ring[o.ring[0].newer].used:
		return false // it would be the first to be forgotten
	case !known:
		i = o.insert(r)
	case used <= o.ring[i].used:
		o.ring[i].told = max(o.ring[i].told, used)
		return false
	}
	e := &o.ring[i]
	news = !known || e.key != key || used-e.told >= int64(ownerNews)
	e.key, e.told = key, used
	o.use(i, used)
	return news
}

// insert makes an entry, which is nowhere in the ring yet but linked to itself. o.mu
// is held.
func (o *owners) insert(r Resource) int32 {
	if len(o.index) >= o.most {
		o.remove(o.ring[0].newer)
	}
	i := o.free
	if i == 0 {
		i = int32(len(o.ring))
		o.ring = append(o.ring, ownership{})
	} else {
		o.free = o.ring[i].older
	}
	o.ring[i] = ownership{resource: r, newer: i, older: i}
	o.index[r] = i
	o.count.Store(int64(len(o.index)))
	return i
}

// remove forgets an entry. o.mu is held.
func (o *owners) remove(i int32) {
	o.unlink(i)
	delete(o.index, o.ring[i].resource)
	o.ring[i] = ownership{older: o.free}
	o.free = i
	o.count.Store(int64(len(o.index)))
}

// use moves an entry to where its use belongs. o.mu is held.
func (o *owners) use(i int32, used int64) {
	e := &o.ring[i]
	e.used = max(e.used, used)
	o.unlink(i)
	after := o.ring[0].newer // the oldest
	if after == 0 || e.used > o.ring[after].used {
		after = o.behind(e.used)
	}
	before := o.ring[after].older
	e.newer, e.older = after, before
	o.ring[after].older, o.ring[before].newer = i, i
}

// behind returns which entry one of that use comes after: mostly none. One that many
// are newer than, as only another node can tell of, is not taken so exactly.
func (o *owners) behind(used int64) (after int32) {
	const most = 64
	next := o.ring[0].older
	for steps := 0; steps < most && next != 0 && o.ring[next].used > used; steps++ {
		after, next = next, o.ring[next].older
	}
	return after
}

func (o *owners) unlink(i int32) {
	newer, older := o.ring[i].newer, o.ring[i].older
	o.ring[newer].older, o.ring[older].newer = older, newer
}

// each calls yield for the resources that are not over, until it returns false. The lock is held meanwhile.
func (o *owners) each(at int64, yield func(r Resource, key ID, told int64) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := o.ring[0].older; i != 0; i = o.ring[i].older {
		if e := &o.ring[i]; e.used > at-int64(ownerTerm) && !yield(e.resource, e.key, e.told) {
			return
		}
	}
}
