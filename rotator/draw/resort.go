package draw

import (
	"math/rand/v2"
	"slices"
)

// lastResort returns the best of the slots that are not ready and may be asked: the
// suspects, then the spare ones.
func (d *Draw) lastResort(w *Want) (Drawn, bool) {
	for k := Suspect; k < Out; k++ {
		for i := range d.buckets {
			b := &d.buckets[i]
			if t, ok := d.nextOf(b, k, w); ok {
				b.hands[k] = d.place[t.slot] - b.start(k) + 1
				return d.drawn(t.slot, k), true
			}
		}
	}
	return Drawn{}, false
}

func (d *Draw) drawn(s Slot, k Kind) Drawn {
	return Drawn{Slot: s, Suspect: k == Suspect && d.marks.of(s).Limit, Convicted: k == Spare}
}

// mayTry tells whether the request may go out with a slot of the kind.
func (d *Draw) mayTry(s Slot, k Kind, w *Want) bool {
	if slices.Contains(w.Tried, s) {
		return false
	}
	if k != Suspect {
		return true
	}
	m := d.marks.of(s)
	return !(m.Limit && w.Limited) && !(m.Stated && w.Refused)
}

// fewLooks is how many slots are looked at for one to explore: there is another request.
const fewLooks = 8

// explore returns a slot that the request may find out about, since another one is ready:
// a suspect that is ripe, or a spare one that would rest for long.
func (d *Draw) explore(at int64, w *Want) (Slot, bool) {
	tier, ok := d.lowestReady()
	if !ok {
		return 0, false
	}
	for i := range d.buckets {
		if d.buckets[i].Tier > tier {
			break // what costs more than what is ready is not explored
		}
		for k := Suspect; k < Out; k++ {
			if s, ok := d.unexplored(&d.buckets[i], k, at, w); ok {
				return s, true
			}
		}
	}
	return 0, false
}

// lowestReady returns the lowest tier that has a ready slot.
func (d *Draw) lowestReady() (tier uint8, ok bool) {
	for i := range d.buckets {
		if d.buckets[i].size[Ready] > 0 {
			return d.buckets[i].Tier, true
		}
	}
	return 0, false
}

func (d *Draw) unexplored(b *bucket, k Kind, at int64, w *Want) (Slot, bool) {
	for range min(b.size[k], fewLooks) {
		b.hands[k] = (b.hands[k] + 1) % b.size[k]
		s := d.order[b.start(k)+b.hands[k]]
		m := d.marks.of(s)
		due := k == Suspect && m.Ripe <= at || k == Spare && m.Spare-at > int64(w.Explore)
		if due && !slices.Contains(w.Tried, s) && d.claim(s) {
			return s, true
		}
	}
	return 0, false
}

// pickAmong is Choose for a request that some slots alone can serve.
func (d *Draw) pickAmong(w *Want, r *rand.Rand) (Drawn, bool) {
	for k := Ready; k < Out; k++ {
		if s, ok := d.pickOf(k, w, r); ok {
			return d.drawn(s, k), true
		}
	}
	return Drawn{}, false
}

// pickOf returns the first of those slots or, where that is not of the kind, draws one of
// them. It draws without knowing how many there are to draw from: the n-th of them takes
// the place of the one before with a probability of 1/n.
func (d *Draw) pickOf(k Kind, w *Want, r *rand.Rand) (picked Slot, ok bool) {
	n := int64(0)
	for i, s := range w.Among {
		if d.KindOf(s) != k || !d.mayTry(s, k, w) {
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
