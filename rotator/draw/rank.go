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
	MaxRank  = 100 // the highest tier, and the largest weight
	MaxRanks = 100 // how many different ranks the keys of a pool may have
)

// bucket is the slots of one rank: a stretch of a draw's order, in parts.
type bucket struct {
	Rank
	first  int32      // the index of its first slot
	size   [Out]int32 // how many of its slots are of each kind; the rest is out
	free   int32      // ready and untried, while a pick is under way
	hands  [Out]int32 // of the slots of each kind, which is looked at first: whose turn it is
	credit int64      // turns that the bucket is owed, against others of its tier
}

// makeBuckets returns a bucket for each rank, the lowest tier first, with all slots
// ready, and for each slot the number of its bucket: nil where there is only one.
func makeBuckets(slots int, ranks []Rank) ([]bucket, []uint8, error) {
	counts := make(map[Rank]int32)
	for _, r := range ranks {
		counts[r.normal()]++
	}
	if len(counts) > MaxRanks {
		return nil, nil, fmt.Errorf("%d different pairs of tier and weight are too many: at most %d", len(counts), MaxRanks)
	}
	if len(counts) <= 1 {
		return []bucket{{size: [Out]int32{Ready: int32(slots)}}}, nil, nil
	}
	buckets := make([]bucket, 0, len(counts))
	for r, n := range counts {
		buckets = append(buckets, bucket{Rank: r, size: [Out]int32{Ready: n}})
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return a.compare(b.Rank) })
	first, numbers := int32(0), make(map[Rank]uint8)
	for i := range buckets {
		buckets[i].first, numbers[buckets[i].Rank] = first, uint8(i)
		first += buckets[i].size[Ready]
	}
	of := make([]uint8, slots)
	for s, r := range ranks {
		of[s] = numbers[r.normal()]
	}
	return buckets, of, nil
}

func (r Rank) normal() Rank { return Rank{max(r.Tier, 1), max(r.Weight, 1)} }

func (r Rank) compare(other Rank) int {
	return cmp.Or(cmp.Compare(r.Tier, other.Tier), cmp.Compare(r.Weight, other.Weight))
}

// bucket returns the slot's.
func (d *Draw) bucket(s Slot) *bucket {
	if d.bucketOf == nil {
		return &d.buckets[0]
	}
	return &d.buckets[d.bucketOf[s]]
}

// pickRanked is pick where there are several buckets. It takes O(len(tried)) and a
// look at each bucket.
func (d *Draw) pickRanked(tried []Slot, r *rand.Rand) (Slot, bool) {
	d.setAside(tried)
	for from, to := 0, 0; from < len(d.buckets); from = to {
		total := int64(0)
		for ; to < len(d.buckets) && d.buckets[to].Tier == d.buckets[from].Tier; to++ {
			total += int64(d.buckets[to].Weight) * int64(d.buckets[to].free)
		}
		if total > 0 {
			return d.pickAt(from, below(total, r)), true
		}
	}
	return 0, false
}

// setAside puts the tried slots behind the ones to draw from.
func (d *Draw) setAside(tried []Slot) {
	for i := range d.buckets {
		d.buckets[i].free = d.buckets[i].size[Ready]
	}
	for _, t := range tried {
		b := &d.buckets[d.bucketOf[t]]
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
