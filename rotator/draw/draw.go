// Package draw is which of a pool's slots can be drawn, and which is next: at random, in
// turns, by rank or by affinity; and, where none is ready, which may be asked all the same.
//
// It knows slots and marks, and of keys how each was used. What is true of a key, for whom
// and since when, and all locks, are rotator's. Whatever tells one slot from another when a
// request wants one goes here.
package draw

import (
	"math/rand/v2"
	"slices"
)

// Draw is the slots of a pool, and which of them can be drawn: all requests of a
// pool share one, but those of a scope in which a key cools. It takes 12 bytes a
// key, and 56 more for each that is not plainly ready. Times are nanoseconds since an
// epoch that is the caller's. Not safe for concurrent use.
type Draw struct {
	order    []Slot  // a permutation of all slots, bucket after bucket
	place    []int32 // slot → index in order
	buckets  []bucket
	bucketOf []uint16 // slot → index in buckets; nil: there is only one. It never changes
	tallies  []tally  // of the buckets
	marks    deadlines
	orders   *orders // nil: requests have no affinity
	readyIn  []int32 // cluster of orders → how many of its slots are ready
	readyOf  []int32 // likewise, of its parts; nil: each has only one
	uses     []*Use
	claim    func(Slot) bool
	even     bool // ready slots take turns; false: they are drawn at random
	first    bool // requests go to one slot until that is not ready …
	current  Slot // … which is this one
}

// New returns a draw in which all slots are ready. There is an error if there are too many
// combinations of ranks and lots.
func New(c Config) (Draw, error) {
	slots := len(c.Uses)
	buckets, of, err := makeBuckets(&c)
	if err != nil {
		return Draw{}, err
	}
	d := Draw{
		order: make([]Slot, slots), place: make([]int32, slots), buckets: buckets, bucketOf: of,
		tallies: make([]tally, len(buckets)), marks: newDeadlines(slots), uses: c.Uses, claim: c.Claim,
	}
	d.fill()
	if c.Secret != nil {
		d.obey(newOrders(&c))
	}
	switch {
	case c.First:
		d.first = true
	case c.Turns:
		d.takeTurns(c.Rand)
	}
	return d, nil
}

// fill makes the order: bucket after bucket, and in each the slots one after the other.
func (d *Draw) fill() {
	filled := make([]int32, len(d.buckets))
	for s := range Slot(len(d.order)) {
		i := 0
		if d.bucketOf != nil {
			i = int(d.bucketOf[s])
		}
		d.place[s] = d.buckets[i].first + filled[i]
		d.order[d.place[s]] = s
		filled[i]++
	}
}

// Clone returns a draw that goes its own way from here.
func (d *Draw) Clone() Draw {
	c := *d
	c.order, c.place = slices.Clone(d.order), slices.Clone(d.place)
	c.buckets, c.tallies, c.marks = slices.Clone(d.buckets), slices.Clone(d.tallies), d.marks.clone()
	c.readyIn, c.readyOf = slices.Clone(d.readyIn), slices.Clone(d.readyOf)
	return c
}

// Choose returns the slot that the request gets, and false if there is none; r may be nil:
// the runtime's generator. What has passed by then must have: see Expire.
func (d *Draw) Choose(at int64, w *Want, r *rand.Rand) (Drawn, bool) {
	w.at = at
	if w.Among == nil && w.Home > 0 {
		if s, ok := d.stay(w); ok {
			return Drawn{Slot: s}, true
		}
	}
	if w.Explore > 0 && w.Among == nil {
		if s, ok := d.explore(at, w); ok {
			return Drawn{Slot: s, Explores: true}, true
		}
	}
	for k := Ready; k < Out; k++ {
		if s, ok := d.choose(k, w, r); ok {
			return Drawn{Slot: s, Suspect: k == Suspect && d.marks.of(s).Limit, Convicted: k == Spare}, true
		}
	}
	return Drawn{}, false
}

