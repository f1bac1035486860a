package draw

import (
	"cmp"
	"math"
	"slices"
)

// Affinity stands for a value whose requests prefer the same key, since the upstream
// caches what they have in common. The zero Affinity is that of no value.
//
// Each value has an order of its own over all keys of a tier, and its requests get the
// first key of it that is ready and untried. So the values of a key that cools move to
// many others, no other value moves, and they are back when the key is; a key that is
// added or removed moves its own share. The order depends on the keys alone and not on
// where they stand, so that all nodes agree.
//
// Clients choose values. Which key comes first for a value they cannot tell before
// they see it, since secrets go into the order: to aim at a key they would have to try
// values. One value again and again is one key, whatever is done; that is what it is
// for.
type Affinity uint64

// AffinityOf returns the affinity of a value, none for an empty one. Values that have
// the same one by chance, or because a client has made them so, are as one value.
func AffinityOf(value string) Affinity {
	if value == "" {
		return 0
	}
	// FNV-1a (RFC 9923), which has no allocation if it is written here.
	h := uint64(0xcbf29ce484222325)
	for i := range len(value) {
		h = (h ^ uint64(value[i])) * 0x100000001b3
	}
	return Affinity(max(mix(h), 1))
}

// clusterSize is how many keys a tier may have before they are divided.
const clusterSize = 256

// orders are those of all values over the keys of a pool: by weighted rendezvous
// (Thaler and Ravishankar, 1998), in which each key draws a number for the value,
// and the least comes first. A tier of many keys is divided into clusters by their
// secrets, about as many as each has keys, and the clusters draw first, after the weights
// of all their keys: so a request looks at the clusters and at the keys of one. It is
// immutable.
type orders struct {
	clusters  []cluster   // the lowest tier first
	keys      []contender // cluster after cluster
	clusterOf []int32     // slot → index in clusters
	lots      []uint16    // of the clusters' parts, one for each lot of it; nil: all are of one lot
	partOf    []int32     // slot → index in lots; nil: likewise
}

type cluster struct {
	secret     uint64
	weight     float64 // of all its keys, ready or not
	first, end int32   // its keys
	part, last int32   // its parts, up to last
	tier       uint8
}

type contender struct {
	secret uint64
	weight float64
	slot   Slot
	lot    uint16
	tier   uint8
}

func newOrders(c *Config) *orders {
	o := &orders{keys: make([]contender, len(c.Uses)), clusterOf: make([]int32, len(c.Uses))}
	sizes := make(map[uint8]int)
	for i := range o.keys {
		k := c.class(Slot(i))
		o.keys[i] = contender{c.Secret(Slot(i)), float64(k.Weight), Slot(i), k.lot, k.Tier}
		sizes[k.Tier]++
	}
	// A cluster's keys have secrets that begin with the same bits.
	slices.SortFunc(o.keys, func(a, b contender) int {
		return cmp.Or(cmp.Compare(a.tier, b.tier), cmp.Compare(a.secret, b.secret))
	})
	o.divide(sizes)
	if c.Lots != nil {
		o.part()
	}
	return o
}

// part makes the parts of the clusters, each of the keys of one lot. That changes no
// value's order.
func (o *orders) part() {
	o.partOf = make([]int32, len(o.keys))
	for i := range o.clusters {
		c := &o.clusters[i]
		c.part = int32(len(o.lots))
		keys := o.keys[c.first:c.end]
		slices.SortFunc(keys, func(a, b contender) int { return cmp.Compare(a.lot, b.lot) })
		for j, k := range keys {
			if j == 0 || k.lot != keys[j-1].lot {
				o.lots = append(o.lots, k.lot)
			}
			o.partOf[k.slot] = int32(len(o.lots) - 1)
		}
		c.last = int32(len(o.lots))
	}
}

// divide makes the clusters of the sorted keys, of which each tier has so many.
func (o *orders) divide(sizes map[uint8]int) {
	for i, k := range o.keys {
		number := k.secret >> (64 - clusterBits(sizes[k.tier]))
		c := cluster{secret: mix(number), first: int32(i), tier: k.tier}
		if last := len(o.clusters) - 1; last < 0 || o.clusters[last].tier != c.tier || o.clusters[last].secret != c.secret {
			o.clusters = append(o.clusters, c)
		}
		last := len(o.clusters) - 1
		o.clusters[last].weight += k.weight
		o.clusters[last].end = int32(i + 1)
		o.clusterOf[k.slot] = int32(last)
	}
}

