package quota

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// clerk lends what it is told to.
type clerk struct {
	names []string
	lent  []lease.Borrower
	part  int64
}

func (c *clerk) Lend(name string, m lease.Borrower, _ int64) int64 {
	c.names, c.lent = append(c.names, name), append(c.lent, m)
	return c.part
}

func (c *clerk) last() lease.Borrower { return c.lent[len(c.lent)-1] }

// Limits are lent when they are used, once, and again when they have rested.
func TestLimitsAreLent(t *testing.T) {
	b, c := newBook(10), &clerk{part: 2}
	p := planOf(sliding(Requests, 100, time.Minute), sliding(Tokens, 1000, time.Hour), Limit{Concurrency, 1, Period{}}, Limit{USDBudget, 5e9, Period{Calendar: Day, Zone: time.UTC}}).Over("main", c)
	for range 5 {
		s, over := enters(t, b, p, "ada", start, Need{})
		if over.Kind != None {
			t.Fatalf("it meets %+v", over)
		}
		s.Leave(start)
	}
	day := time.Unix(0, start).UTC()
	want := []string{
		"client\x00main\x00ada\x00requests\x000\x001m0s", "client\x00main\x00ada\x00tokens\x000\x001h0m0s",
		fmt.Sprintf("client\x00main\x00ada\x00usd budget\x000\x00UTC\x00%d", (day.Year()*100+int(day.Month()))*100+day.Day()),
	}
	if !slices.Equal(c.names, want) {
		t.Errorf("%q are lent, want %q", c.names, want)
	}
	if m := c.last(); m.Most() != 5e6 || m.Per() != 26*time.Hour {
		t.Errorf("the budget is %d in %s", m.Most(), m.Per())
	}
	c.lent[1].Rest()
	enters(t, b, p, "ada", start, Need{})
	if len(c.names) != 4 || c.names[3] != want[1] || c.lent[3] != c.lent[1] {
		t.Errorf("%q are lent after a rest", c.names)
	}
}

// What the node uses is within its part, but for one request where others leave room for it; and
// it says what more it wants.
func TestPartOfAClientsLimit(t *testing.T) {
	b, c := newBook(10), &clerk{part: 40}
	p := planOf(sliding(Tokens, 1000, time.Minute)).Over("main", c)
	take := func(n int64) Over {
		s, over := enters(t, b, p, "ada", start, Need{Tokens: n})
		if over.Kind == None {
			served(s, start, Need{n, 0})
		}
		return over
	}
	if over := take(300); over.Kind != None {
		t.Errorf("the first request meets %+v", over)
	}
	m := c.last()
	if m.Used(start) != 300 || m.Wanted(start) != 0 {
		t.Errorf("%d are used", m.Used(start))
	}
	if over := take(1); over.Wait != moment || m.Wanted(start) != 1 || m.Wanted(start) != 0 {
		t.Errorf("another one beyond the part meets %+v", over)
	}
	m.SetCeiling(600)
	m.SetRoom(700)
	if over := take(300); over.Kind != None {
		t.Errorf("within the part it meets %+v", over)
	}
	if over := take(101); over.Kind != Tokens || over.Wait != 60*second/windowParts {
		t.Errorf("more than others leave: %+v", over)
	}
	if over := take(100); over.Kind != None {
		t.Errorf("what others leave: %+v", over)
	}
	m.SetCeiling(5000)
	m.SetRoom(1000)
	if over := take(300); over.Kind != None {
		t.Errorf("with all of it: %+v", over)
	}
	if over := take(1); over.Kind != Tokens || over.Wait < 59*second {
		t.Errorf("at the limit itself: %+v", over)
	}
}

// The headers tell what others leave.
func TestWhatIsLeftOverAllNodes(t *testing.T) {
	b, c := newBook(10), &clerk{part: 100}
	p := planOf(sliding(Requests, 100, time.Minute)).Over("main", c)
	s, _ := enters(t, b, p, "ada", start, Need{})
	for room, want := range map[int64]string{100: "99", 31: "30", 1: "0"} {
		c.last().SetRoom(room)
		header := make(map[string][]string)
		s.Tell(start, header)
		if got := header["X-Ratelimit-Remaining-Requests"]; !slices.Equal(got, []string{want}) {
			t.Errorf("with room for %d, %q are left, want %s", room, got, want)
		}
	}
}

// Each day has its own part: what was lent for the one before holds no longer, and counts
// nothing. A budget that others have used up is there again the next day.
func TestADayIsLentAnew(t *testing.T) {
	b, c := newBook(10), &clerk{part: 500}
	p := planOf(Limit{TokenBudget, 1000, Period{Calendar: Day, Zone: time.UTC}}).Over("main", c)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano()
	s, _ := enters(t, b, p, "ada", noon, Need{})
	served(s, noon, Need{400, 0})
	before := c.last()
	before.SetCeiling(400)
	before.SetRoom(400)
	if _, over := enters(t, b, p, "ada", noon, Need{}); over.Kind != TokenBudget || over.Wait != moment {
		t.Fatalf("as long as others may give something back, it meets %+v", over)
	}
	_, over := enters(t, b, p, "ada", noon+givenBack, Need{})
	if over.Kind != TokenBudget || time.Duration(over.Wait+givenBack) != 12*time.Hour {
		t.Fatalf("it meets %+v", over)
	}
	if s, over = enters(t, b, p, "ada", noon+givenBack+over.Wait, Need{}); over.Kind != None {
		t.Errorf("the next day it meets %+v", over)
	}
	served(s, noon+int64(13*time.Hour), Need{10, 0})
	if len(c.names) != 2 || c.names[0] == c.names[1] || before.Used(noon+int64(13*time.Hour)) != 0 || c.last().Used(noon+int64(13*time.Hour)) != 10 {
		t.Errorf("%q are lent; %d and %d are used", c.names, before.Used(noon+int64(13*time.Hour)), c.last().Used(noon+int64(13*time.Hour)))
	}
	before.SetCeiling(0)
	before.SetRoom(0)
	if _, over := enters(t, b, p, "ada", noon+int64(13*time.Hour), Need{Tokens: 400}); over.Kind != None {
		t.Errorf("what comes late of the day before counts: %+v", over)
	}
}

