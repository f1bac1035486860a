package keep

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

const (
	// pace is how often a book is read at least.
	pace = 5 * time.Minute

	// spread is for how long nodes wait at most until they bring back what a store has lost,
	// each for another time: so that one does, and the others see that it has.
	spread = 2 * time.Second

	// callCells is about how many cells are sent in one call.
	callCells = 400

	// Of minutes and days, how many are kept, and how many are read.
	minutes, oldMinutes = 60, 120
	days, oldDays       = 30, 31
)

// Book is what a node knows of a pool's counts: what it has sent, and what others have
// counted. It outlives configs, and with them keepers: of those that are to keep it, the one
// that has come last and works has it. It is safe for concurrent use.
type Book struct {
	pool   string
	node   string // of this process alone
	source Source

	mu      sync.Mutex // never held while a store is asked; taken before the source's
	keeper  *Keeper    // whose it is
	keepers []*Keeper  // that are to keep it, in the order in which they have come
	pages   map[Span]*page
	read    time.Time // when all was read last
	next    time.Time // when it is to be read again
}

// NewBook returns the pool's book, for what the source counts.
func NewBook(pool string, source Source) *Book {
	return &Book{pool: pool, node: rand.Text()[:12], source: source, pages: make(map[Span]*page)}
}

// Others calls yield for all that others have counted, and this node before its start, as
// far as it knows.
func (b *Book) Others(yield func(Span, Cell)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for span, p := range b.pages {
		for name, c := range p.others {
			yield(span, Cell{name, c})
		}
	}
}

// page returns what is known of a span. b.mu is held.
func (b *Book) page(span Span) *page {
	p := b.pages[span]
	if p == nil {
		p = new(page)
		b.pages[span] = p
	}
	return p
}

// taken returns all that the source has ever given for the span.
func (b *Book) taken(span Span) func() []Cell {
	return func() []Cell { return b.source.Taken(span) }
}

// begin makes the keeper one that is to keep the book.
func (b *Book) begin(k *Keeper) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keepers = append(b.keepers, k)
	b.choose()
}

// end ends what begin began: once.
func (b *Book) end(k *Keeper) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.keepers, k); i >= 0 {
		b.keepers = slices.Delete(b.keepers, i, i+1)
	}
	b.choose()
}

// turn notes that a keeper of the book has begun to work.
func (b *Book) turn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.choose()
}

// choose gives the book to the last of its keepers that works: one of a config that does not
// run yet, or never will, takes it from nobody. Where none works it goes to the last that still
// may; and where there is none, who had it sends what is left. b.mu is held.
func (b *Book) choose() {
	for _, fits := range [...]func(*Keeper) bool{(*Keeper).works, (*Keeper).waits} {
		for _, k := range slices.Backward(b.keepers) {
			if fits(k) {
				b.give(k)
				return
			}
		}
	}
}

// give makes the keeper have the book. What its store has nobody knows yet. b.mu is held.
func (b *Book) give(k *Keeper) {
	if b.keeper == k {
		return
	}
	b.keeper, b.read, b.next = k, time.Time{}, time.Time{}
	for _, p := range b.pages {
		p.lost, p.sure, p.at, p.refused = false, false, "", 0
	}
	k.rouse()
}

// of tells whether it is the keeper's. b.mu is held.
func (b *Book) of(k *Keeper) bool { return b.keeper == k }

// owes tells whether the keeper is still to send something.
func (b *Book) owes(k *Keeper) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(k) && b.anyOwes()
}

func (b *Book) anyOwes() bool {
	for _, p := range b.pages {
		if p.owes() {
			return true
		}
	}
	return false
}

// collect makes batches of what was counted, once all before that has been sent: so while the
// store is away nothing piles up here. b is the keeper's, or nothing happens.
func (b *Book) collect(k *Keeper, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.of(k) {
		return
	}
	b.forget(now)
	if b.anyOwes() {
		return
	}
	for span, cells := range b.source.Take() {
		b.page(span).add(now, cells)
	}
}

// forget drops what is too old to be told.
func (b *Book) forget(now time.Time) {
	minute, day := numbers(now)
	for span := range b.pages {
		if span.Day && span.Number <= day-oldDays || !span.Day && span.Number <= minute-oldMinutes {
			delete(b.pages, span)
		}
	}
}

func numbers(now time.Time) (minute, day int64) {
	minute = now.Unix() / 60
	return minute, minute / (24 * 60)
}

// due returns batches to be sent now.
func (b *Book) due(k *Keeper) (all []Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := callCells
	for span, p := range b.pages {
		if !b.of(k) || room <= 0 {
			break
		}
		for _, batch := range p.due(span, room) {
			all, room = append(all, batch), room-len(batch.Cells)
		}
	}
	return all
}

