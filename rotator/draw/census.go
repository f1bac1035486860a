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

// CensusAmong is Census of some of the slots, each given once.
func (d *Draw) CensusAmong(at int64, among []Slot) Census {
	c := Census{Keys: len(among)}
	for _, s := range among {
		if d.disabled(s) {
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
