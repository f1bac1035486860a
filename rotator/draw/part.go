package draw

import (
	"math/rand/v2"
	"slices"
)

// The slots of a bucket stand in parts: first those that are ready, then the suspects,
// the spare ones, and those that are out. In each part of an even draw the ready ones
// stand in the order of their turns, in a circle that begins at the bucket's hand.

// ShortWay is over how many slots the order of turns is kept exactly where slots come
// and go. Beyond it one slot may come a turn late.
const ShortWay = 256

// takeTurns makes the slots take turns, in a random order; r may be nil.
func (d *Draw) takeTurns(r *rand.Rand) {
	d.even = true
	for i := range d.buckets {
		b := &d.buckets[i]
		for n := int64(b.size[Ready]); n > 1; n-- {
			d.swap(b.first+int32(n-1), b.first+int32(below(n, r)))
		}
	}
}

// start returns the index of the first slot of a part.
func (b *bucket) start(k Kind) int32 {
	i := b.first
	for before := Ready; before < k; before++ {
		i += b.size[before]
	}
	return i
}

// KindOf returns what the slot is.
func (d *Draw) KindOf(s Slot) Kind {
	b := d.bucket(s)
	i := d.place[s] - b.first
	for k := Ready; k < Out; k++ {
		if i < b.size[k] {
			return k
		}
		i -= b.size[k]
	}
	return Out
}

// move makes the slot what the kind says. It takes a few swaps, and up to ShortWay
// more in an even draw.
func (d *Draw) move(s Slot, to Kind) {
	from, b := d.KindOf(s), d.bucket(s)
	if from == to {
		return
	}
	if from == Ready {
		d.leave(b, s)
		d.shift(s, -1)
	}
	for ; from < to; from++ {
		b.size[from]--
		d.swap(d.place[s], b.start(from)+b.size[from])
		b.grow(from+1, 1)
	}
	for ; from > to; from-- {
		d.swap(d.place[s], b.start(from))
		b.grow(from, -1)
		b.size[from-1]++
	}
	if to == Ready {
		d.join(b, s)
		d.shift(s, 1)
	}
}

// grow notes that so many more slots are of the kind. Those that are out are the rest.
func (b *bucket) grow(k Kind, by int32) {
	if k < Out {
		b.size[k] += by
	}
}

// leave makes the slot the last of the ready ones, and keeps the order of the others.
func (d *Draw) leave(b *bucket, s Slot) {
	if !d.even {
		return
	}
	last := b.size[Ready] - 1
	switch i := d.place[s] - b.first; {
	case last <= ShortWay:
		d.carry(b.first+i, b.first+last)
		if i < b.hand {
			b.hand--
		}
	case i >= b.hand:
		// The last one takes its place, and must not have its turn sooner for that.
		d.swap(b.first+i, b.first+b.hand)
		b.hand++
	}
	if b.hand >= last {
		b.hand = 0
	}
}

// join gives the slot, which is the last of the ready ones, its turn: the longer it was
// not used, the sooner.
func (d *Draw) join(b *bucket, s Slot) {
	others := b.size[Ready] - 1
	if !d.even || others == 0 {
		return
	}
	if others > ShortWay {
		d.swap(d.place[s], b.first+b.hand)
		b.hand = (b.hand + 1) % (others + 1)
		return
	}
	used, before := d.used(s), int32(0)
	for before < others && d.used(d.order[b.first+(b.hand+before)%others]) < used {
		before++
	}
	i := (b.hand + before) % others
	d.carry(d.place[s], b.first+i)
	if i < b.hand || before == others {
		b.hand++
	}
}

// carry moves the slot at one index to another one, and those between by one.
func (d *Draw) carry(from, to int32) {
	for ; from < to; from++ {
		d.swap(from, from+1)
	}
	for ; from > to; from-- {
		d.swap(from, from-1)
	}
}

// used returns when the slot's key was used last.
func (d *Draw) used(s Slot) int64 { return d.uses[s].LastUsed.Load() }

// takeTurn returns the ready slot whose turn it is, of the lowest tier that has one that
// the request may get: with the fewest requests under way, and of these the one that was
// not used for longest. Those of one tier have turns in proportion to their weights: of
// each request, the slots that it may get are owed what they would get of it on average.
func (d *Draw) takeTurn(w *Want, r *rand.Rand) (Slot, bool) {
	if d.bucketOf == nil {
		return d.takeTurnOf(&d.buckets[0], w)
	}
	for from, to := 0, 0; from < len(d.buckets); from = to {
		best, total := rival{}, int64(0)
		for ; to < len(d.buckets) && d.buckets[to].Tier == d.buckets[from].Tier; to = d.alike(to) {
			t := d.nextAlike(to, w, r)
			if t.bucket == nil {
				continue
			}
			total += t.rank.gain
			if best.bucket == nil || t.before(&best) {
				best = t
			}
		}
		if best.bucket != nil {
			best.rank.credit--
			settle(d.buckets[from:to], float64(total))
			return d.advance(best.candidate), true
		}
	}
	return 0, false
}

