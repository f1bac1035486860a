package quota

import (
	"strconv"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
)

// Lender divides limits among nodes: see lease.Book. It must be comparable.
type Lender interface {
	Lend(name string, m lease.Borrower, most int64) (ceiling int64)
}

// Over returns the plan as one of all nodes that the lender divides limits among, for the
// pool's clients. p may be nil, as may the lender: then each node counts for itself.
func (p *Plan) Over(pool string, l Lender) *Plan {
	if p == nil || l == nil {
		return p
	}
	shared := *p
	shared.pool, shared.lender, shared.serial = pool, l, serials.Add(1)
	return &shared
}

// names are what kinds of limits are called among nodes, where they are shared: what is under
// way at a time is each node's own.
var names = [kinds]string{Requests: "requests", Tokens: "tokens", TokenBudget: "tokens budget", USDBudget: "usd budget"}

// loan is this node's part of a limit in one of its periods, as a lease.Book sees it. It
// counts in units in which the largest limits are exact.
type loan struct {
	*Meter
	name  string
	unit  int64
	until int64 // the end of the calendar's day or month; never
	rests bool  // nobody looks at it; guarded by the meter's lock
}

// borrow gives the meters the node's parts of their limits, where they have none. It is called
// with the lock held.
func (a *Allowance) borrow(at int64) {
	if a.plan.lender == nil {
		return
	}
	for i, m := range a.meters {
		if names[m.kind] != "" && !m.borrows(at) {
			m.lend(a.plan.lender, a.nameOf(i, at), at)
		}
	}
}

// borrows tells whether the meter has its part for the time.
func (m *Meter) borrows(at int64) bool { return m.loan != nil && !m.loan.rests && at < m.loan.until }

// lend asks for the node's part.
func (m *Meter) lend(l Lender, name string, at int64) {
	if m.loan == nil || at >= m.loan.until {
		m.loan = &loan{Meter: m, name: name, unit: 1, until: m.end(at)}
		if m.kind == USDBudget {
			m.loan.unit = 1000
		}
		m.room, m.dry = m.limit.Most, 0
	}
	m.loan.rests = false
	m.part(l.Lend(m.loan.name, m.loan, m.loan.most()))
}

// end returns the end of the calendar's day or month.
func (m *Meter) end(at int64) int64 {
	if d, ok := m.counter.(*dated); ok {
		d.turn(at)
		return d.until
	}
	return never
}

// nameOf is what the i-th limit is called among nodes. Of the calendar's days and months each
// has its own.
func (a *Allowance) nameOf(i int, at int64) string {
	name, p := a.baseName(i), a.meters[i].limit.Period
	if p.Calendar == Sliding {
		return string(append(name, p.Per.String()...))
	}
	name = append(append(name, p.Zone.String()...), 0)
	return string(strconv.AppendInt(name, int64(p.number(time.Unix(0, at).In(p.Zone))), 10))
}

// baseName is what of the i-th limit's name says whose it is, and which.
func (a *Allowance) baseName(i int) []byte {
	m, which := a.meters[i], 0
	for _, other := range a.meters[:i] {
		if other.kind == m.kind && other.limit.Period.same(m.limit.Period) {
			which++
		}
	}
	name := []byte("client\x00" + a.plan.pool + "\x00" + a.client + "\x00" + names[m.kind] + "\x00")
	return append(strconv.AppendInt(name, int64(which), 10), 0)
}

// part sets how much the node may use, in the loan's units. The lock is held.
func (m *Meter) part(n int64) {
	m.ceiling, m.leased = min(n, m.loan.most())*m.loan.unit, true
	if n >= m.loan.most() {
		m.ceiling = m.limit.Most
	}
}

// repaid ends the loan, if there is one. The lock is held.
func (m *Meter) repaid() { m.loan, m.leased, m.room, m.wanted, m.dry = nil, false, 0, 0, 0 }

// most is Most with the lock held.
func (l *loan) most() int64 { return max(l.limit.Most/l.unit, 1) }

// holds tells whether it is the meter's at that time. The lock is held.
func (l *loan) holds(at int64) bool { return l.loan == l && at < l.until }

// units returns how many that are, rounded up.
func (l *loan) units(n int64) int64 { return (n + l.unit - 1) / l.unit }

// Most implements lease.Borrower, like the methods that follow.
func (l *loan) Most() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most()
}

// Used is nothing when the period is over.
func (l *loan) Used(at int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.holds(at) {
		return 0
	}
	return l.units(l.used(at))
}

// Wanted implements lease.Borrower.
func (l *loan) Wanted(at int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.holds(at) {
		return 0
	}
	n := l.units(l.wanted)
	l.wanted = 0
	return n
}

// SetCeiling implements lease.Borrower.
func (l *loan) SetCeiling(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loan == l {
		l.part(n)
	}
}

// SetRoom implements lease.Borrower.
func (l *loan) SetRoom(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loan == l {
		l.room = min(n, l.most()) * l.unit
	}
}

// Rest implements lease.Borrower.
func (l *loan) Rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rests = true
}

// Tail implements lease.Borrower.
func (l *loan) Tail(at int64) (tail []lease.Piece) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.holds(at) {
		return nil
	}
	l.counter.tail(at, func(n, left int64) {
		tail = append(tail, lease.Piece{N: l.units(n), Left: time.Duration(left)})
	})
	if l.held != nil && *l.held > 0 {
		tail = append(tail, lease.Piece{N: l.units(*l.held), Left: l.limit.Period.Longest()})
	}
	return tail
}
