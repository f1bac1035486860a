package rotator

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxOwners bounds how many resources are remembered. Clients make them, and each
	// takes about 100 bytes. The one that was not used for longest is forgotten first, of
	// those whose kind has more than its half: what comes by the thousand pushes nothing
	// out that is made once and used for weeks.
	maxOwners = 100_000

	// ownerTerm is how long after its last use a resource is forgotten: as long as
	// OpenAI keeps responses, and longer than most others keep anything.
	ownerTerm = 30 * 24 * time.Hour

	// ownerNews is how much later a use must be than the last one that was told to be
	// told to others.
	ownerNews = 24 * time.Hour
)

// owners remembers which key made which resource: a hash table, and for either kind a
// ring of its entries in the order of their use. It is safe for concurrent use.
type owners struct {
	count atomic.Int64 // of the resources: to see without the lock that there are none

	mu    sync.Mutex
	index map[Resource]int32
	ring  []ownership // at 0 and 1 is nothing: their neighbours are the latest and the oldest
	sizes [2]int      // of the two rings
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
	heads := []ownership{{newer: 0, older: 0}, {newer: 1, older: 1}}
	return &owners{index: make(map[Resource]int32), ring: heads, most: most}
}

// head returns which ring a resource belongs into: 1 for one that passes.
func head(r Resource) int32 { return int32(r[len(r)-1] & 1) }

// leaves returns the entry that goes for one of that ring, when there are too many.
func (o *owners) leaves(ring int32) int32 {
	if other := 1 - ring; o.sizes[other] > o.most/2 || o.sizes[ring] == 0 {
		ring = other
	}
	return o.ring[ring].newer
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
	case !known && len(o.index) >= o.most && o.isFirstToGo(r, used):
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

// isFirstToGo tells whether another one's use is so long ago that it would be forgotten
// for the next one. o.mu is held.
func (o *owners) isFirstToGo(r Resource, used int64) bool {
	i := o.leaves(head(r))
	return head(o.ring[i].resource) == head(r) && used <= o.ring[i].used
}

// insert makes an entry, which is nowhere in the ring yet but linked to itself. o.mu
// is held.
func (o *owners) insert(r Resource) int32 {
	if len(o.index) >= o.most {
		o.remove(o.leaves(head(r)))
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
	o.sizes[head(r)]++
	o.count.Store(int64(len(o.index)))
	return i
}

// remove forgets an entry. o.mu is held.
func (o *owners) remove(i int32) {
	o.unlink(i)
	delete(o.index, o.ring[i].resource)
	o.sizes[head(o.ring[i].resource)]--
	o.ring[i] = ownership{older: o.free}
	o.free = i
	o.count.Store(int64(len(o.index)))
}

// use moves an entry to where its use belongs. o.mu is held.
func (o *owners) use(i int32, used int64) {
	e := &o.ring[i]
	e.used = max(e.used, used)
	o.unlink(i)
	head := head(e.resource)
	after := o.ring[head].newer // the oldest
	if after == head || e.used > o.ring[after].used {
		after = o.behind(head, e.used)
	}
	before := o.ring[after].older
	e.newer, e.older = after, before
	o.ring[after].older, o.ring[before].newer = i, i
}

// behind returns which entry one of that use comes after: mostly none. One that many
// are newer than, as only another node can tell of, is not taken so exactly.
func (o *owners) behind(head int32, used int64) (after int32) {
	const most = 64
	after = head
	next := o.ring[head].older
	for steps := 0; steps < most && next != head && o.ring[next].used > used; steps++ {
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
	for head := range int32(2) {
		for i := o.ring[head].older; i != head; i = o.ring[i].older {
			if e := &o.ring[i]; e.used > at-int64(ownerTerm) && !yield(e.resource, e.key, e.told) {
				return
			}
		}
	}
}
