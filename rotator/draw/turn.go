package draw

import (
	"math/rand/v2"
	"slices"
)

// takeTurn returns the slot of the kind whose turn it is, of the lowest tier that has one
// that the request may get. Those of one tier have turns in proportion to their weights: of
// each request, the slots that it may get are owed what they would get of it on average.
func (d *Draw) takeTurn(k Kind, w *Want, r *rand.Rand) (Slot, bool) {
	for from, to := 0, 0; from < len(d.buckets); from = to {
		best, rank := candidate{}, &d.buckets[from]
		for rank.gain = 0; to < len(d.buckets) && d.buckets[to].Tier == rank.Tier; to++ {
			b := &d.buckets[to]
			if b.Rank != rank.Rank {
				rank, b.gain = b, 0
			}
			if t, ok := d.nextOf(b, k, w); ok {
				gain := int64(b.Weight) * int64(b.size[k])
				t.rank, rank.gain = rank, rank.gain+gain
				if best.rank == nil || t.before(best, gain, r) {
					best = t
				}
			}
		}
		if best.rank != nil {
			best.rank.settle(d.buckets[from:to])
			d.advance(d.bucket(best.slot), k, best.slot)
			return best.slot, true
		}
	}
	return 0, false
}

// candidate is a slot whose turn it may be. It has four fields: those with more are not
// kept in registers, and cost twice the time.
type candidate struct {
	rank     *bucket // the first one of its rank
	slot     Slot
	inFlight int32
	used     int64 // when it was last
}

// before tells whether the slot has its turn before one of another bucket. Where neither
// was used, chance decides.
func (t candidate) before(other candidate, gain int64, r *rand.Rand) bool {
	a, b := int64(t.inFlight)*int64(other.rank.Weight), int64(other.inFlight)*int64(t.rank.Weight)
	switch {
	case a != b:
		return a < b
	case t.rank.credit != other.rank.credit:
		return t.rank.credit > other.rank.credit
	case t.used != other.used:
		return t.used < other.used
	}
	return below(t.rank.gain, r) < gain
}

// mostOwed is how many turns the slots of a rank are owed at most, or have had too many:
// what they missed beyond it, since they had more requests under way for long, is forgiven.
const mostOwed = 2

// settle shares out the turn that the bucket's rank takes among those of its tier.
func (b *bucket) settle(tier []bucket) {
	total := int64(0)
	for i := range tier {
		total += tier[i].gain
	}
	if b.gain == total {
		return // there is no other rank
	}
	b.credit--
	for i := range tier {
		other := &tier[i]
		other.credit = max(min(other.credit+float64(other.gain)/float64(total), mostOwed), -mostOwed)
	}
}

// behind is added to the requests under way with a slot that has little left: so it comes
// after all others of its tier, and is used where there are none.
const behind = 1 << 24

// nextOf returns the slot of a part whose turn it is, of those that the request may use: with
// the fewest requests under way, and of these the one that was not used for longest. Past
// ShortWay it is the next one in the circle that is not in use.
func (d *Draw) nextOf(b *bucket, k Kind, w *Want) (best candidate, ok bool) {
	if !w.isOpen(b) {
		return best, false
	}
	part, i := d.order[b.start(k):][:b.size[k]], int(b.hand(k))
	for range min(len(part), ShortWay+len(w.Tried)) {
		if i == len(part) {
			i = 0
		}
		s := part[i]
		i++
		u := d.uses[s]
		inFlight, used := u.InFlight.Load(), u.LastUsed.Load()
		if u.Little.Load() > w.at && u.Model.Load() == w.Mark {
			inFlight += behind
		}
		if ok && (inFlight > best.inFlight || inFlight == best.inFlight && used >= best.used) {
			continue
		}
		if slices.Contains(w.Tried, s) || k == Suspect && !d.mayAsk(s, w) {
			continue
		}
		best, ok = candidate{slot: s, inFlight: inFlight, used: used}, true
		if inFlight <= 0 && max(len(part), len(d.buckets)) > ShortWay {
			break
		}
	}
	return best, ok
}
