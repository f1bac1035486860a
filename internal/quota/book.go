package quota

import (
	"hash/maphash"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// MaxClients is how many clients a pool tells apart that the config does not name. While
	// so many have used something that still counts, further ones share one allowance.
	MaxClients = 100_000

	// maxName is how much of a client's name tells it from others, in bytes.
	maxName = 256

	shards = 256 // of a book, so that requests of different clients mostly do not meet

	// sweepEvery is how long a shard is left alone after it was looked through for clients
	// of which nothing counts any more.
	sweepEvery = 10 * moment
)

// Book is what a pool's clients have used. It outlives configs. It is safe for concurrent use.
type Book struct {
	most   int64
	kept   atomic.Int64 // clients
	shards [shards]shard
	rest   shard // those for whom there is no room, as one
}

type shard struct {
	mu    sync.Mutex
	all   map[string]*Allowance
	swept int64    // when
	_     [40]byte // to the next cache line
}

// books holds the process's books by the pools' names: as many as there are in configs.
var books sync.Map

// BookOf returns the pool's book.
func BookOf(pool string) *Book {
	b, ok := books.Load(pool)
	if !ok {
		b, _ = books.LoadOrStore(pool, newBook(MaxClients))
	}
	return b.(*Book)
}

func newBook(most int64) *Book { return &Book{most: most} }

var seed = maphash.MakeSeed()

// Enter makes the place of a client's request that comes now, and needs so much; nil: the plan
// has no limit for the client. It allocates once for a client that is known. Of the
// plans of several configs that have not ended, the one that was made last counts.
func (b *Book) Enter(p *Plan, client string, at int64, n Need) *Stay {
	client = client[:min(len(client), maxName)]
	for {
		a := b.find(p, client, at)
		if a == nil {
			return nil
		}
		if s, ok := a.enter(p, client, at, n); ok {
			return s
		}
	}
}

// enter is Enter for the allowance's client. It reports false where that has another one by
// now.
func (a *Allowance) enter(p *Plan, client string, at int64, n Need) (s *Stay, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.dropped:
		return nil, false
	case p.succeeds(a.plan) && !a.renew(p, client):
		return nil, true
	}
	a.open(at)
	a.borrow(at)
	s = &Stay{client: client}
	s.enter(a, at, n)
	return s, true
}

// renew adopts what another plan has for the client, and tells whether that is anything. The
// lock is held.
func (a *Allowance) renew(p *Plan, client string) bool {
	t := p.Terms(client)
	if t != nil {
		a.adopt(t, p)
	}
	return t != nil
}

// find returns the client's allowance, which has no terms if it is new; nil: the plan has no
// limit for it.
func (b *Book) find(p *Plan, client string, at int64) *Allowance {
	s := &b.shards[maphash.String(seed, client)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.all[client]; a != nil {
		return a
	}
	if p.Terms(client) == nil {
		return nil
	}
	if at-s.swept >= sweepEvery {
		s.swept = at
		b.kept.Add(-s.sweep(at))
	}
	if b.kept.Add(1) > b.most && !p.Names(client) {
		b.kept.Add(-1)
		return b.rest.only()
	}
	return s.put(client)
}

// put adds an allowance for the client. The lock is held.
func (s *shard) put(client string) *Allowance {
	if s.all == nil {
		s.all = make(map[string]*Allowance)
	}
	a := &Allowance{client: strings.Clone(client)}
	s.all[a.client] = a
	return a
}

// only returns the one allowance of the shard.
func (s *shard) only() *Allowance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.all[""]; a != nil {
		return a
	}
	a := s.put("")
	a.client = "\x00" // no client's name
	return a
}

// sweep drops the clients of which nothing counts any more, and returns how many. The lock is
// held.
func (s *shard) sweep(at int64) (n int64) {
	for client, a := range s.all {
		a.mu.Lock()
		if a.dropped = a.idle(at); a.dropped {
			delete(s.all, client)
			n++
		}
		a.mu.Unlock()
	}
	return n
}

// Meters calls f with each meter of each client, by the client's name. f may take its time.
func (b *Book) Meters(f func(client string, m *Meter)) {
	for i := range b.shards {
		for client, a := range b.shards[i].copied() {
			for _, m := range a.now() {
				f(client, m)
			}
		}
	}
}

func (s *shard) copied() map[string]*Allowance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

// now returns the meters of this moment. Nobody changes the list.
func (a *Allowance) now() []*Meter {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.meters
}
