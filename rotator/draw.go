package rotator

import (
	"math/rand/v2"
	"slices"
	"time"
)

// draw is the slots of a pool, and which of them can be drawn: all requests of a
// pool share one, but those of a scope in which a key cools. It takes 13 bytes a
// key, and 16 more for each that cools. Not safe for concurrent use.
type draw struct {
	order    []Slot  // a permutation of all slots, bucket after bucket
	place    []int32 // slot → index in order
	buckets  []bucket
	bucketOf []uint8 // slot → index in buckets; nil: there is only one. It never changes
	cooling  deadlines
	reasons  []Reason // slot → why it cools; meaningful while it does
	counts   [MaxReasons]int
	busy     int     // cooling slots whose deadline is forever
	off      int     // disabled slots: neither ready nor in cooling
	orders   *orders // nil: requests have no affinity
	readyIn  []int32 // cluster of orders → how many of its slots are ready
}

// newDraw returns a draw in which all slots are ready; ranks may be nil.
func newDraw(slots int, ranks []Rank) (draw, error) {
	buckets, of, err := makeBuckets(slots, ranks)
	if err != nil {
		return draw{}, err
	}
	d := draw{
		order:    make([]Slot, slots),
		place:    make([]int32, slots),
		buckets:  buckets,
		bucketOf: of,
		cooling:  newDeadlines(slots),
		reasons:  make([]Reason, slots),
	}
	filled := make([]int32, len(buckets))
	for s := range Slot(slots) {
		i := 0
		if of != nil {
			i = int(of[s])
		}
		d.place[s] = buckets[i].first + filled[i]
		d.order[d.place[s]] = s
		filled[i]++
	}
	return d, nil
}

// clone returns a draw that goes its own way from here.
func (d *draw) clone() draw {
	c := *d
	c.order, c.place, c.reasons = slices.Clone(d.order), slices.Clone(d.place), slices.Clone(d.reasons)
	c.buckets, c.cooling, c.readyIn = slices.Clone(d.buckets), d.cooling.clone(), slices.Clone(d.readyIn)
	return c
}

// choose returns the slot that the request gets; r may be nil: the runtime's generator.
func (d *draw) choose(w Want, r *rand.Rand) (Slot, bool) {
	if w.Among != nil {
		return d.pickAmong(w.Among, w.Tried, r)
	}
	if w.Affinity != 0 && d.orders != nil {
		if s, ok := d.prefer(w.Affinity, w.Tried); ok {
			return s, true
		}
	}
	return d.pick(w.Tried, r)
}

// pick draws one of the ready slots that are not in tried; r may be nil.
func (d *draw) pick(tried []Slot, r *rand.Rand) (Slot, bool) {
	if d.bucketOf != nil {
		return d.pickRanked(tried, r)
	}
	n := int(d.buckets[0].ready)
	for _, t := range tried {
		// Ready keys that this request has tried go behind the ones to draw from.
		if i := d.place[t]; int(i) < n {
			n--
			d.swap(i, int32(n))
		}
	}
	switch {
	case n == 0:
		return 0, false
	case r != nil:
		return d.order[r.IntN(n)], true
	default:
		return d.order[rand.IntN(n)], true
	}
}

// ready returns how many slots are ready.
func (d *draw) ready() int { return len(d.order) - len(d.cooling.items) - d.off }

func (d *draw) census(at int64) Census {
	c := Census{Keys: len(d.order), Ready: d.ready(), Disabled: d.off, Cooling: d.counts, Busy: d.busy}
	if len(d.cooling.items) > d.busy {
		c.Soonest = time.Duration(d.cooling.items[0].until - at)
	}
	return c
}

// until returns when the slot has cooled, never if it does not cool.
func (d *draw) until(s Slot) int64 {
	if !d.cooling.has(s) {
		return never
	}
	return d.cooling.items[d.cooling.at[s]].until
}

// cool makes the slot cool until then, unless it is disabled: the state tells when
// it is enabled.
func (d *draw) cool(s Slot, until int64, r Reason) {
	switch {
	case d.disabled(s):
		return
	case d.cooling.has(s):
		d.uncount(s)
	default:
		d.makeUnready(s)
	}
	d.cooling.set(s, until)
	d.reasons[s] = r
	d.counts[r]++
	if until == forever {
		d.busy++
	}
}

// extend is cool, unless the slot cools for longer.
func (d *draw) extend(s Slot, until int64, r Reason) {
	if until >= d.until(s) {
		d.cool(s, until, r)
	}
}

// uncount takes a slot that cools out of the counts.
func (d *draw) uncount(s Slot) {
	d.counts[d.reasons[s]]--
	if d.until(s) == forever {
		d.busy--
	}
}

// disable takes the slot out for good.
func (d *draw) disable(s Slot) {
	d.free(s)
	d.makeUnready(s)
	d.off++
}

// free makes the slot ready, whatever it was.
func (d *draw) free(s Slot) {
	switch {
	case d.disabled(s):
		d.off--
	case d.cooling.has(s):
		d.uncount(s)
		d.cooling.remove(s)
	default:
		return
	}
	d.makeReady(s)
}

// disabled tells whether the slot is in neither of the sets.
func (d *draw) disabled(s Slot) bool { return !d.isReady(s) && !d.cooling.has(s) }

func (d *draw) isReady(s Slot) bool {
	b := d.bucket(s)
	return d.place[s] < b.first+b.ready
}

// expire makes ready what has cooled long enough. It is short so that it costs
// nothing where there is nothing to do.
func (d *draw) expire(at int64) {
	if len(d.cooling.items) > 0 && d.cooling.items[0].until <= at {
		d.pop(at)
	}
}

func (d *draw) pop(at int64) {
	for len(d.cooling.items) > 0 && d.cooling.items[0].until <= at {
		s := d.cooling.pop()
		d.counts[d.reasons[s]]--
		d.makeReady(s)
	}
}

// makeReady puts a slot that does not cool any more among the ready ones.
func (d *draw) makeReady(s Slot) {
	b := d.bucket(s)
	d.swap(d.place[s], b.first+b.ready)
	b.ready++
	d.shift(s, 1)
}

// makeUnready takes a slot out of the ready ones.
func (d *draw) makeUnready(s Slot) {
	b := d.bucket(s)
	b.ready--
	d.swap(d.place[s], b.first+b.ready)
	d.shift(s, -1)
}

func (d *draw) swap(i, j int32) {
	a, b := d.order[i], d.order[j]
	d.order[i], d.order[j] = b, a
	d.place[a], d.place[b] = j, i
}