// clusterBits returns how many bits tell the clusters of a tier apart. It grows by two
// at a time, since all values move when it does.
func clusterBits(keys int) int {
	bits := 0
	for keys>>bits > clusterSize && 2<<bits <= keys>>bits {
		bits += 2
	}
	return bits
}

// mix returns a number each bit of which depends on all bits of h: the finaliser of
// MurmurHash3.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// draw returns the number from 0 to 1 that who has the secret draws for the value.
func (a Affinity) draw(secret uint64) float64 {
	return (float64(mix(uint64(a)^secret)>>11) + 0.5) * 0x1p-53
}

// turn makes of a drawn number when it is the turn of who has the weight, which is the
// rate of an exponential distribution, so that each is the first as often as its weight
// says. It is no less than x/weight, which is much cheaper to have.
func turn(x, weight float64) float64 { return -math.Log1p(-x) / weight }

// prefer returns the first slot in the value's order that is ready, not in a shut lot and
// not tried.
// It takes a look at each cluster and each key of one of them, and again for each
// cluster whose ready keys have all been tried.
func (d *Draw) prefer(w *Want) (Slot, bool) {
	all := d.orders.clusters
	for from, to := 0, 0; from < len(all); from = to {
		for to < len(all) && all[to].tier == all[from].tier {
			to++
		}
		for floor := -1.0; ; {
			c, turn := d.firstCluster(w, from, to, floor)
			if c < 0 {
				break
			}
			if s, ok := d.firstOf(w, c); ok {
				return s, true
			}
			floor = turn
		}
	}
	return 0, false
}

// firstCluster returns the first in the value's order of these clusters that has a
// ready key in an open lot and whose turn comes after floor, -1 if there is none.
func (d *Draw) firstCluster(w *Want, from, to int, floor float64) (first int, least float64) {
	first, least = -1, math.Inf(1)
	for i := from; i < to; i++ {
		if d.readyIn[i] == 0 {
			continue
		}
		c := &d.orders.clusters[i]
		x := w.Affinity.draw(c.secret)
		if x >= least*c.weight {
			continue
		}
		if t := turn(x, c.weight); t < least && t > floor && d.hasOpen(c, w) {
			first, least = i, t
		}
	}
	return first, least
}

// hasOpen tells whether the cluster, which has ready keys, has some in an open lot.
func (d *Draw) hasOpen(c *cluster, w *Want) bool {
	switch {
	case len(w.Shut) == 0:
		return true
	case d.orders.partOf == nil:
		return w.isOpen(&d.buckets[0])
	}
	for p := c.part; p < c.last; p++ {
		if d.readyOf[p] > 0 && !w.Shut.Has(d.orders.lots[p]) {
			return true
		}
	}
	return false
}

// firstOf returns the first in the value's order of the cluster's slots that is ready,
// in an open lot and not tried.
func (d *Draw) firstOf(w *Want, cluster int) (first Slot, ok bool) {
	c, least := &d.orders.clusters[cluster], math.Inf(1)
	for i := c.first; i < c.end; i++ {
		k := &d.orders.keys[i]
		x := w.Affinity.draw(k.secret)
		if x >= least*k.weight || !d.IsReady(k.slot) || w.Shut.Has(k.lot) || slices.Contains(w.Tried, k.slot) {
			continue
		}
		if t := turn(x, k.weight); t < least {
			first, least, ok = k.slot, t, true
		}
	}
	return first, ok
}

// obey makes the draw know orders, while all slots are ready.
func (d *Draw) obey(o *orders) {
	d.orders, d.readyIn, d.readyOf = o, make([]int32, len(o.clusters)), make([]int32, len(o.lots))
	for i, c := range o.clusters {
		d.readyIn[i] = c.end - c.first
	}
	for _, part := range o.partOf {
		d.readyOf[part]++
	}
}

// shift notes that so many more slots of this one's cluster are ready.
func (d *Draw) shift(s Slot, by int32) {
	if d.orders != nil {
		d.readyIn[d.orders.clusterOf[s]] += by
		if d.orders.partOf != nil {
			d.readyOf[d.orders.partOf[s]] += by
		}
	}
}
