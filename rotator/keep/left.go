package keep

import (
	"maps"
	"slices"
	"time"
)

// maxLeft bounds how much a page remembers of stores that it has left: two for each.
const maxLeft = 8

// left is how much of what this node has counted was in the stores that it has left, by the
// last batch that each had. It may come back to one: by then it has counted more, which
// another store had meanwhile, and the batches are not at hand any more.
type left map[int64]map[string]Counts

// note takes up a store that is left. What two stores can be, none is.
func (l *left) note(had int64, own map[string]Counts) {
	if *l == nil {
		*l = make(left)
	}
	if was, twice := (*l)[had]; twice && !maps.Equal(was, own) {
		own = nil
	}
	(*l)[had] = own
	if len(*l) > maxLeft {
		delete(*l, slices.Min(slices.Collect(maps.Keys(*l))))
	}
}

// mayGrow tells whether anything may still be counted in the span.
func (s Span) mayGrow(now time.Time) bool {
	minute, day := numbers(now)
	return s.Day && s.Number >= day-1 || !s.Day && s.Number >= minute-1
}

// move makes the page find out what another store has of it.
func (p *page) move() {
	p.lost, p.sure, p.at, p.moved = false, false, "", true
}

// leave notes what the store has that is left: or will have, if a call is under way.
func (p *page) leave(taken []Cell) {
	for _, had := range [...]int64{p.had, p.made} {
		if had > 0 && !p.lost && !p.moved {
			p.left.note(had, p.own(had, taken))
		}
	}
}

// back returns what is this node's in a store with so many of its batches, if that is one to
// which it has come back.
func (p *page) back(had int64) map[string]Counts {
	if !p.moved {
		return nil
	}
	return p.left[had]
}

// goOn makes the next batches of all that has come in since the node has left the store.
func (p *page) goOn(now time.Time, had int64, own map[string]Counts, taken []Cell) {
	p.batches, p.had, p.made = nil, had, had
	var more []Cell
	for _, c := range taken {
		if rest := c.Minus(own[c.Name]); rest != (Counts{}) {
			more = append(more, Cell{c.Name, rest})
		}
	}
	p.add(now, more)
}
