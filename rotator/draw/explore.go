package draw

import "slices"

// fewLooks is how many slots are looked at for one to explore: there is another request.
const fewLooks = 8

// explore returns a slot that the request may find out about, since another one is ready:
// a suspect that is ripe, or a spare one that would rest for long.
func (d *Draw) explore(at int64, w *Want) (Slot, bool) {
	tier, ok := d.lowestReady(w)
	if !ok {
		return 0, false
	}
	for i := range d.buckets {
		if d.buckets[i].Tier > tier {
			break // what costs more than what is ready is not explored
		}
		for k := Suspect; k < Out && w.isOpen(&d.buckets[i]); k++ {
			if s, ok := d.unexplored(&d.buckets[i], k, at, w); ok {
				return s, true
			}
		}
	}
	return 0, false
}

// lowestReady returns the lowest tier that has a ready slot for the request.
func (d *Draw) lowestReady(w *Want) (tier uint8, ok bool) {
	for i := range d.buckets {
		if d.buckets[i].size[Ready] > 0 && w.isOpen(&d.buckets[i]) {
			return d.buckets[i].Tier, true
		}
	}
	return 0, false
}

func (d *Draw) unexplored(b *bucket, k Kind, at int64, w *Want) (Slot, bool) {
	for range min(b.size[k], fewLooks) {
		hand := b.hand(k)
		s := d.order[b.start(k)+hand]
		b.hands[k] = hand + 1
		m := d.marks.of(s)
		due := k == Suspect && m.Ripe <= at || k == Spare && m.Spare-at > int64(w.Explore)
		if due && !slices.Contains(w.Tried, s) && d.claim(s) {
			return s, true
		}
	}
	return 0, false
}