// A reload that changes numbers goes on with the part; one that changes the length, or who
// divides limits, or takes the limit away, ends it.
func TestLoansOverReloads(t *testing.T) {
	b, c, d := newBook(10), &clerk{part: 50}, &clerk{part: 50}
	enter := func(p *Plan) { s, _ := enters(t, b, p, "ada", start, Need{Tokens: 10}); served(s, start, Need{10, 0}) }
	enter(planOf(sliding(Tokens, 1000, time.Minute)).Over("main", c))
	first := c.last()
	enter(planOf(sliding(Tokens, 2000, time.Minute)).Over("main", c))
	if len(c.lent) != 1 || first.Most() != 2000 || first.Used(start) != 20 {
		t.Errorf("%d loans; %d of %d are used", len(c.lent), first.Used(start), first.Most())
	}
	enter(planOf(sliding(Tokens, 2000, time.Hour)).Over("main", c))
	if len(c.lent) != 2 || first.Used(start) != 0 || c.last().Used(start) != 30 {
		t.Errorf("%d loans after another length; %d are used", len(c.lent), first.Used(start))
	}
	second := c.last()
	enter(planOf(sliding(Tokens, 2000, time.Hour)).Over("main", d))
	if len(d.lent) != 1 || second.Used(start) != 0 || d.last().Used(start) != 40 {
		t.Errorf("%d loans elsewhere", len(d.lent))
	}
	enter(planOf(sliding(Tokens, 60, time.Hour)))
	if d.last().Used(start) != 0 {
		t.Error("a part counts of what each node has for itself")
	}
	if _, over := enters(t, b, planOf(sliding(Tokens, 60, time.Hour)), "ada", start, Need{Tokens: 10}); over.Kind != None {
		t.Errorf("without other nodes, it meets %+v", over)
	}
	third := planOf(sliding(Requests, 5, time.Hour)).Over("main", c)
	enter(third)
	if n := len(c.lent); n != 3 || c.lent[1].Used(start) != 0 {
		t.Errorf("%d loans", n)
	}
}

// What has been used leaves in parts, and no later than it does here.
func TestTailOfALoan(t *testing.T) {
	b, c := newBook(10), &clerk{part: 1000}
	p := planOf(sliding(Tokens, 1000, 32*time.Second), Limit{USDBudget, 1e9, Period{Calendar: Day, Zone: time.UTC}}).Over("main", c)
	for i := range int64(10) {
		s, _ := enters(t, b, p, "ada", start+i*second, Need{})
		served(s, start+i*second, Need{10, 1500})
	}
	enters(t, b, p, "ada", start+10*second, Need{Tokens: 7})
	sum, at := int64(0), start+10*second
	for _, piece := range c.lent[0].Tail(at) {
		sum += piece.N
	}
	if last := c.lent[0].Tail(at)[9]; sum != 107 || last.N != 10 || last.Left < 31*time.Second || last.Left > 32*time.Second {
		t.Errorf("%d are left behind, at last %+v", sum, c.lent[0].Tail(at))
	}
	if tail := c.lent[1].Tail(at); len(tail) != 1 || tail[0].N != 15 {
		t.Errorf("of the day %+v is left behind, want 15 thousandths", tail)
	}
}

// Nodes whose clients are served at once by real books keep to the limit together, whatever
// is lent when.
func TestNodesShareAClientsLimits(t *testing.T) {
	const nodes, most = 4, 5000
	var ledger statetest.Ledger
	p, now, used := [nodes]*Plan{}, start, int64(0)
	books, leases := [nodes]*Book{}, [nodes]*lease.Book{}
	for i := range nodes {
		books[i], leases[i] = newBook(10), lease.NewBook(start)
		p[i] = planOf(Limit{TokenBudget, most, Period{Calendar: Day, Zone: time.UTC}}).Over("main", leases[i])
	}
	r, largest := rand.New(rand.NewPCG(1, 2)), int64(0)
	for step := range 20_000 {
		i, n := r.IntN(nodes), 1+r.Int64N(60)
		if step < 2000 {
			i = 0 // nearly all at one
		}
		if s, over := enters(t, books[i], p[i], "ada", now, Need{Tokens: n}); over.Kind == None {
			used, largest = used+n, max(largest, n)
			served(s, now, Need{n, 0})
		}
		if now += second / 20; step%2 == 0 {
			for i, b := range leases {
				if c, due := b.Next(now); due {
					b.Settle(c, ledger.Answer(now/1e6, fmt.Sprint("n", i), "e", c))
				}
			}
		}
	}
	if used > most+nodes*largest || used < most*98/100 {
		t.Errorf("%d of %d are used, and a request of %d a node", used, most, largest)
	}
}