// takeTurnOf is takeTurn where there is one bucket.
func (d *Draw) takeTurnOf(b *bucket, w *Want) (Slot, bool) {
	if w.isOpen(b) {
		if t, ok := d.nextTurn(b, w.Tried); ok {
			return d.advance(t), true
		}
	}
	return 0, false
}

// mostOwed is how many turns buckets are owed at most, or have had too many: what they
// missed beyond it, since they had more requests under way for long, is forgiven.
const mostOwed = 2

// settle shares out a turn among the buckets of a tier.
func settle(tier []bucket, total float64) {
	for i := range tier {
		b := &tier[i]
		b.credit = max(min(b.credit+float64(b.gain)/total, mostOwed), -mostOwed)
		b.gain = 0
	}
}

// candidate is a slot whose turn it may be.
type candidate struct {
	bucket   *bucket
	index    int32 // of the slot among the ready ones
	inFlight int32
}

// rival is a candidate against those of other buckets.
type rival struct {
	candidate
	rank *bucket // the first one of its rank
	used int64   // when the slot was used last
}

func (t *rival) before(other *rival) bool {
	a, b := int64(t.inFlight)*int64(other.bucket.weight()), int64(other.inFlight)*int64(t.bucket.weight())
	return a < b || a == b && t.rank.credit > other.rank.credit
}

func (b *bucket) weight() uint8 { return max(b.Weight, 1) }

// nextAlike returns whose turn it is of the buckets of one rank from this one on.
func (d *Draw) nextAlike(from int, w *Want, r *rand.Rand) (best rival) {
	rank := &d.buckets[from]
	for i := from; i < len(d.buckets) && (i == from || d.buckets[i].Rank == rank.Rank); i++ {
		b := &d.buckets[i]
		if !w.isOpen(b) {
			continue
		}
		next, ok := d.nextTurn(b, w.Tried)
		if !ok {
			continue
		}
		weight := int64(b.weight()) * int64(b.size[Ready])
		rank.gain += weight
		t := rival{next, rank, d.used(d.order[b.first+next.index])}
		if best.bucket == nil || t.sooner(&best, weight, rank.gain, r) {
			best = t
		}
	}
	return best
}

// sooner tells whether it is this one's turn, and not that of the other lot, of those of
// one rank. Where neither was used, chance decides.
func (t *rival) sooner(other *rival, weight, of int64, r *rand.Rand) bool {
	switch {
	case t.inFlight != other.inFlight:
		return t.inFlight < other.inFlight
	case t.used != other.used:
		return t.used < other.used
	}
	return below(of, r) < weight
}

// nextTurn returns whose turn it is in the bucket. It looks at up to ShortWay slots that
// are in use or tried.
func (d *Draw) nextTurn(b *bucket, tried []Slot) (t candidate, ok bool) {
	n := b.size[Ready]
	if n <= ShortWay && d.shared.Load() {
		return d.nextOfAll(b, tried)
	}
	for k := range min(n, ShortWay+int32(len(tried))) {
		i := (b.hand + k) % n
		s := d.order[b.first+i]
		if len(tried) > 0 && slices.Contains(tried, s) {
			continue
		}
		inFlight := d.uses[s].InFlight.Load()
		if !ok || inFlight < t.inFlight {
			t, ok = candidate{b, i, inFlight}, true
		}
		if inFlight <= 0 {
			break
		}
	}
	return t, ok
}

// nextOfAll is nextTurn where other pools use the keys as well, whatever the order here: it
// looks at all ready slots.
func (d *Draw) nextOfAll(b *bucket, tried []Slot) (t candidate, ok bool) {
	n, least := b.size[Ready], int64(0)
	for k := range n {
		i := (b.hand + k) % n
		s := d.order[b.first+i]
		if slices.Contains(tried, s) {
			continue
		}
		inFlight, used := d.uses[s].InFlight.Load(), d.used(s)
		if !ok || inFlight < t.inFlight || inFlight == t.inFlight && used < least {
			t, least, ok = candidate{b, i, inFlight}, used, true
		}
	}
	return t, ok
}

// advance takes the turn: the slot stands behind the hand then, and those that were
// passed over before it.
func (d *Draw) advance(t candidate) Slot {
	b, n := t.bucket, t.bucket.size[Ready]
	s := d.order[b.first+t.index]
	switch {
	case t.index >= b.hand:
		d.carry(b.first+t.index, b.first+b.hand)
		b.hand = (b.hand + 1) % n
	case b.hand-t.index <= 2*ShortWay:
		d.carry(b.first+t.index, b.first+b.hand-1)
	default:
		d.swap(b.first+t.index, b.first+b.hand)
		b.hand = (b.hand + 1) % n
	}
	return s
}
