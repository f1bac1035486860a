package draw

import "math"

// Kind is how a slot can be used. The better ones come first.
type Kind uint8

// The kinds.
const (
	Ready   Kind = iota // nothing is held against it
	Suspect             // it was refused, and nobody knows yet whose fault that was
	Spare               // it cools, and may be asked again where nothing better is left
	Out                 // it cools, or is disabled
)

// Mark is what a draw knows of a slot that is not plainly ready: until when it is of
// each kind, the worst first.
type Mark struct {
	until   int64  // when something of it changes next: what the heap is ordered by
	Out     int64  // until when it is not used; Forever: until a request ends
	Spare   int64  // until when it is spare, from there on
	Suspect int64  // until when it is a suspect, from both on; Forever: until it is known better
	Shown   int64  // until when it counts as one that cools
	Ripe    int64  // a suspect: since when it may be explored
	slot    Slot   // whose it is
	Reason  Reason // what it counts as cooling for
	Limit   bool   // it is a suspect of a limit: the time alone cures it
	Stated  bool   // it is a suspect until a time that the upstream has stated
	open    bool   // it is a suspect of which nobody knows for how long
}

// Forever is later than any time that is known beforehand.
const Forever = math.MaxInt64

// Cooling is the mark of a slot that cools until then, and is not used before.
func Cooling(until int64, r Reason) Mark {
	return Mark{Out: until, Shown: until, Reason: r}
}

// at returns what the slot is at that time.
func (m *Mark) at(t int64) Kind {
	switch {
	case t < m.Out:
		return Out
	case t < m.Spare:
		return Spare
	case t < m.Suspect:
		return Suspect
	}
	return Ready
}

// end returns when nothing of it is left.
func (m *Mark) end() int64 { return max(m.Out, m.Spare, m.Suspect, m.Shown) }

// counts tells whether it counts as one that cools, before until.
func (m *Mark) counts() bool { return m.Shown >= m.until }

// next returns when something changes after t.
func (m *Mark) next(t int64) int64 {
	if t < m.Out {
		return m.Out
	}
	soonest := int64(Forever)
	for _, when := range [...]int64{m.Spare, m.Suspect, m.Shown} {
		if when > t {
			soonest = min(soonest, when)
		}
	}
	return soonest
}

// Join makes one mark of two: at each time the slot is what is worse.
func (m Mark) Join(other Mark) Mark {
	if other.Shown > m.Shown {
		m.Shown, m.Reason = other.Shown, other.Reason
	}
	if other.Suspect > m.Suspect {
		m.Suspect, m.Limit, m.Stated, m.Ripe = other.Suspect, other.Limit, other.Stated, other.Ripe
	}
	m.Out, m.Spare = max(m.Out, other.Out), max(m.Spare, other.Spare)
	return m
}
