package quota

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/catalog"
)

// start is when the tests begin.
const start = int64(1_764_300_000e9)

const second = int64(time.Second)

func sliding(k Kind, most int64, per time.Duration) Limit { return Limit{k, most, Period{Per: per}} }

// planOf is a plan with these limits for every client.
func planOf(limits ...Limit) *Plan { return NewPlan(nil, &Terms{Limits: limits}) }

// enters tells whether a client's request finds room.
func enters(t testing.TB, b *Book, p *Plan, client string, at int64, n Need) (*Stay, Over) {
	t.Helper()
	s := b.Enter(p, client, at, n)
	if s == nil {
		t.Fatalf("%s has no limit", client)
	}
	over, _ := s.Over()
	return s, over
}

// served ends a stay whose answer says that it has used so much.
func served(s *Stay, at int64, used Need) {
	s.Answer(200)
	s.Settle(at, used)
}

func TestRequestsInAWindow(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Requests, 3, 32*time.Second))
	for i := range int64(3) {
		s, over := enters(t, b, p, "ada", start+i*second, Need{})
		if over.Kind != None {
			t.Fatalf("request %d meets %v", i, over)
		}
		served(s, start+i*second, Need{})
	}
	s, over := enters(t, b, p, "ada", start+3*second, Need{})
	if over.Kind != Requests || over.Most != 3 || !over.News {
		t.Fatalf("the fourth meets %+v", over)
	}
	if _, again := enters(t, b, p, "ada", start+3*second, Need{}); again.News {
		t.Error("what is no news is told as such")
	}
	s.Leave(start + 4*second) // it holds nothing
	if _, early := enters(t, b, p, "ada", start+3*second+over.Wait-1, Need{}); early.Kind != Requests {
		t.Error("there is room before the time")
	}
	if s, late := enters(t, b, p, "ada", start+3*second+over.Wait, Need{}); late.Kind != None {
		t.Errorf("there is no room at the time: %+v", late)
	} else {
		served(s, start+60*second, Need{})
	}
	if _, other := enters(t, b, p, "grace", start, Need{}); other.Kind != None {
		t.Errorf("another client meets %+v", other)
	}
}

// A request that gets no answer is as if it had not been, also if it was not its turn.
func TestWithoutAnAnswer(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Requests, 1, time.Minute), sliding(Tokens, 100, time.Minute), Limit{Concurrency, 1, Period{}})
	for i := range 50 {
		s, over := enters(t, b, p, "ada", start, Need{Tokens: 80})
		if over.Kind != None {
			t.Fatalf("request %d meets %+v", i, over)
		}
		s.Leave(start)
		s.Leave(start)
		s.Settle(start, Need{50, 0})
	}
	a := b.find(p, "ada", start)
	if a.underWay != 0 || a.tokens != 0 || !a.idle(start) {
		t.Errorf("%+v is left", a)
	}
}

func TestTokensAreHeldAndSettled(t *testing.T) {
	for _, row := range []struct {
		what   string
		status int // 0: no answer
		used   int64
		left   int64 // of 1000, where 300 were held
	}{
		{"the answer says less", 200, 120, 880},
		{"the answer says more", 200, 700, 300},
		{"the answer says that it is nothing", 200, 0, 1000},
		{"the answer does not say", 200, Unknown, 700},
		{"a websocket says nothing", 101, Unknown, 700},
		{"the upstream's own error", 400, Unknown, 1000},
		{"an error that says what it used", 500, 50, 950},
		{"no answer", 0, Unknown, 1000},
		{"no answer, whatever was read", 0, 50, 1000},
	} {
		b, p := newBook(10), planOf(sliding(Tokens, 1000, time.Minute))
		s, _ := enters(t, b, p, "ada", start, Need{Tokens: 300})
		m := b.find(p, "ada", start).meter(Tokens)
		if got := m.Used(start); got != 300 {
			t.Errorf("%s: %d are held", row.what, got)
		}
		if row.status > 0 {
			s.Answer(row.status)
		}
		s.Settle(start, Need{row.used, Unknown})
		s.Leave(start + 1)
		if got := m.Most() - m.Used(start); got != row.left {
			t.Errorf("%s: %d are left, want %d", row.what, got, row.left)
		}
	}
}

