package lease

import (
	"math"
	"time"
)

// claim is this node's part of one limit.
type claim struct {
	ceiling   int64   // how much is its own, as far as it knows
	until     int64   // when that lease is over
	level     int64   // the most that it should have …
	contested bool    // … since all nodes together want more than there is
	short     bool    // it got less than it had wanted
	owed      bool    // others may think that it has a part
	again     bool    // they may not know of it any more
	asked     int64   // when it was sent last
	refused   float64 // what was refused lately
	looked    int64   // when that was known
	ample     bool    // it keeps at hand a share of what nobody has
	known     bool    // others have answered, and left …
	room      int64   // … so much to this node, its own part among it
}

// reading is what a meter shows.
type reading struct{ at, most, per, used int64 }

// read looks at the meter.
func read(m Meter, at int64) reading {
	r := reading{at: at, most: min(max(m.Most(), 1), largest), per: max(int64(m.Per()), int64(time.Millisecond))}
	r.used = max(m.Used(at), 0)
	return r
}

// note takes up what was refused since the last look. Older refusals count less and less:
// who was refused and does not come back needs nothing. Where little is used, that takes
// longer: the next request does not come so soon.
func (c *claim) note(r reading, refused int64) {
	lately := float64(max(min(r.per/(r.used+1), r.per/4), r.per/32, int64(4*shortest)))
	if c.ample {
		lately = min(lately, float64(renewal))
	}
	c.refused = c.refused*math.Exp(-float64(max(r.at-c.looked, 0))/lately) + float64(max(refused, 0))
	c.looked = r.at
}

// lapse brings the ceiling to the fair share where the lease is over. A node that has less
// than that waits until what others may have used of their leases has left the window.
func (c *claim) lapse(r reading, w crowd) {
	if c.ample && c.known && r.per > int64(patience) {
		c.divide(r, w)
		return
	}
	fair := w.fair(r.most)
	if c.ample { // what it has used it goes on to have, and a little
		fair = max(fair, min(c.ceiling, r.used+w.spare(r.most)))
	}
	if c.ceiling > fair && r.at >= c.until || c.ceiling < fair && r.at >= w.alone(r.per) {
		c.ceiling = fair
	}
}

// divide is lapse for a window that is too long to wait for. The node keeps what it has. Of
// what nobody had when it was last answered, it takes its share, once.
func (c *claim) divide(r reading, w crowd) {
	if free := c.room - c.ceiling; free > 0 && r.at >= w.alone(r.per) {
		c.ceiling += free / w.count()
		c.room = c.ceiling
	}
}

// allowed is what the meter is told: the ceiling, or the spare if that is more.
func (c *claim) allowed(r reading, w crowd) int64 {
	if c.ample {
		return max(c.ceiling, w.little(r.most))
	}
	return max(c.ceiling, min(w.spare(r.most), r.most))
}

// wants returns what the node would like to have: what it uses, what it had to refuse, and
// a little more, to be going on with. Nothing, if nothing is used.
func (c *claim) wants(r reading, w crowd) int64 {
	refused := int64(min(c.refused+0.5, largest))
	if r.used+refused == 0 {
		return 0
	}
	return max(min(r.used+refused+c.head(r, w), r.most), min(r.used, largest))
}

// head is by how much more the node asks for than it needs now. Where others go without,
// and the limit is so small that this would be more than a 20th of it, that is nothing.
func (c *claim) head(r reading, w crowd) int64 {
	if c.contested && w.tight(r.most) {
		return 0
	}
	spare := w.spare(r.most)
	switch {
	case !c.ample || c.contested:
		return spare
	case w.lost != 0: // it goes on with what it has
		return max(spare, c.ceiling-r.used)
	case !c.known:
		return max(spare, r.most/(2*w.count()))
	}
	return max(spare, (c.room-r.used)/(w.count()+1))
}

// keeps returns how much of its part the node keeps: no more than it wants, nor than its
// level, but for what it has used.
func (c *claim) keeps(r reading, wants int64) int64 {
	if c.contested {
		wants = min(wants, c.level)
	}
	return max(wants, min(r.used, largest))
}

// due tells whether others must be asked, or told.
func (c *claim) due(r reading, w crowd, wants int64) bool {
	switch {
	case c.again, c.owed && r.at >= c.until-int64(renewal):
		return true
	case c.lacks(r, w, wants) && (!c.short || r.at-c.asked >= retry(r.per)):
		return true
	case c.ample && w.nodes > 1 && c.ceiling-r.used > w.spare(r.most) && r.at-c.asked >= review(r.per):
		return c.owed // others may want it by now
	}
	return c.owed && c.ceiling-c.keeps(r, wants) > c.slack(r, w, wants)
}

// review is how often a node asks whether others want what it keeps at hand.
func review(per int64) int64 { return min(max(per/32, int64(longest)/2), int64(renewal)) }

// lacks tells whether the node needs more before long: half of what it has beyond its needs
// is gone.
func (c *claim) lacks(r reading, w crowd, wants int64) bool {
	return wants-c.ceiling > c.head(r, w)/2
}

// slack is how much more than it wants a node keeps for now, so that it need not ask again at
// once. -1: it says so at any rate.
func (c *claim) slack(r reading, w crowd, wants int64) int64 {
	switch {
	case wants == 0:
		return -1
	case c.contested:
		return 0
	}
	return max(w.spare(r.most), c.head(r, w)/2)
}

// retry is when a node asks again that got less than it wanted.
func retry(per int64) int64 { return min(max(per/128, int64(shortest)), int64(longest)) }

// settle takes up an answer.
func (c *claim) settle(a Ask, sent int64, g Grant) {
	c.ceiling, c.until, c.level = g.Ceiling, sent+int64(Term), g.Level
	c.contested, c.short = g.Level < a.Most, g.Ceiling < a.Want
	c.owed, c.again = a.Want > 0 || g.Ceiling > 0, false
	c.known, c.room = true, g.Room
}
