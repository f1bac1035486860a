package draw

import (
	"math/rand/v2"
	"slices"
	"time"
)

// goodFor is for how long a key that has served counts as one that serves.
const goodFor = 10 * time.Minute

// widest is how many slots of a part are looked at for the best one.
const widest = 64

// lastResort returns the best of the slots that are not ready and may be asked: the
// suspects, then the spare ones.
func (d *Draw) lastResort(w *Want) (Drawn, bool) {
	for k := Suspect; k < Out; k++ {
		for from, to := 0, 0; from < len(d.buckets); from = to {
			to = d.alike(from)
			if s, ok := d.bestOfAll(d.buckets[from:to], k, w); ok {
				return d.drawn(s, k), true
			}
		}
	}
	return Drawn{}, false
}

// bestOfAll is bestOf for the buckets of one rank.
func (d *Draw) bestOfAll(buckets []bucket, k Kind, w *Want) (best Slot, ok bool) {
	for i := range buckets {
		if !w.isOpen(&buckets[i]) {
			continue
		}
		if s, found := d.bestOf(&buckets[i], k, w); found && (!ok || d.better(s, best)) {
			best, ok = s, true
		}
	}
	return best, ok
}

func (d *Draw) drawn(s Slot, k Kind) Drawn {
	return Drawn{Slot: s, Suspect: k == Suspect && d.marks.of(s).Limit, Convicted: k == Spare}
}

// bestOf returns the slot of a part that the request may use and that has served lately,
// or else was not used for longest.
func (d *Draw) bestOf(b *bucket, k Kind, w *Want) (best Slot, ok bool) {
	for range min(b.size[k], widest+int32(len(w.Tried))) {
		s := d.look(b, k)
		if d.mayTry(s, k, w) && (!ok || d.better(s, best)) {
			best, ok = s, true
		}
	}
	return best, ok
}

// look returns a slot of a part, which has some: the one after that which was looked at last.
func (d *Draw) look(b *bucket, k Kind) Slot {
	i := (b.looks[k] + 1) % b.size[k]
	b.looks[k] = i
	return d.order[b.start(k)+i]
}

// mayTry tells whether the request may go out with a slot of the kind, which is not ready.
func (d *Draw) mayTry(s Slot, k Kind, w *Want) bool {
	if slices.Contains(w.Tried, s) {
		return false
	}
	m := d.marks.of(s)
	return k != Suspect || !(m.Limit && w.Limited) && !(m.Stated && w.Refused)
}

func (d *Draw) better(s, other Slot) bool {
	if a, b := d.served(s), d.served(other); a != b {
		return a
	}
	return d.used(s) < d.used(other)
}

// served tells whether the slot's key has served not long before it was used last.
func (d *Draw) served(s Slot) bool {
	u := d.uses[s]
	at := int64(u.Served.Load()) * int64(time.Second)
	return at > 0 && u.LastUsed.Load()-at < int64(goodFor)
}

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
		s := d.look(b, k)
		m := d.marks.of(s)
		due := k == Suspect && m.Ripe <= at || k == Spare && m.Spare-at > int64(w.Explore)
		if due && !slices.Contains(w.Tried, s) && d.claim(s) {
			return s, true
		}
	}
	return 0, false
}

// pickAmong returns the first of the slots or, where that is not ready, draws one of
// them. It draws without knowing how many there are to draw from: the n-th of them takes
// the place of the one before with a probability of 1/n. Where none is ready, it
// returns the first that may be asked.
func (d *Draw) pickAmong(w *Want, r *rand.Rand) (picked Drawn, ok bool) {
	intN := rand.IntN
	if r != nil {
		intN = r.IntN
	}
	n := 0
	for i, s := range w.Among {
		if !d.IsReady(s) || slices.Contains(w.Tried, s) || !w.isOpen(d.bucket(s)) {
			continue
		}
		if i == 0 {
			return Drawn{Slot: s}, true
		}
		if n++; intN(n) == 0 {
			picked = Drawn{Slot: s}
		}
	}
	if n > 0 {
		return picked, true
	}
	return d.lastResortAmong(w)
}

func (d *Draw) lastResortAmong(w *Want) (Drawn, bool) {
	for k := Suspect; k < Out; k++ {
		for _, s := range w.Among {
			if d.KindOf(s) == k && w.isOpen(d.bucket(s)) && d.mayTry(s, k, w) {
				return d.drawn(s, k), true
			}
		}
	}
	return Drawn{}, false
}