// A request of any size passes if nothing is used or held, and only then.
func TestOneAlwaysPasses(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Tokens, 1000, 32*time.Second))
	s, over := enters(t, b, p, "ada", start, Need{Tokens: 50_000})
	if over.Kind != None {
		t.Fatalf("it meets %+v", over)
	}
	if _, over := enters(t, b, p, "ada", start, Need{Tokens: 1}); over.Kind != Tokens || over.Wait != moment {
		t.Errorf("another one beside it meets %+v", over)
	}
	served(s, start+5*second, Need{1, 0})
	if _, over = enters(t, b, p, "ada", start+5*second, Need{Tokens: 50_000}); over.Kind != Tokens {
		t.Errorf("the next one meets %+v", over)
	}
	if _, over := enters(t, b, p, "ada", start+5*second+over.Wait, Need{Tokens: 50_000}); over.Kind != None {
		t.Errorf("when nothing is used any more it meets %+v", over)
	}
}

func TestConcurrency(t *testing.T) {
	b, p := newBook(10), planOf(Limit{Concurrency, 2, Period{}})
	one, _ := enters(t, b, p, "ada", start, Need{})
	two, _ := enters(t, b, p, "ada", start, Need{})
	if _, over := enters(t, b, p, "ada", start, Need{}); over.Kind != Concurrency || over.Wait != moment {
		t.Fatalf("the third meets %+v", over)
	}
	served(one, start+second, Need{})
	if _, over := enters(t, b, p, "ada", start+second, Need{}); over.Kind != None {
		t.Errorf("when one has ended, it meets %+v", over)
	}
	two.Leave(start)
}

func TestBudgets(t *testing.T) {
	day := Period{Calendar: Day, Zone: zone(t, "Europe/Berlin")}
	b, p := newBook(10), planOf(Limit{USDBudget, 1e9, day}, sliding(TokenBudget, 1000, 24*time.Hour))
	noon := time.Date(2026, 10, 25, 12, 0, 0, 0, day.Zone)
	at := noon.UnixNano()
	s, _ := enters(t, b, p, "ada", at, Need{Tokens: 10, Cost: 1000})
	served(s, at, Need{100, 2e9})
	_, over := enters(t, b, p, "ada", at, Need{})
	if over.Kind != USDBudget || time.Duration(over.Wait) != 12*time.Hour {
		t.Fatalf("behind its budget, a request meets %+v", over)
	}
	if s, over = enters(t, b, p, "ada", at+over.Wait, Need{}); over.Kind != None {
		t.Errorf("the next day it meets %+v", over)
	}
	served(s, at+int64(12*time.Hour), Need{950, 0})
	if _, over := enters(t, b, p, "ada", at+int64(13*time.Hour), Need{}); over.Kind != TokenBudget {
		t.Errorf("behind the other, it meets %+v", over)
	}
}

// What is known later of a request's needs counts, or turns it away with all that it holds.
func TestRaise(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Requests, 10, time.Minute), sliding(Tokens, 1000, time.Minute))
	first, _ := enters(t, b, p, "ada", start, Need{Tokens: 10})
	first.Raise(start, Need{Tokens: 600})
	if over, is := first.Over(); is {
		t.Fatalf("it meets %+v", over)
	}
	second, _ := enters(t, b, p, "ada", start, Need{Tokens: 10})
	second.Raise(start, Need{Tokens: 600})
	if over, is := second.Over(); !is || over.Kind != Tokens {
		t.Errorf("the second meets %+v", over)
	}
	second.Leave(start)
	a := b.find(p, "ada", start)
	if a.underWay != 1 || a.tokens != 600 || a.meter(Requests).Used(start) != 1 {
		t.Errorf("%d under way, %d tokens, %d requests", a.underWay, a.tokens, a.meter(Requests).Used(start))
	}
	served(first, start, Need{1, 0})
	if got := a.meter(Tokens).Used(start); got != 1 || a.tokens != 0 {
		t.Errorf("%d are used, %d held", got, a.tokens)
	}
}

// A lower ceiling holds, and what it refuses is wanted.
func TestCeiling(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Tokens, 1000, time.Minute))
	s, _ := enters(t, b, p, "ada", start, Need{Tokens: 100})
	m := b.find(p, "ada", start).meter(Tokens)
	if m.Most() != 1000 || m.Per() != time.Minute || m.Kind() != Tokens || m.Used(start) != 100 || m.Wanted(start) != 0 {
		t.Errorf("%d in %s, %d used", m.Most(), m.Per(), m.Used(start))
	}
	m.SetCeiling(150)
	_, over := enters(t, b, p, "ada", start, Need{Tokens: 60})
	if over.Kind != Tokens || over.Wait != moment || m.Wanted(start) != 60 || m.Wanted(start) != 0 {
		t.Errorf("it meets %+v", over)
	}
	if s, over := enters(t, b, p, "ada", start, Need{Tokens: 50}); over.Kind != None {
		t.Errorf("within the ceiling it meets %+v", over)
	} else {
		s.Leave(start)
	}
	s.Leave(start)
	m.SetCeiling(0)
	if _, over := enters(t, b, p, "ada", start, Need{}); over.Kind != Tokens || m.Wanted(start) != 1 {
		t.Errorf("without any, it meets %+v", over)
	}
	m.SetCeiling(1000)
	if _, over := enters(t, b, p, "ada", start, Need{Tokens: 5000}); over.Kind != None {
		t.Errorf("with all of it, a large one meets %+v", over)
	}
	if _, over := enters(t, b, p, "ada", start, Need{Tokens: 10}); m.Wanted(start) != 0 {
		t.Errorf("what there is none of is wanted: %+v", over)
	}
}