// choose is Choose of the slots of a kind.
func (d *Draw) choose(k Kind, w *Want, r *rand.Rand) (Slot, bool) {
	if w.Among != nil {
		return d.pickAmong(k, w, r)
	}
	if k == Ready && w.Affinity != 0 && d.orders != nil {
		if s, ok := d.prefer(w); ok {
			return s, true
		}
	}
	switch {
	case k == Ready && d.first:
		return d.takeFirst(w)
	case k == Ready && !d.even:
		return d.pick(w, r)
	}
	return d.takeTurn(k, w, r)
}

// mayAsk tells whether the request may go out with the suspect.
func (d *Draw) mayAsk(s Slot, w *Want) bool {
	m := d.marks.of(s)
	return !(m.Limit && w.Limited) && !(m.Stated && w.Refused)
}

// pickAmong returns the first of Want.Among or, where that is not of the kind, draws one of
// them. It draws without knowing how many there are to draw from: the n-th of them takes
// the place of the one before with a probability of 1/n.
func (d *Draw) pickAmong(k Kind, w *Want, r *rand.Rand) (picked Slot, ok bool) {
	n := int64(0)
	for i, s := range w.Among {
		if d.KindOf(s) != k || !w.isOpen(d.bucket(s)) || slices.Contains(w.Tried, s) || k == Suspect && !d.mayAsk(s, w) {
			continue
		}
		if i == 0 {
			return s, true
		}
		if n++; below(n, r) == 0 {
			picked, ok = s, true
		}
	}
	return picked, ok
}

// Put gives the slot the mark, whatever it was before: one that says nothing makes it
// plainly ready.
func (d *Draw) Put(s Slot, m Mark, at int64) {
	d.unmark(s)
	if m.end() <= at {
		d.move(s, Ready)
		return
	}
	m.slot = s
	d.apply(m, at)
}

// apply makes of an unmarked, enabled slot what the mark says at that time.
func (d *Draw) apply(m Mark, at int64) {
	m.until = m.next(at)
	m.open = m.at(at) == Suspect && !m.Stated
	d.marks.set(m)
	d.tally(m.slot).count(&m, 1)
	d.move(m.slot, m.at(at))
}

// lift takes the slot's mark away, and leaves the slot where it is.
func (d *Draw) lift(s Slot) (m Mark) {
	m = *d.marks.of(s)
	d.marks.remove(s)
	d.tally(s).count(&m, -1)
	return m
}

// Extend keeps the slot out until then, unless it is out for longer, or disabled: Put
// tells when it is enabled.
func (d *Draw) Extend(s Slot, until int64, r Reason, at int64) {
	if d.disabled(s) {
		return
	}
	m := Cooling(until, r)
	m.slot = s
	if d.marks.has(s) {
		m = d.lift(s).Join(m)
	}
	d.apply(m, at)
}

// Disable takes the slot out for good: until Put.
func (d *Draw) Disable(s Slot) {
	d.unmark(s)
	d.move(s, Out)
	d.tally(s).off++
}

// unmark forgets what is known of the slot, and leaves it where it is.
func (d *Draw) unmark(s Slot) {
	if d.marks.has(s) {
		d.lift(s)
	} else if d.KindOf(s) == Out {
		d.tally(s).off--
	}
}

// disabled tells whether the slot is out for good.
func (d *Draw) disabled(s Slot) bool { return !d.marks.has(s) && d.KindOf(s) == Out }

// IsReady tells whether nothing is held against the slot.
func (d *Draw) IsReady(s Slot) bool {
	b := d.bucket(s)
	return d.place[s] < b.first+b.size[Ready]
}

// Expire lets what has changed by the passing of time be so. It is short so that it
// costs nothing where there is nothing to do.
func (d *Draw) Expire(at int64) {
	if len(d.marks.items) > 0 && d.marks.items[0].until <= at {
		d.pass(at)
	}
}

func (d *Draw) pass(at int64) {
	for len(d.marks.items) > 0 && d.marks.items[0].until <= at {
		s := d.marks.items[0].slot
		if m := d.lift(s); m.end() > at {
			d.apply(m, at)
		} else {
			d.move(s, Ready)
		}
	}
}

func (d *Draw) swap(i, j int32) {
	a, b := d.order[i], d.order[j]
	d.order[i], d.order[j] = b, a
	d.place[a], d.place[b] = j, i
}
