package draw

import "slices"

// stay returns the slot that the request has been with, if it gets that again: it is ready,
// and no lower tier has one that is.
func (d *Draw) stay(w *Want) (Slot, bool) {
	s := w.Home - 1
	if s < 0 || !d.IsReady(s) || slices.Contains(w.Tried, s) || !w.isOpen(d.bucket(s)) {
		return 0, false
	}
	for i := range d.buckets {
		if d.buckets[i].Tier >= d.bucket(s).Tier {
			break
		}
		if d.hasFree(&d.buckets[i], w) {
			return 0, false
		}
	}
	return s, true
}

// hasFree tells whether the request may get a ready slot of the bucket.
func (d *Draw) hasFree(b *bucket, w *Want) bool {
	n := b.size[Ready]
	for i, s := range w.Tried {
		if d.bucket(s) == b && d.IsReady(s) && !slices.Contains(w.Tried[:i], s) {
			n--
		}
	}
	return n > 0 && w.isOpen(b)
}

// takeFirst returns the slot that all requests go to by now or, where this one does not get
// that, the next one of the lowest tier that has one, in the order of the slots. The others
// follow when the slot is not ready any more.
func (d *Draw) takeFirst(w *Want) (Slot, bool) {
	for from, to := 0, 0; from < len(d.buckets); from = to {
		best, ok := Slot(0), false
		for ; to < len(d.buckets) && d.buckets[to].Tier == d.buckets[from].Tier; to++ {
			if !d.hasFree(&d.buckets[to], w) {
				continue
			}
			if s := d.firstIn(&d.buckets[to], w); !ok || d.ahead(s, d.current) < d.ahead(best, d.current) {
				best, ok = s, true
			}
		}
		if ok {
			if !d.IsReady(d.current) || d.bucket(best).Tier < d.bucket(d.current).Tier {
				d.current = best
			}
			return best, true
		}
	}
	return 0, false
}

// firstIn is takeFirst for a bucket that has a slot for the request. It looks at all ready
// ones where the last one is out, or not for this request.
func (d *Draw) firstIn(b *bucket, w *Want) Slot {
	if d.bucket(b.current) != b || !d.IsReady(b.current) {
		b.current = d.nextIn(b, nil)
	}
	if !slices.Contains(w.Tried, b.current) {
		return b.current
	}
	return d.nextIn(b, w.Tried)
}

// nextIn returns the ready slot of the bucket that comes first from its current one on, but
// for those tried. There must be one.
func (d *Draw) nextIn(b *bucket, tried []Slot) Slot {
	best := Slot(-1)
	for _, s := range d.order[b.first : b.first+b.size[Ready]] {
		if (best < 0 || d.ahead(s, b.current) < d.ahead(best, b.current)) && !slices.Contains(tried, s) {
			best = s
		}
	}
	return best
}

// ahead returns how many slots after the other one it stands, going round.
func (d *Draw) ahead(s, of Slot) Slot {
	if s < of {
		s += Slot(len(d.order))
	}
	return s - of
}