// A later plan counts at once, and what was used goes on to count; an earlier one, whose last
// requests come, changes nothing.
func TestReload(t *testing.T) {
	b := newBook(10)
	old := planOf(sliding(Requests, 3, time.Minute), sliding(Tokens, 100, time.Minute))
	under, _ := enters(t, b, old, "ada", start, Need{Tokens: 40})
	s, _ := enters(t, b, old, "ada", start, Need{Tokens: 40})
	served(s, start, Need{40, 0})
	fresh := planOf(sliding(Requests, 2, time.Minute), sliding(Tokens, 1000, 2*time.Minute), Limit{Concurrency, 2, Period{}})
	if _, over := enters(t, b, fresh, "ada", start, Need{}); over.Kind != Requests {
		t.Errorf("a lower number: it meets %+v", over)
	}
	if _, over := enters(t, b, old, "ada", start, Need{}); over.Kind != Requests {
		t.Errorf("by the plan before, it meets %+v", over)
	}
	a := b.find(fresh, "ada", start)
	if got := a.meter(Tokens).Used(start); got != 80 || a.meter(Concurrency).Used(start) != 1 {
		t.Errorf("%d tokens count, %d requests are under way", got, a.meter(Concurrency).Used(start))
	}
	served(under, start, Need{10, 0})
	if got := a.meter(Tokens).Used(start); got != 50 || a.underWay != 0 {
		t.Errorf("%d tokens count when it has ended", got)
	}
	late := int64(90 * time.Second)
	if got := a.meter(Tokens).Used(start + late); got != 50 {
		t.Errorf("%d tokens count in the longer window", got)
	}
	if s := b.Enter(NewPlan(map[string]*Terms{"grace": {}}, nil), "ada", start, Need{}); s != nil {
		t.Error("who has no limit any more has one")
	}
}

// Of several budgets, each goes on with its own period, in whatever order they stand.
func TestReloadOfBudgets(t *testing.T) {
	b := newBook(10)
	day, month := Period{Calendar: Day, Zone: time.UTC}, Period{Calendar: Month, Zone: time.UTC}
	s, _ := enters(t, b, planOf(Limit{TokenBudget, 100, day}, Limit{TokenBudget, 1000, month}), "ada", start, Need{})
	served(s, start, Need{40, 0})
	p := planOf(sliding(TokenBudget, 50, time.Hour), Limit{TokenBudget, 2000, month}, Limit{TokenBudget, 200, day})
	enters(t, b, p, "ada", start, Need{})
	for i, want := range []int64{0, 40, 40} {
		if m := b.find(p, "ada", start).meters[i]; m.Used(start) != want {
			t.Errorf("budget %d has %d used, want %d", i, m.Used(start), want)
		}
	}
}

// A limit that a reload adds knows nothing of requests that came before: they take nothing
// from it that they have not given.
func TestReloadAddsALimit(t *testing.T) {
	b := newBook(10)
	before, _ := enters(t, b, planOf(Limit{Concurrency, 9, Period{}}), "ada", start, Need{})
	p := planOf(sliding(Requests, 2, time.Minute))
	for range 2 {
		s, _ := enters(t, b, p, "ada", start, Need{})
		served(s, start, Need{})
	}
	before.Leave(start)
	if _, over := enters(t, b, p, "ada", start, Need{}); over.Kind != Requests {
		t.Errorf("a third one meets %+v", over)
	}
}

