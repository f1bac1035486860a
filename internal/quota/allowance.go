package quota

import (
	"slices"
	"sync"
)

// Need is what a request needs of what its client may use, as far as that can be told before
// the upstream is asked.
type Need struct {
	Tokens int64
	Cost   int64 // in billionths of a dollar
}

// Over is the limit that a request meets.
type Over struct {
	Kind Kind // None: it meets none
	Most int64
	Wait int64 // nanoseconds, until there is room if nothing else comes

	News bool // the client's request before met none
}

// Allowance is what one client has used, and holds. It outlives configs. It is safe for
// concurrent use.
type Allowance struct {
	client  string // its name
	mu      sync.Mutex
	plan    *Plan // that the terms are of; nil: there are none yet
	terms   *Terms
	meters  []*Meter
	dropped bool // the book has another one for the client by now
	over    bool // its last request has met a limit

	underWay, tokens, cost int64 // held
}

// Weight returns the weight of the client's requests, at least 1. a may be nil.
func (a *Allowance) Weight() int {
	if a == nil {
		return 1
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.terms.Weight, 1)
}

// What follows is called with the lock held.

// adopt makes these terms the client's. What was counted goes on to count where the kind of
// limit stays.
func (a *Allowance) adopt(t *Terms, p *Plan) {
	old := slices.Clone(a.meters)
	if a.plan != nil && (a.plan.lender != p.lender || a.plan.pool != p.pool) {
		for _, m := range old {
			m.repaid()
		}
	}
	if a.plan != nil && (a.plan.accounts != p.accounts || a.plan.pool != p.pool) {
		for _, m := range old {
			m.account = nil
		}
	}
	a.terms, a.plan, a.meters = t, p, make([]*Meter, len(t.Limits))
	for i, l := range t.Limits {
		a.meters[i] = takeMeter(old, func(m *Meter) bool { return m.kind == l.Kind && m.limit.Period.same(l.Period) })
	}
	for i, l := range t.Limits {
		if a.meters[i] == nil {
			a.meters[i] = takeMeter(old, func(m *Meter) bool { return m.kind == l.Kind })
		}
		if a.meters[i] == nil {
			a.meters[i] = &Meter{mu: &a.mu, kind: l.Kind, held: a.holds(l.Kind)}
		}
		a.meters[i].change(l)
	}
	for _, m := range old {
		if m != nil { // it is of use no more
			m.repaid()
		}
	}
}

// takeMeter takes the first that fits from the meters.
func takeMeter(meters []*Meter, fits func(*Meter) bool) (m *Meter) {
	i := slices.IndexFunc(meters, func(m *Meter) bool { return m != nil && fits(m) })
	if i < 0 {
		return nil
	}
	m, meters[i] = meters[i], nil
	return m
}

// holds returns where it stands what requests under way hold of the kind.
func (a *Allowance) holds(k Kind) *int64 {
	switch k {
	case Concurrency:
		return &a.underWay
	case Tokens, TokenBudget:
		return &a.tokens
	case USDBudget:
		return &a.cost
	}
	return nil
}

// idle tells whether nothing is known of the client that matters.
func (a *Allowance) idle(at int64) bool {
	if a.underWay > 0 {
		return false
	}
	for _, m := range a.meters {
		if m.used(at) > 0 {
			return false
		}
	}
	return true
}

// check returns the limit that stands in the way for longest, of those of the kinds.
func (a *Allowance) check(at int64, n Need, kinds func(Kind) bool) (over Over) {
	for _, m := range a.meters {
		if !kinds(m.kind) {
			continue
		}
		if wait := m.wait(at, n.of(m.kind)); wait > over.Wait {
			over = Over{Kind: m.kind, Most: m.limit.Most, Wait: wait}
		}
	}
	if over.Kind != None {
		over.News = !a.over
		a.over = true
	}
	return over
}

// of returns how much the request needs of what a limit of the kind counts.
func (n Need) of(k Kind) int64 {
	switch k {
	case Requests, Concurrency:
		return 1
	case USDBudget:
		return n.Cost
	}
	return n.Tokens
}

func anyKind(Kind) bool { return true }

func costs(k Kind) bool { return k == Tokens || k == TokenBudget || k == USDBudget }

// meter returns that of the kind, nil where there is none.
func (a *Allowance) meter(k Kind) *Meter {
	for _, m := range a.meters {
		if m.kind == k {
			return m
		}
	}
	return nil
}

// spend counts what an answer has used.
func (a *Allowance) spend(at int64, n Need) {
	for _, m := range a.meters {
		if costs(m.kind) {
			m.add(at, n.of(m.kind))
		}
	}
}
