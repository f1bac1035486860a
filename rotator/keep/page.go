package keep

import (
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// batchCells is how many cells go into a batch.
	batchCells = 200

	// memory is for how long batches are kept that the store has, in case that it loses
	// them again: longer than what is read to bring a span back may be old.
	memory = 2 * pace

	// memoryCells bounds these, for each span.
	memoryCells = 10_000
)

// page is what a node knows of a span.
type page struct {
	batches []batch // in order: of those that the store has the latest, and all that it is still to get
	had     int64   // the last batch that the store has
	made    int64   // the last one that there is

	known bool   // the store has had the span, and this node knows what was in it
	lost  bool   // but it is not there any more, or not sound
	sure  bool   // and was not when it was read again
	at    string // the version that was read; "": none
	mine  int64  // the last batch of this node that is in it

	doubts  int // how often it was read and not sound
	refused int // how often in a row the store took nothing, and had all of it when it was read

	part       // what other nodes have counted, and this one before its start
	past *part // the same before the store has lost it; nil: it has not
}

// part is what nodes have counted.
type part struct {
	others map[string]Counts
	marks  map[string]int64 // their last batches that are in it
}

// batch is one with the time when it was made.
type batch struct {
	seq   int64
	cells []Cell
	at    time.Time
}

// add makes batches of cells.
func (p *page) add(now time.Time, cells []Cell) {
	for few := range slices.Chunk(cells, batchCells) {
		p.made++
		p.batches = append(p.batches, batch{p.made, few, now})
	}
}

// owes tells whether the store is still to get something.
func (p *page) owes() bool { return p.had < p.made }

// due returns the batches that can be sent, as many as there is room for in that many cells,
// and one at least.
func (p *page) due(span Span, room int) (all []Batch) {
	for _, b := range p.batches {
		if b.seq <= p.had || p.lost {
			continue
		}
		if all = append(all, Batch{span, b.seq, p.known, b.cells}); len(b.cells) >= room {
			return all
		}
		room -= len(b.cells)
	}
	return all
}

// accept takes up how many batches the store has. taken returns all that there ever was. It
// reports whether the store has lost some.
func (p *page) accept(now time.Time, had int64, taken func() []Cell) (less bool) {
	p.known, p.lost, p.sure, p.past, p.doubts = true, false, false, nil, 0
	less = had < p.had
	switch {
	case p.had <= had && had <= p.made:
		p.had = had
	case had < p.had && len(p.batches) > 0 && p.batches[0].seq <= had+1:
		p.had = had // the store has lost some that are still at hand
	case had == 0:
		p.batches, p.had, p.made, p.at = nil, 0, 0, ""
		p.add(now, taken())
	default:
		p.renumber(had)
	}
	p.forget(now)
	return less
}

// renumber goes on from a number that the store cannot have from this node, or to which what
// is at hand does not reach back.
func (p *page) renumber(had int64) {
	if had > p.made {
		p.batches = slices.DeleteFunc(p.batches, func(b batch) bool { return b.seq <= p.had })
	}
	for i := range p.batches {
		p.batches[i].seq = had + int64(i) + 1
	}
	p.had, p.made, p.at = had, had+int64(len(p.batches)), ""
}

// forget drops batches that the store has for long, and the oldest where they are too many.
func (p *page) forget(now time.Time) {
	cells, first := 0, len(p.batches)
	for first > 0 {
		b := p.batches[first-1]
		if b.seq <= p.had {
			if cells += len(b.cells); cells > memoryCells || now.Sub(b.at) > memory {
				break
			}
		}
		first--
	}
	p.batches = slices.Delete(p.batches, 0, first)
}

// own is what of all that this node has ever counted is in what the store has, which says
// that it had so many batches.
func (p *page) own(had int64, taken []Cell) map[string]Counts {
	own := make(map[string]Counts, len(taken))
	if had == 0 {
		return own
	}
	for _, c := range taken {
		own[c.Name] = c.Counts
	}
	for _, b := range p.batches {
		for _, c := range b.cells {
			if b.seq > had {
				own[c.Name] = own[c.Name].Minus(c.Counts)
			}
		}
	}
	return own
}

