package draw

import "time"

// MaxReasons bounds Reason. Each key counts by it.
const MaxReasons = 10

// Reason says why a key cools. The engine attaches no meaning to it: it keeps
// the reason beside the deadline and counts the cooling keys of each. Values
// are below MaxReasons.
type Reason uint8

// Census is a pool at one instant.
type Census struct {
	Keys     int             // all
	Ready    int             // neither cooling nor disabled
	Free     int             // those that nothing is held against
	Unstated int             // suspects of which nobody knows for how long
	Usable   int             // those that a request may go out with: ready, suspect, or as a last resort
	Disabled int             // by an operator, whether or not they would be cooling
	Cooling  [MaxReasons]int // the others, by the reason why they cool
	Busy     int             // of those, the ones that are ready when a request ends, at any time
	Soonest  time.Duration   // until the first of the rest is ready or may be asked; 0 when there are none
}

// tally is what is counted of a bucket's slots.
type tally struct {
	counts   [MaxReasons]int32 // marks that count as cooling, by reason
	marks    int32
	busy     int32 // slots that are out until a request ends
	unstated int32 // suspects of which nobody knows for how long
	off      int32 // disabled slots: out, and without a mark
}

// count counts a mark, or ceases to.
func (t *tally) count(m *Mark, by int32) {
	t.marks += by
	if m.counts() {
		t.counts[m.Reason] += by
	}
	if m.Out == Forever {
		t.busy += by
	}
	if m.open {
		t.unstated += by
	}
}

// tally returns that of the slot's bucket.
func (d *Draw) tally(s Slot) *tally {
	if d.bucketOf == nil {
		return &d.tallies[0]
	}
	return &d.tallies[d.bucketOf[s]]
}

// Census counts all slots. What has passed by then must have: see Expire.
func (d *Draw) Census(at int64) Census { return d.CensusFor(at, &Want{}) }

// CensusFor counts the slots that the request may get: those of Want.Among, if it says so,
// whose lots are not shut. It takes O(len(w.Among)) or a look at each bucket and, where lots
// are shut, at each mark in these that changes before the first of the others.
func (d *Draw) CensusFor(at int64, w *Want) (c Census) {
	if w.Among != nil {
		return d.censusAmong(at, w)
	}
	marks := int32(0)
	for i := range d.buckets {
		if w.isOpen(&d.buckets[i]) {
			c.addAll(&d.buckets[i], d.end(i), &d.tallies[i])
			marks += d.tallies[i].marks
		}
	}
	if marks == 0 {
		return c
	}
	if soonest := d.soonest(0, Forever, w); soonest < Forever {
		c.Soonest = time.Duration(soonest - at)
	}
	return c
}

// end returns the index after the bucket's last slot.
func (d *Draw) end(i int) int32 {
	if i+1 < len(d.buckets) {
		return d.buckets[i+1].first
	}
	return int32(len(d.order))
}

// addAll counts the slots of a bucket.
func (c *Census) addAll(b *bucket, end int32, t *tally) {
	keys := int(end - b.first)
	c.Keys += keys
	c.Ready += keys - int(t.off)
	for r, n := range t.counts {
		c.Cooling[r] += int(n)
		c.Ready -= int(n)
	}
	for _, n := range b.size {
		c.Usable += int(n)
	}
	c.Free += int(b.size[Ready])
	c.Disabled += int(t.off)
	c.Busy += int(t.busy)
	c.Unstated += int(t.unstated)
}

// soonest returns when the first mark of an open lot changes, of those that the one at i of
// the heap comes before, if that is before best.
func (d *Draw) soonest(i int, best int64, w *Want) int64 {
	if i >= len(d.marks.items) || d.marks.items[i].until >= best {
		return best
	}
	if m := &d.marks.items[i]; w.isOpen(d.bucket(m.slot)) {
		return m.until
	}
	return d.soonest(2*i+2, d.soonest(2*i+1, best, w), w)
}

func (d *Draw) censusAmong(at int64, w *Want) (c Census) {
	for _, s := range w.Among {
		if !w.isOpen(d.bucket(s)) {
			continue
		}
		if c.Keys++; d.disabled(s) {
			c.Disabled++
			continue
		}
		if k := d.KindOf(s); k < Out {
			c.Usable++
			if k == Ready {
				c.Free++
			}
		}
		c.add(d.marks.of(s), at)
	}
	return c
}

// add counts a slot that is not disabled; nil is the mark of one that is plainly ready.
func (c *Census) add(m *Mark, at int64) {
	if m == nil || !m.counts() {
		c.Ready++
	} else {
		c.Cooling[m.Reason]++
	}
	if m != nil && m.open {
		c.Unstated++
	}
	switch {
	case m == nil:
	case m.Out == Forever:
		c.Busy++
	case m.until < Forever && (c.Soonest == 0 || time.Duration(m.until-at) < c.Soonest):
		c.Soonest = time.Duration(m.until - at)
	}
}
