package quota

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The limits of the model, small enough to be met.
const (
	modelRequests = 5
	modelTokens   = 100
	modelBudget   = 300
	modelAtOnce   = 3
	modelPer      = 32 * time.Second
)

// model is what a client's allowance should be, by a list of all that has happened.
type model struct {
	t    testing.TB
	book *Book
	plan *Plan
	now  int64

	open     []modelStay
	requests []spent // that have an answer, or may get one
	used     []spent // tokens
}

type modelStay struct {
	stay *Stay
	held int64
	at   int64
}

func newModel(t testing.TB) *model {
	m := &model{t: t, book: newBook(10), now: start, plan: planOf(
		sliding(Requests, modelRequests, modelPer), sliding(Tokens, modelTokens, modelPer), Limit{Concurrency, modelAtOnce, Period{}},
		Limit{TokenBudget, modelBudget, Period{Calendar: Day, Zone: time.UTC}},
	)}
	m.book.Enter(m.plan, "ada", m.now, Need{}).Leave(m.now) // from here on there is one
	return m
}

// within sums what happened within the last while, and by how much that may be counted more.
func within(all []spent, now int64, per time.Duration) (least, most int64) {
	for _, s := range all {
		if s.at > now-int64(per) {
			least += s.n
		}
		if s.at > now-int64(per)-int64(per)/windowParts {
			most += s.n
		}
	}
	return least, most
}

// today sums what was used since the day began.
func (m *model) today() (n int64) {
	const day = int64(24 * time.Hour)
	for _, s := range m.used {
		if s.at/day == m.now/day {
			n += s.n
		}
	}
	return n
}

func (m *model) held() (n int64) {
	for _, o := range m.open {
		n += o.held
	}
	return n
}

// enter sends a request, and compares whether it finds room with whether it should.
func (m *model) enter(need int64) {
	s := m.book.Enter(m.plan, "ada", m.now, Need{Tokens: need})
	over, refused := s.Over()
	if refused {
		m.refused(s, over, need)
		return
	}
	least, _ := within(m.requests, m.now, modelPer)
	tokens, _ := within(m.used, m.now, modelPer)
	fits := func(used, most int64) bool { return used == 0 || used+max(need, 1) <= most }
	if least >= modelRequests || len(m.open) >= modelAtOnce || !fits(tokens+m.held(), modelTokens) || !fits(m.today()+m.held(), modelBudget) {
		m.t.Fatalf("a request that needs %d passes: %d requests, %d under way, %d tokens, %d today, %d held", need, least, len(m.open), tokens, m.today(), m.held())
	}
	m.open = append(m.open, modelStay{s, need, m.now})
	m.requests = append(m.requests, spent{m.now, 1})
}

// refused checks that a request was refused for a reason, and holds nothing.
func (m *model) refused(s *Stay, over Over, need int64) {
	_, most := within(m.requests, m.now, modelPer)
	_, tokens := within(m.used, m.now, modelPer)
	need = max(need, 1)
	switch {
	case over.Kind == Requests && most >= modelRequests:
	case over.Kind == Concurrency && len(m.open) >= modelAtOnce:
	case over.Kind == Tokens && tokens+m.held()+min(need, modelTokens) > modelTokens:
	case over.Kind == TokenBudget && m.today()+m.held()+min(need, modelBudget) > modelBudget:
	default:
		m.t.Fatalf("a request that needs %d meets %+v: %d requests, %d tokens, %d today, %d held", need, over, most, tokens, m.today(), m.held())
	}
	if over.Wait <= 0 {
		m.t.Fatalf("it is to wait for %d", over.Wait)
	}
	s.Leave(m.now)
}

