package meter

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limit is how much a pool lets go out with a key.
type Limit struct {
	Concurrency int           // requests under way at a time; 0: any number
	Requests    int           // in any window of the length Per; 0: any number
	Per         time.Duration // above 0 if Requests is
	Tokens      int64         // in any window of the length TokensPer; 0: any number
	TokensPer   time.Duration // above 0 if Tokens is
	ByModel     bool          // of each of a key's models, and not of the key
	Shared      bool          // Requests and Tokens of a key are shared among nodes: this one has a part of each
}

const (
	// MaxModels is how many models of a key are counted apart at a time: clients choose
	// their names. Further ones count together, as Others.
	MaxModels = 32

	// Others is what the models beyond the bound count as.
	Others = "*"
)

// Meter counts what goes out with a key that some pool has a limit for. It is safe for
// concurrent use; its lock is taken after all others.
type Meter struct {
	inFlight *atomic.Int32 // requests under way, which others read without the lock

	mu      sync.Mutex
	awaited bool  // a pool keeps the key from requests until one ends
	all     Count // its windows are those that every count has
	models  map[string]*Count
}

// New returns the meter of a key. It changes inFlight, which nobody else does from now on,
// but for a request that ends.
func New(inFlight *atomic.Int32) *Meter {
	return &Meter{inFlight: inFlight, models: make(map[string]*Count)}
}

// Measure makes the meter have what the limit asks for. What is new begins with what is
// known: the requests under way, and what another window has counted. wanted tells of a
// window that some pool still has a limit for it.
func (m *Meter) Measure(l *Limit, wanted func(tokens bool, per time.Duration) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.counts() {
		if l.Requests > 0 {
			c.measure(false, l.Per, wanted)
		}
		if l.Tokens > 0 {
			c.measure(true, l.TokensPer, wanted)
		}
	}
}

// counts returns all there are. m.mu is held.
func (m *Meter) counts() []*Count {
	all := append(make([]*Count, 0, 1+len(m.models)), &m.all)
	for _, c := range m.models {
		all = append(all, c)
	}
	return all
}

// Idle tells whether nothing is under way with the key, or was lately, that matters for a
// limit.
func (m *Meter) Idle(at int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inFlight.Load() <= 0 && !slices.ContainsFunc(m.counts(), func(c *Count) bool { return !c.idle(at) })
}

// Begin counts a request that no limit is asked for.
func (m *Meter) Begin(at int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight.Add(1)
	m.all.begin(at, 0)
}

// Room is until when a limit leaves none: not after now, if there is some; Forever: until a
// request ends.
type Room struct {
	Request int64 // for the request
	Any     int64 // for any request
}

// Reserve counts a request of so many tokens that begins with the key, if there is room for
// it, and returns what it counts for: nil if there is none.
func (m *Meter) Reserve(at int64, l *Limit, model string, tokens int64) (c *Count, r Room) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c = m.of(l, model, at)
	tokens = min(max(tokens, 0), l.Tokens)
	r.Request = m.roomFrom(at, c, l, tokens)
	fits := r.Request <= at
	if fits {
		m.inFlight.Add(1)
		m.all.begin(at, tokens)
		if c != &m.all {
			c.begin(at, tokens)
			c.underWay++
		}
	}
	r.Any = m.roomFrom(at, c, l, 1)
	full := max(r.Request, r.Any)
	m.await(c, at, full)
	c.hunger(at, full, tokens, l)
	if !fits {
		c = nil
	}
	return c, r
}

// await notes that there is no room until then, where the end of a request may make some
// before. m.mu is held.
func (m *Meter) await(c *Count, at, until int64) {
	m.awaited = m.awaited || until == Forever || until > at && c.held > 0
}

// roomFrom returns from when on there is room for so many tokens of a request. m.mu is held.
func (m *Meter) roomFrom(at int64, c *Count, l *Limit, tokens int64) int64 {
	underWay := c.underWay
	if c == &m.all {
		underWay = int(m.inFlight.Load())
	}
	if l.Concurrency > 0 && underWay >= l.Concurrency {
		// Whoever ends a request takes this lock after it: either it is counted already,
		// or the pools are told of the end.
		return Forever
	}
	return c.roomFrom(at, l, tokens)
}

// of returns the count that the limit is about. m.mu is held.
func (m *Meter) of(l *Limit, model string, at int64) *Count {
	if !l.ByModel {
		return &m.all
	}
	if c := m.models[model]; c != nil {
		return c
	}
	if len(m.models) >= MaxModels && !m.forget(at) {
		model = Others
	}
	c := m.models[model]
	if c == nil {
		c = m.all.like()
		m.models[strings.Clone(model)] = c
	}
	return c
}

// forget drops a model of which nothing is known, if there is one. m.mu is held.
func (m *Meter) forget(at int64) bool {
	for name, c := range m.models {
		if c.idle(at) {
			delete(m.models, name)
			return true
		}
	}
	return false
}

// Full returns until when there is no room for any request with the key, whatever its
// model: not after now, if there is some.
func (m *Meter) Full(at int64, l *Limit) int64 {
	if l.ByModel {
		return never
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	full := m.roomFrom(at, &m.all, l, 1)
	m.await(&m.all, at, full)
	return full
}

// FullModels returns the models of the key for which there is no room, and until when.
func (m *Meter) FullModels(at int64, l *Limit) map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	full := make(map[string]int64)
	for name, c := range m.models {
		if until := m.roomFrom(at, c, l, 1); l.ByModel && until > at {
			full[name] = until
		}
	}
	return full
}

// Used is what a request has used, in tokens.
type Used struct {
	Unknown       bool  // nobody knows: what was held for it counts
	Input, Output int64 // of the request, and of the answer
}

// Settle gives back what Reserve has held for the count, since then, and counts what the
// request has used: its own tokens from its beginning, those of the answer from now on.
func (m *Meter) Settle(c *Count, began, at, held int64, u Used) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.Unknown {
		u.Input, u.Output = held, 0
	}
	m.all.settle(began, at, held, u)
	if c != &m.all {
		c.settle(began, at, held, u)
		c.underWay--
	}
}

// Released reports whether pools are to be told that a request has ended.
func (m *Meter) Released() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	awaited := m.awaited
	m.awaited = false
	return awaited
}
