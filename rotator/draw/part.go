package draw

import "math/rand/v2"

// The slots of a bucket stand in parts: first those that are ready, then the suspects,
// the spare ones, and those that are out. Each of the first three is a circle that begins
// at its hand. Where slots take turns, those that were used stand behind it.

// ShortWay is how many slots a part may have, and how many buckets there may be, for it to
// be found out whose turn it is. Where there are more, the circle tells, and a slot that was
// away may come a round late.
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
		d.advance(b, Ready, s) // as if it had just been used
		d.shift(s, 1)
	}
}

// grow notes that so many more slots are of the kind. Those that are out are the rest.
func (b *bucket) grow(k Kind, by int32) {
	if k < Out {
		b.size[k] += by
	}
}

// hand returns where in the part the next turn is.
func (b *bucket) hand(k Kind) int32 {
	if b.hands[k] >= b.size[k] {
		return 0
	}
	return b.hands[k]
}

// leave takes the slot out of the circle: the last one is about to take its place, and must
// not have its turn sooner for that.
func (d *Draw) leave(b *bucket, s Slot) {
	hand := b.hand(Ready)
	if i := d.place[s]; i >= b.first+hand {
		d.swap(i, b.first+hand)
		hand++
	}
	b.hands[Ready] = min(hand, b.size[Ready]-1)
}

// advance puts the slot behind the hand of its part.
func (d *Draw) advance(b *bucket, k Kind, s Slot) {
	hand := b.hand(k)
	d.swap(d.place[s], b.start(k)+hand)
	b.hands[k] = hand + 1
}