// learn takes up what the store has.
func (p *page) learn(s Snapshot, own map[string]Counts, node string) {
	p.others, p.marks, p.at, p.mine = besides(s.Cells, own), s.Had, s.Version, s.Had[node]
	delete(p.marks, node)
}

// besides returns what is in a store's cells besides this node's own. A store counts names
// that are too many as Other, and which these are may change when a node brings the span back.
// But each number is in the cell of its name or in that of Other. So what of own is not in the
// one is in the other.
func besides(cells []Cell, own map[string]Counts) map[string]Counts {
	others, left := make(map[string]Counts), maps.Clone(own)
	for _, c := range cells {
		mine, ok := own[c.Name]
		if ok {
			left[c.Name] = mine.Minus(c.Counts)
		}
		if rest := c.Minus(mine); rest != (Counts{}) {
			others[c.Name] = rest
		}
	}
	for name, c := range left {
		other := name[:1] + Other
		if others[other] = others[other].Minus(c); others[other] == (Counts{}) {
			delete(others, other)
		}
	}
	return others
}

// distrust notes that what the store has is not sound. This node is to bring it back; one that
// has known nothing of it does that with what is sound there, if for some time none else has.
// It reports whether that is so.
func (p *page) distrust(s Snapshot, node string) bool {
	p.doubts++
	if !p.known && p.doubts < 10 {
		p.lost, p.sure = true, false
		return false
	}
	if !p.known {
		p.learn(s, nil, node)
	}
	p.at = s.Version
	p.misses()
	return p.sure
}

// anew tells whether a span that was known holds nothing of what it held: nodes have made it
// anew that do not know what that was, and nobody has brought it back.
func (p *page) anew(s Snapshot, node string) bool {
	was := &p.part
	if p.past != nil {
		was = p.past
	}
	for other := range s.Had {
		if _, known := was.marks[other]; known || other == node {
			return false
		}
	}
	return len(was.marks) > 0 || p.had > 0
}

// merge joins what the span holds with what it held. It is to be brought back like that.
func (p *page) merge(s Snapshot) {
	if p.past == nil {
		p.past = &part{p.others, p.marks}
	}
	p.part = part{make(map[string]Counts), make(map[string]int64)}
	maps.Copy(p.others, p.past.others)
	maps.Copy(p.marks, p.past.marks)
	maps.Copy(p.marks, s.Had)
	for _, c := range s.Cells {
		p.others[c.Name] = p.others[c.Name].Plus(c.Counts)
	}
	p.at, p.known, p.lost, p.sure = s.Version, true, true, true
}

// insist makes this node bring back a span that is sound when it is read, where the store has
// refused it again since that was so before: it is to take what it has at its word.
func (p *page) insist(s Snapshot) {
	if p.refused > 1 {
		p.at, p.lost, p.sure = s.Version, true, true
	}
}

// misses notes that the span is not there, or not sound.
func (p *page) misses() {
	p.sure, p.lost = p.lost, true
}

// whole is what the store should have, now that it has lost the span: all that others had
// counted when it was read last, and all that this node has. It has no more names than a store
// tells apart: first those of others.
func (p *page) whole(node string, taken []Cell) (s Snapshot) {
	all := bounded{sums: make(map[string]Counts)}
	for name, c := range p.others {
		all.add(name, c)
	}
	for _, c := range taken {
		all.add(c.Name, c.Counts)
	}
	for name, c := range all.sums {
		s.Cells = append(s.Cells, Cell{name, c})
	}
	s.Had = make(map[string]int64)
	maps.Copy(s.Had, p.marks)
	if p.made > 0 {
		s.Had[node] = p.made
	}
	return s
}

// bounded are sums by name, as a store has them: names beyond MaxNames are Other.
type bounded struct {
	sums  map[string]Counts
	names [len(Kinds)]int
}

func (b *bounded) add(name string, c Counts) {
	kind := strings.IndexByte(Kinds, name[0])
	sum, known := b.sums[name]
	if !known && b.names[kind] >= MaxNames[kind] {
		name = name[:1] + Other
		sum, known = b.sums[name]
	}
	if !known {
		b.names[kind]++
	}
	b.sums[name] = sum.Plus(c)
}
