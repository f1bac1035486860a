package draw

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Rank says how keys are preferred to others. Both numbers are 1 to MaxRank; 0 stands
// for 1.
type Rank struct {
	// Tier: a key is drawn only when no key of a lower tier is ready for the request.
	Tier uint8

	// Weight: within a tier, each key is drawn in proportion to it.
	Weight uint8
}

// The bounds of ranks.
const (
	MaxRank  = 100  // the highest tier, and the largest weight
	MaxRanks = 1000 // how many different combinations of a rank and a lot the keys of a pool may have
)

// class is what the slots of a bucket have in common.
type class struct {
	Rank
	lot uint16
}

// bucket is the slots of one rank and lot: a stretch of a draw's order, in parts.
type bucket struct {
	class
	first  int32      // the index of its first slot
	size   [Out]int32 // how many of its slots are of each kind; the rest is out
	free   int32      // ready and untried, while a pick is under way
	hands  [Out]int32 // of the slots of each kind, which is looked at first: whose turn it is
	credit float64    // turns that the buckets of its rank are owed, of which it is the first, against others of its tier
	gain   int64      // while a turn is taken, their weight, as far as the request may get them

	current Slot // where requests go to one slot: to this one, of the bucket's
}

// makeBuckets returns a bucket for each rank and lot, the lowest tier first, and those of
// one weight side by side, with all slots ready, and for each slot the number of its
// bucket: nil where there is only one.
func makeBuckets(c *Config) ([]bucket, []uint16, error) {
	if c.Ranks == nil && c.Lots == nil {
		return []bucket{{class: class{Rank: Rank{}.normal()}, size: [Out]int32{Ready: int32(len(c.Uses))}}}, nil, nil
	}
	counts := make(map[class]int32)
	for s := range c.Uses {
		counts[c.class(Slot(s))]++
	}
	if len(counts) > MaxRanks {
		return nil, nil, fmt.Errorf("keys of %d different combinations of tier, weight, upstream, proxy and models are too many: at most %d; let more of them have the same", len(counts), MaxRanks)
	}
	buckets := make([]bucket, 0, len(counts))
	for k, n := range counts {
		buckets = append(buckets, bucket{class: k, size: [Out]int32{Ready: n}})
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return a.compare(b.class) })
	if len(buckets) <= 1 {
		return append(buckets, bucket{})[:1], nil, nil // no keys make one, too
	}
	return buckets, number(c, buckets), nil
}

// number gives the buckets their places, and returns which is each slot's.
func number(c *Config, buckets []bucket) []uint16 {
	first, numbers := int32(0), make(map[class]uint16)
	for i := range buckets {
		buckets[i].first, numbers[buckets[i].class] = first, uint16(i)
		first += buckets[i].size[Ready]
	}
	of := make([]uint16, len(c.Uses))
	for s := range of {
		of[s] = numbers[c.class(Slot(s))]
	}
	return of
}

// class returns the slot's.
func (c *Config) class(s Slot) (k class) {
	k.Rank = k.normal()
	if c.Ranks != nil {
		k.Rank = c.Ranks[s].normal()
	}
	if c.Lots != nil {
		k.lot = c.Lots[s]
	}
	return k
}

func (r Rank) normal() Rank { return Rank{max(r.Tier, 1), max(r.Weight, 1)} }

func (k class) compare(other class) int {
	return cmp.Or(cmp.Compare(k.Tier, other.Tier), cmp.Compare(k.Weight, other.Weight), cmp.Compare(k.lot, other.lot))
}

// tierEnd returns the index after the last of the buckets of one tier.
func (d *Draw) tierEnd(from int) int {
	to := from + 1
	for to < len(d.buckets) && d.buckets[to].Tier == d.buckets[from].Tier {
		to++
	}
	return to
}

// bucket returns the slot's.
func (d *Draw) bucket(s Slot) *bucket {
	if d.bucketOf == nil {
		return &d.buckets[0]
	}
	return &d.buckets[d.bucketOf[s]]
}

// pick draws one of the ready slots that the request may get, of the lowest tier that has
// one. It takes O(len(w.Tried)) and a look at each bucket.
func (d *Draw) pick(w *Want, r *rand.Rand) (Slot, bool) {
	d.setAside(w)
	for from := 0; from < len(d.buckets); {
		total, end := int64(0), d.tierEnd(from)
		for i := from; i < end; i++ {
			total += int64(d.buckets[i].Weight) * int64(d.buckets[i].free)
		}
		if total > 0 {
			return d.pickAt(from, below(total, r)), true
		}
		from = end
	}
	return 0, false
}

// setAside puts the tried slots behind the ones to draw from, of which those of shut lots
// are none.
func (d *Draw) setAside(w *Want) {
	for i := range d.buckets {
		b := &d.buckets[i]
		if b.free = b.size[Ready]; !w.isOpen(b) {
			b.free = 0
		}
	}
	for _, t := range w.Tried {
		b := d.bucket(t)
		if i := d.place[t]; i < b.first+b.free {
			b.free--
			d.swap(i, b.first+b.free)
		}
	}
}

// pickAt returns the slot at ticket x of those in the buckets from this one on, of
// which each slot that is ready and untried has as many as it has weight.
func (d *Draw) pickAt(from int, x int64) Slot {
	b := &d.buckets[from]
	for ; x >= int64(b.Weight)*int64(b.free); b = &d.buckets[from] {
		x -= int64(b.Weight) * int64(b.free)
		from++
	}
	return d.order[int64(b.first)+x/int64(b.Weight)]
}

// below returns a random number from 0 to n-1; r may be nil: the runtime's generator.
func below(n int64, r *rand.Rand) int64 {
	if r != nil {
		return r.Int64N(n)
	}
	return rand.Int64N(n)
}
