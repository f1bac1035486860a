package draw

import "math/rand/v2"

// takeTurn returns the slot of the kind whose turn it is, of the lowest tier that has one
// that the request may get. Those of one tier have turns in proportion to their weights: of
// each request, the slots that it may get are owed what they would get of it on average.
func (d *Draw) takeTurn(k Kind, w *Want, r *rand.Rand) (Slot, bool) {
	for from, to := 0, 0; from < len(d.buckets); from = to {
		to = d.tierEnd(from)
		if t := d.nextOfTier(d.buckets[from:to], k, w, r); t.rank != nil {
			d.advance(d.bucket(t.slot), k, t.slot)
			return t.slot, true
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

// nextOfTier takes the turn of one of the buckets, which are those of a tier.
func (d *Draw) nextOfTier(tier []bucket, k Kind, w *Want, r *rand.Rand) (best candidate) {
	rank, total := &tier[0], int64(0)
	for i := range tier {
		b := &tier[i]
		if b.Rank != rank.Rank {
			rank = b
		}
		if !w.isOpen(b) {
			continue
		}
		t, ok := d.nextOf(b, k, w)
		if !ok {
			continue
		}
		t.rank = rank
		gain := int64(b.Weight) * int64(b.size[k])
		rank.gain += gain
		total += gain
		if best.rank == nil || t.before(best, gain, r) {
			best = t
		}
	}
	if best.rank != nil {
		best.rank.credit--
		settle(tier, float64(total))
	}
	return best
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

// settle shares out a turn among the buckets of a tier.
func settle(tier []bucket, total float64) {
	for i := range tier {
		b := &tier[i]
		if b.gain == 0 {
			continue
		}
		b.credit = max(min(b.credit+float64(b.gain)/total, mostOwed), -mostOwed)
		b.gain = 0
	}
}

// nextOf returns the slot of a part whose turn it is, of those that the request may use: with
// the fewest requests under way, and of these the one that was not used for longest. Where
// there are many it is the next one in the circle that is not in use.
func (d *Draw) nextOf(b *bucket, k Kind, w *Want) (best candidate, ok bool) {
	part, i := d.order[b.start(k):][:b.size[k]], int(b.hand(k))
	for range min(len(part), ShortWay+len(w.Tried)) {
		if i == len(part) {
			i = 0
		}
		s := part[i]
		i++
		u := d.uses[s]
		inFlight, used := u.InFlight.Load(), u.LastUsed.Load()
		if ok && (inFlight > best.inFlight || inFlight == best.inFlight && used >= best.used) || !d.mayTry(s, k, w) {
			continue
		}
		best, ok = candidate{slot: s, inFlight: inFlight, used: used}, true
		if inFlight <= 0 && max(len(part), len(d.buckets)) > ShortWay {
			break
		}
	}
	return best, ok
}
