package quota

import (
	"strconv"
	"sync"
	"time"
)

// Meter is a limit of a client's and what counts against it, on this node. What requests
// under way hold counts as used. Units are those of [Limit]; times are Unix nanoseconds. It
// is safe for concurrent use.
type Meter struct {
	kind    Kind
	mu      *sync.Mutex // the allowance's
	held    *int64      // by requests under way; nil: they are counted when they come
	limit   Limit
	most    string  // how much there may be, for headers
	counter counter // nil: nothing counts but what is held
	leased  bool
	ceiling int64 // if leased: how much this node may use
	wanted  int64
	loan    *loan    // nil: there is none
	room    int64    // what other nodes leave of the limit, as far as it is known
	dry     int64    // since when that has been too little, and nothing was used; 0: it is not
	account *account // nil: nothing is kept
	came    bool     // what was used before the start has come
}

// Kind returns what the limit is about.
func (m *Meter) Kind() Kind { return m.kind }

// Most returns how much there may be.
func (m *Meter) Most() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limit.Most
}

// Per returns in which time: the longest that there is of the calendar's days and months;
// 0 for what may be under way at a time.
func (m *Meter) Per() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limit.Period.Longest()
}

// Used returns how much counts at that time. It may be more than there may be: what answers
// have used is known when they have ended.
func (m *Meter) Used(at int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used(at)
}

// Wanted returns how much was refused, since the last call, only because the ceiling is lower
// than what there may be.
func (m *Meter) Wanted(int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.wanted
	m.wanted = 0
	return n
}

// SetCeiling sets how much of what there may be this node may use by now; at first it may use
// all of it.
func (m *Meter) SetCeiling(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ceiling, m.leased = n, true
}

// What follows is called with the allowance's lock held.

func (m *Meter) used(at int64) (n int64) {
	if m.held != nil {
		n = *m.held
	}
	if m.counter != nil {
		n += m.counter.used(at)
	}
	return n
}

// wait returns for how long there is no room for n more, as far as can be told: what is under
// way may end at any time. 0: there is. With nothing used or held there is room for any
// number; with less than 1 left there is none for whatever it is.
func (m *Meter) wait(at, n int64) int64 {
	n = min(max(n, 1), m.limit.Most)
	used := m.used(at)
	if over := used + n - m.limit.Most; over > 0 {
		return m.until(at, over) - at
	}
	if !m.leased || used+n <= m.ceiling {
		return 0
	}
	if used <= m.ceiling && used+n <= m.room { // others leave so much: one may go ahead
		return 0
	}
	m.wanted = plus(m.wanted, n, mostInAll)
	return m.elsewhere(at, used+n)
}

// elsewhere returns for how long there is no room for so many, since other nodes have it. When
// that leaves the window, or is given back, nobody here knows; but they give back soon what
// they do not use, and a day or a month that they have used up ends.
func (m *Meter) elsewhere(at, n int64) int64 {
	if m.loan == nil || n <= m.room {
		return moment
	}
	if m.dry == 0 {
		m.dry = at
	}
	switch d, ok := m.counter.(*dated); {
	case ok && at-m.dry >= givenBack:
		return max(d.until-at, moment)
	case ok:
		return moment
	}
	return min(max(int64(m.limit.Period.Per)/windowParts, moment), longestGuess)
}

// until returns when so much has ended to count.
func (m *Meter) until(at, n int64) int64 {
	if m.counter == nil {
		return at + moment
	}
	if t := m.counter.from(at, n); t != never {
		return max(t, at+1)
	}
	return at + moment
}

// add counts what was used. It may be nil.
func (m *Meter) add(at, n int64) {
	if m != nil && m.counter != nil {
		m.counter.add(at, n)
		m.dry = 0
		m.account.note()
	}
}

// giveBack takes a request away again that has come at that time. m may be nil.
func (m *Meter) giveBack(at int64) {
	if m == nil {
		return
	}
	if w, ok := m.counter.(*window); ok {
		w.remove(at, 1)
		m.account.note()
	}
}

// left returns how much is left, and when all of it is there again.
func (m *Meter) left(at int64) (n, reset int64) {
	n = max(m.limit.Most-m.used(at), 0)
	if m.loan != nil {
		n = max(min(n, m.room-m.used(at)), 0)
	}
	reset = m.counter.clear(at)
	if m.held != nil && *m.held > 0 {
		reset = max(reset, at+int64(m.limit.Period.Per)) // if it ends now
	}
	return n, reset
}

// change makes the limit another one of the same kind.
func (m *Meter) change(l Limit) {
	if m.limit.Kind == None || !m.limit.Period.same(l.Period) {
		old := m.counter
		m.counter = newCounter(l.Period)
		m.repaid()
		m.account = nil
		if w, ok := m.counter.(*window); ok {
			if o, ok := old.(*window); ok {
				w.learn(o)
			}
		}
	}
	m.limit, m.most = l, strconv.FormatInt(l.Most, 10)
}
