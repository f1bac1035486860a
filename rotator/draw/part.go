package draw

import "math/rand/v2"

// The slots of a bucket stand in parts: first those that are ready, then the suspects,
// the spare ones, and those that are out. In each part of an even draw the ready ones
// stand in the order of their turns, in a circle that begins at the bucket's hand.

// ShortWay is among how many slots at most it is found out whose turn it is. Of more, the
// circle tells, and a slot that was away may come a round late.
const ShortWay = 64

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

// move makes the slot what the kind says. It takes a few swaps.
func (d *Draw) move(s Slot, to Kind) {
	from, b := d.KindOf(s), d.bucket(s)
	if from == to {
		return
	}
	if from == Ready {
		if d.even {
			d.leave(b, s)
		}
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
		if d.even {
			d.advance(b, s) // as if it had just been used
		}
		d.shift(s, 1)
	}
}

// grow notes that so many more slots are of the kind. Those that are out are the rest.
func (b *bucket) grow(k Kind, by int32) {
	if k < Out {
		b.size[k] += by
	}
}

// leave takes the slot out of the circle: the last one is about to take its place, and must
// not have its turn sooner for that.
func (d *Draw) leave(b *bucket, s Slot) {
	hand := &b.hands[Ready]
	if i := d.place[s]; i >= b.first+*hand {
		d.swap(i, b.first+*hand)
		*hand++
	}
	if *hand >= b.size[Ready]-1 {
		*hand = 0
	}
}

// advance puts the ready slot behind the hand.
func (d *Draw) advance(b *bucket, s Slot) {
	hand := &b.hands[Ready]
	d.swap(d.place[s], b.first+*hand)
	*hand = (*hand + 1) % b.size[Ready]
}

// takeTurn returns the ready slot whose turn it is, of the lowest tier that has one for the
// request. Buckets of one tier have turns in proportion to the weights of their slots.
func (d *Draw) takeTurn(w *Want) (Slot, bool) {
	for from, to := 0, 0; from < len(d.buckets); from = to {
		best, total := candidate{}, int64(0)
		for ; to < len(d.buckets) && d.buckets[to].Tier == d.buckets[from].Tier; to++ {
			t, ok := d.nextOf(&d.buckets[to], Ready, w)
			if !ok {
				continue
			}
			gain := int64(t.bucket.weight()) * int64(t.bucket.size[Ready])
			t.bucket.credit += gain
			total += gain
			if best.bucket == nil || t.before(best) {
				best = t
			}
		}
		if best.bucket != nil {
			best.bucket.credit -= total
			settle(d.buckets[from:to], total)
			d.advance(best.bucket, best.slot)
			return best.slot, true
		}
	}
	return 0, false
}

// settle forgives what buckets are owed that had more requests under way for long.
func settle(tier []bucket, most int64) {
	for i := range tier {
		tier[i].credit = max(min(tier[i].credit, most), -most)
	}
}

// candidate is a slot whose turn it may be.
type candidate struct {
	bucket   *bucket
	slot     Slot
	inFlight int32
	used     int64 // when it was last
}

// before tells whether the slot has its turn before one of another bucket.
func (t candidate) before(other candidate) bool {
	a, b := int64(t.inFlight)*int64(other.bucket.weight()), int64(other.inFlight)*int64(t.bucket.weight())
	return a < b || a == b && t.bucket.credit > other.bucket.credit
}

func (b *bucket) weight() uint8 { return max(b.Weight, 1) }

// nextOf returns the slot of a part whose turn it is, of those that the request may use: with
// the fewest requests under way, and of these the one that was not used for longest. Where
// there are many it is the next one in the circle that is not in use.
func (d *Draw) nextOf(b *bucket, k Kind, w *Want) (best candidate, ok bool) {
	part := d.order[b.start(k):][:b.size[k]]
	for i := range min(len(part), ShortWay+len(w.Tried)) {
		s := part[(int(b.hands[k])+i)%len(part)]
		u := d.uses[s]
		inFlight, used := u.InFlight.Load(), u.LastUsed.Load()
		if ok && (inFlight > best.inFlight || inFlight == best.inFlight && used >= best.used) || !d.mayTry(s, k, w) {
			continue
		}
		best, ok = candidate{b, s, inFlight, used}, true
		if len(part) > ShortWay && inFlight <= 0 {
			break
		}
	}
	return best, ok
}