// end ends one of the requests under way: with so many tokens, none stated, an error or no
// answer.
func (m *model) end(which, how int, used int64) {
	if len(m.open) == 0 {
		return
	}
	which %= len(m.open)
	o := m.open[which]
	m.open = append(m.open[:which:which], m.open[which+1:]...)
	switch how % 4 {
	case 0:
		served(o.stay, m.now, Need{used, 0})
	case 1:
		o.stay.Answer(200)
		used = o.held
	case 2:
		o.stay.Answer(500)
		used = 0
	default:
		used = 0
		m.forget(o.at)
	}
	o.stay.Leave(m.now)
	o.stay.Leave(m.now)
	m.used = append(m.used, spent{m.now, used})
}

// forget takes away a request that came then.
func (m *model) forget(at int64) {
	for i, r := range m.requests {
		if r.at == at {
			m.requests = append(m.requests[:i:i], m.requests[i+1:]...)
			return
		}
	}
}

// check compares all that is counted.
func (m *model) check() {
	a := m.book.find(m.plan, "ada", m.now)
	if a.underWay != int64(len(m.open)) || a.tokens != m.held() || a.cost != 0 {
		m.t.Fatalf("%d under way, %d held; want %d, %d", a.underWay, a.tokens, len(m.open), m.held())
	}
	for _, row := range []struct {
		kind Kind
		all  []spent
		held int64
	}{{Requests, m.requests, 0}, {Tokens, m.used, m.held()}} {
		least, most := within(row.all, m.now, modelPer)
		if got := a.meter(row.kind).Used(m.now) - row.held; got < least || got > most {
			m.t.Fatalf("%s: %d are counted, want %d to %d", row.kind, got, least, most)
		}
	}
	if got := a.meter(TokenBudget).Used(m.now); got != m.today()+m.held() {
		m.t.Fatalf("%d are counted today, want %d", got, m.today()+m.held())
	}
}

// step does what the bytes say.
func (m *model) step(op, arg byte) {
	switch op % 4 {
	case 0:
		m.enter(int64(arg) / 2)
	case 1:
		m.end(int(arg), int(op>>4), int64(arg))
	case 2:
		m.now += int64(arg) * int64(modelPer) / 64
	default:
		m.now += int64(arg) * int64(time.Millisecond)
		if op > 250 {
			m.now += int64(24 * time.Hour)
		}
	}
	m.check()
}

// FuzzAccounting compares an allowance with a list of all that has happened.
func FuzzAccounting(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		history := make([]byte, 600)
		for i := range history {
			history[i] = byte(r.IntN(256))
		}
		f.Add(history)
	}
	f.Fuzz(func(t *testing.T, history []byte) {
		m := newModel(t)
		for i := 0; i+1 < len(history) && i < 4000; i += 2 {
			m.step(history[i], history[i+1])
		}
		for len(m.open) > 0 {
			m.end(0, 0, 1)
		}
		m.check()
	})
}

// However many come at once, no more are under way than may be, and no more tokens are used
// than there are.
func TestAllAtOnce(t *testing.T) {
	const atOnce, tokens, each = 7, 1000, 30
	b, p := newBook(10), planOf(Limit{Concurrency, atOnce, Period{}}, sliding(Tokens, tokens, time.Hour))
	var underWay, used, passed atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				s := b.Enter(p, "ada", start, Need{Tokens: each})
				if _, refused := s.Over(); refused {
					continue
				}
				if n := underWay.Add(1); n > atOnce {
					t.Errorf("%d are under way", n)
				}
				passed.Add(1)
				answered := passed.Load()%3 > 0
				underWay.Add(-1)
				if answered {
					used.Add(each)
					served(s, start, Need{each, 0})
				}
				s.Leave(start)
			}
		})
	}
	wg.Wait()
	a := b.find(p, "ada", start)
	if n := used.Load(); n > tokens || n != a.meter(Tokens).Used(start) || a.underWay != 0 || a.tokens != 0 {
		t.Errorf("%d tokens are used, %d counted; %d under way", n, a.meter(Tokens).Used(start), a.underWay)
	}
	if used.Load() < tokens-each {
		t.Errorf("only %d of %d tokens could be used", used.Load(), tokens)
	}
}