func TestWhoHasWhichTerms(t *testing.T) {
	ada, rest := &Terms{Weight: 5, Models: &catalog.Offer{Models: []string{"gpt-4o*"}}}, &Terms{Limits: []Limit{sliding(Tokens, 1, time.Minute)}}
	p := NewPlan(map[string]*Terms{"ada": ada}, rest)
	for client, want := range map[string]*Terms{"ada": ada, "grace": rest, "": rest} {
		if p.Terms(client) != want {
			t.Errorf("%q has other terms", client)
		}
	}
	n := 0
	p.Each(func(*Terms) { n++ })
	(*Plan)(nil).Each(func(*Terms) { t.Error("no plan has terms") })
	if n != 2 || !p.Names("ada") || p.Names("grace") || ada.Costs() || !rest.Costs() || (*Terms)(nil).Costs() {
		t.Errorf("%d terms", n)
	}
	if !ada.Serves("gpt-4o-mini") || !ada.Serves("models/gpt-4o") || !ada.Serves("") || ada.Serves("o3") || !rest.Serves("o3") || !(*Terms)(nil).Serves("o3") {
		t.Error("other models are served")
	}
	s := newBook(1).Enter(p, "ada", start, Need{})
	if s.Weight() != 5 || s.Client() != "ada" || (*Stay)(nil).Weight() != 1 || newBook(1).Enter(p, "x", start, Need{}).Weight() != 1 {
		t.Errorf("the weight is %d", s.Weight())
	}
	if over, is := (*Stay)(nil).Over(); is {
		t.Errorf("who has no limits meets %+v", over)
	}
}

// So many clients are kept; idle ones make room, those that the config names find it, and all
// others share.
func TestManyClients(t *testing.T) {
	const most = 5000 // so many that each shard has some
	b := newBook(most)
	p := NewPlan(map[string]*Terms{"ada": {Limits: []Limit{sliding(Requests, 1, time.Minute)}}}, &Terms{Limits: []Limit{sliding(Requests, 1, time.Minute)}})
	take := func(client string, at int64) Kind {
		s, over := enters(t, b, p, client, at, Need{})
		if over.Kind == None {
			served(s, at, Need{})
		}
		return over.Kind
	}
	for i := range most {
		if k := take(fmt.Sprint("client-", i), start); k != None {
			t.Fatalf("client %d meets %s", i, k)
		}
	}
	if k := take("one-more", start); k != None {
		t.Errorf("the first beyond meets %s", k)
	}
	if k := take("another", start); k != Requests {
		t.Errorf("the second meets %q: they have one allowance", k)
	}
	if k := take("ada", start); k != None {
		t.Errorf("whom the config names meets %s", k)
	}
	for i := range most {
		if k := take(fmt.Sprint("client-", i), start+second); k != Requests {
			t.Fatalf("client %d is forgotten", i)
		}
	}
	later := start + int64(3*time.Minute)
	for i := range most {
		if k := take(fmt.Sprint("late-", i), later); k != None {
			t.Fatalf("late client %d meets %s", i, k)
		}
	}
	n := 0
	b.Meters(func(string, *Meter) { n++ })
	if n < most || n > most+shards || b.kept.Load() != int64(n) {
		t.Errorf("%d are kept, %d counted", n, b.kept.Load())
	}
}

// A name is as long as clients like: so much of it counts, and nothing keeps more.
func TestLongNames(t *testing.T) {
	b, p := newBook(10), planOf(sliding(Requests, 1, time.Minute))
	long := strings.Repeat("x", 1<<20)
	s, _ := enters(t, b, p, long, start, Need{})
	served(s, start, Need{})
	if _, over := enters(t, b, p, long[:maxName]+"y", start, Need{}); over.Kind != Requests || len(s.Client()) != maxName {
		t.Errorf("it meets %+v", over)
	}
}

// A request that has found its client's allowance when that is dropped finds the next one.
func TestDropped(t *testing.T) {
	b, p := newBook(10), planOf(Limit{Concurrency, 1, Period{}})
	a := b.find(p, "ada", start)
	for i := range b.shards {
		b.shards[i].sweep(start)
	}
	if s, ok := a.enter(p, "ada", start, Need{}); ok || s != nil {
		t.Error("the dropped one is used")
	}
	enters(t, b, p, "ada", start, Need{})
	if _, over := enters(t, b, p, "ada", start, Need{}); over.Kind != Concurrency {
		t.Errorf("the second request meets %+v", over)
	}
}

// Clients that come while others are dropped lose nothing of what they use.
func TestClientsComeAndGo(t *testing.T) {
	b, p := newBook(100), planOf(Limit{Concurrency, 1, Period{}})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 3000 {
				at := start + int64(i)*sweepEvery
				s := b.Enter(p, fmt.Sprint(i%7), at, Need{})
				if over, is := s.Over(); is && over.Kind != Concurrency {
					t.Errorf("%d: %+v", g, over)
				}
				s.Leave(at)
			}
		})
	}
	wg.Wait()
	b.Meters(func(client string, m *Meter) {
		if n := m.Used(start); n != 0 {
			t.Errorf("%d requests of %s are under way for ever", n, client)
		}
	})
}