// settle takes up what the store says to batches. It reports whether it is worth while to go
// on.
func (b *Book) settle(k *Keeper, now time.Time, sent []Batch, had []int64) (goesOn bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := make(map[Span]int64) // of each span, which the last of its batches tells
	for i, batch := range sent {
		last[batch.Span] = had[i]
	}
	for span, n := range last {
		p := b.pages[span]
		switch {
		case p == nil || !b.of(k):
		case n == Lost, n == 0 && p.had > 0:
			p.refused++
			b.miss(now, p)
		default:
			before := p.had
			p.refused = 0
			if p.accept(now, n, b.taken(span)) {
				b.soon(now) // it may have lost more
			}
			goesOn = goesOn || p.had > before
		}
	}
	return goesOn
}

// miss notes that the store has lost a span.
func (b *Book) miss(now time.Time, p *page) {
	if p.misses(); !p.sure {
		b.soon(now)
	}
}

// soon makes all be read again soon, at some moment. b.mu is held.
func (b *Book) soon(now time.Time) { b.next = now.Add(jitter(spread)) }

// asks returns what is to be read, if it is time to, or if somebody asks who wants nothing
// that is older than that.
func (b *Book) asks(k *Keeper, now time.Time, oldest time.Time) (spans []Span, versions []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.of(k) || now.Before(b.next) && !b.read.Before(oldest) {
		return nil, nil
	}
	minute, day := numbers(now)
	for n := minute + 1; n > minute-minutes; n-- { // also of nodes whose clocks are ahead
		spans = append(spans, Span{b.pool, false, n})
	}
	for n := day + 1; n > day-days; n-- {
		spans = append(spans, Span{b.pool, true, n})
	}
	spans = b.withLost(spans)
	for _, span := range spans {
		version := ""
		if p := b.pages[span]; p != nil && !p.lost {
			version = p.at
		}
		versions = append(versions, version)
	}
	return spans, versions
}

// withLost adds the spans that are lost, whenever they are: a clock may have been set back, or
// the store was away for long. They are to be brought back, and all others wait for that.
func (b *Book) withLost(spans []Span) []Span {
	for span, p := range b.pages {
		if p.lost && !slices.Contains(spans, span) {
			spans = append(spans, span)
		}
	}
	return spans
}

// learn takes up what the store has of a span.
func (b *Book) learn(k *Keeper, now time.Time, span Span, s Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[span]
	switch {
	case !b.of(k):
	case s.Same && p != nil: // and nothing is there that this node has sent since
		p.accept(now, p.mine, b.taken(span))
	case s.Version != "" && !s.Same:
		b.take(now, b.page(span), span, s)
	case s.Version == "" && p != nil && p.known:
		p.at = ""
		b.miss(now, p)
	case s.Version == "" && p != nil: // the store had something there that was not sound
		p.lost, p.doubts = false, 0
	}
}

// take takes up what is in a snapshot. b.mu is held.
func (b *Book) take(now time.Time, p *page, span Span, s Snapshot) {
	had := s.Had[b.node]
	switch {
	case s.Unsound:
		if !p.distrust(s, b.node) {
			b.soon(now)
		}
	case p.anew(s, b.node):
		p.merge(s)
	default:
		p.learn(s, p.own(had, b.source.Taken(span)), b.node)
		p.accept(now, had, b.taken(span))
		p.insist(s)
	}
}

// hasRead notes that all was read.
func (b *Book) hasRead(k *Keeper, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.of(k) {
		return
	}
	b.read, b.next = now, now.Add(pace-jitter(pace/2))
	if b.losesAny() {
		b.soon(now)
	}
}

func (b *Book) losesAny() bool {
	for _, p := range b.pages {
		if p.lost {
			return true
		}
	}
	return false
}

// hurry makes the book be read at the next opportunity.
func (b *Book) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = time.Time{}
}

// isFresh tells whether all was read since then.
func (b *Book) isFresh(then time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.read.Before(then)
}

// missing returns the spans that the store has lost, the oldest last: these change no more.
func (b *Book) missing(k *Keeper) (spans []Span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for span, p := range b.pages {
		if b.of(k) && p.lost && p.sure {
			spans = append(spans, span)
		}
	}
	slices.SortFunc(spans, func(a, b Span) int { return int(b.Number - a.Number) })
	return spans
}

// whole returns what the store should have of a span, in place of which version.
func (b *Book) whole(span Span) (version string, s Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(span)
	return p.at, p.whole(b.node, b.source.Taken(span))
}

// restored notes that the span is there again, from this node or from another one: what that
// has is read next.
func (b *Book) restored(k *Keeper, span Span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.pages[span]; p != nil && b.of(k) {
		p.lost, p.sure, p.at = false, false, ""
		b.next = time.Time{}
	}
}
