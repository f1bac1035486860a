package rotator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/rotator/lease"
	"github.com/keycycler/keycycler/rotator/meter"
)

// parts are the meters that pools share, by name.
type parts struct {
	meters map[string]lease.Meter
	users  map[string]int
}

func newParts() *parts { return &parts{make(map[string]lease.Meter), make(map[string]int)} }

func (p *parts) Share(name string, m lease.Meter) {
	if p.meters[name] != m {
		p.meters[name] = m
		m.SetCeiling(1)
	}
	p.users[name]++
}

func (p *parts) Unshare(name string) { p.users[name]-- }

// alone lets this node have all of a limit.
type alone struct{}

func (alone) Share(_ string, m lease.Meter) { m.SetCeiling(m.Most() + 1) }
func (alone) Unshare(string)                {}

// only is the meter of the only limit.
func (p *parts) only(t *testing.T) lease.Meter {
	t.Helper()
	for _, m := range p.meters {
		if len(p.meters) == 1 {
			return m
		}
	}
	t.Fatalf("%d limits are shared", len(p.meters))
	return nil
}

// of is the meter of the only limit of that name, up to its first space.
func (p *parts) of(t *testing.T, what string) lease.Meter {
	t.Helper()
	for name, m := range p.meters {
		if strings.HasPrefix(name, what+" ") {
			return m
		}
	}
	t.Fatalf("no %s are shared", what)
	return nil
}

// takeAll takes the pool's keys until there is none, and returns how often it got one.
func takeAll(p *Pool, now time.Time) (n int) {
	for {
		if _, ok := p.Take(now, Want{}); !ok {
			return n
		}
		n++
	}
}

// A key goes out as often as this node's part of its limit allows. When that grows, who
// waits for it hears so at once.
func TestPartOfALimit(t *testing.T) {
	shares, state, woken := newParts(), NewState(start), 0
	p, err := NewPool(makeKeys(t, 1), state, start, WithWake(func() { woken++ }),
		WithLimit(Limit{Requests: 10, Per: time.Minute, Shares: shares, Reason: atCapacity, Source: "config"}))
	if err != nil {
		t.Fatal(err)
	}
	m := shares.only(t)
	now := start.Add(time.Second)
	check := func(sentence string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", sentence, got, want)
		}
	}
	if m.Most() != 10 || m.Per() != time.Minute || m.Wanted(state.Unix(now)) != 0 {
		t.Errorf("the limit is %d in %s", m.Most(), m.Per())
	}
	check("the part that needs no leave", takeAll(p, now), 1)
	if st := p.Status(now, 0); st.Left <= 0 || st.Left > meter.AskAgain || st.Reason != atCapacity {
		t.Errorf("the key is %+v, want that it may be had in a second", st)
	}
	if m.Wanted(state.Unix(now)) <= 0 || m.Wanted(state.Unix(now)) != 0 {
		t.Error("more is not wanted once")
	}
	m.SetCeiling(4)
	check("who waits is woken", woken, 1)
	check("a larger part", takeAll(p, now), 3)
	check("what is used of it", int(m.Used(state.Unix(now))), 4)
	m.SetCeiling(2)
	check("a smaller part, right away", takeAll(p, now), 0)
	check("a smaller part, later", takeAll(p, now.Add(2*meter.AskAgain)), 0)
	check("nobody is woken for it", woken, 1)
	m.SetCeiling(100)
	check("no more than the limit", takeAll(p, now.Add(3*meter.AskAgain)), 6)
	if st := p.Status(now.Add(3*meter.AskAgain), 0); st.Left < 50*time.Second {
		t.Errorf("the key is %+v at the limit itself, want that it is out until requests leave the window", st)
	}
	check("after the window", int(m.Used(state.Unix(now.Add(2*time.Minute)))), 0)
}

// A key that is kept out for other reasons makes nobody ask for more.
func TestPartsAreNotWantedForConcurrency(t *testing.T) {
	shares, state := newParts(), NewState(start)
	p, err := NewPool(makeKeys(t, 1), state, start, WithLimit(Limit{Concurrency: 1, Requests: 10, Per: time.Minute, Shares: shares, Reason: atCapacity}))
	if err != nil {
		t.Fatal(err)
	}
	m := shares.only(t)
	m.SetCeiling(5)
	if n := takeAll(p, start); n != 1 || m.Wanted(state.Unix(start)) != 0 {
		t.Errorf("%d went out, and more is wanted", n)
	}
	p.End(0)
	if n := takeAll(p, start); n != 1 {
		t.Errorf("%d went out then, want 1", n)
	}
}

// Nor does one that is out of tokens make anybody ask for more requests.
func TestPartsAreNotWantedForTokens(t *testing.T) {
	shares, state := newParts(), NewState(start)
	p, err := NewPool(makeKeys(t, 1), state, start,
		WithLimit(Limit{Requests: 10, Per: time.Minute, Shares: shares, Tokens: 100, TokensPer: time.Minute, Reason: atCapacity}))
	if err != nil {
		t.Fatal(err)
	}
	m, tokens := shares.of(t, "key"), shares.of(t, "tokens")
	m.SetCeiling(5)
	tokens.SetCeiling(100)
	d, ok := p.Draw(start, Want{Tokens: 60})
	if !ok {
		t.Fatal("the key cannot be had")
	}
	p.Finish(start, d, meter.Used{Output: 100})
	if _, ok := p.Take(start, Want{Tokens: 1}); ok || m.Wanted(state.Unix(start)) != 0 {
		t.Errorf("there is a key: %t; or more of its requests is wanted", ok)
	}
	m.SetCeiling(1)
	later := start.Add(90 * time.Second)
	if n := takeAll(p, later); n != 1 || m.Wanted(state.Unix(later)) == 0 {
		t.Errorf("%d went out with the tokens back, want the part, and that more is wanted", n)
	}
}

// Of tokens a key has this node's part, and one request beyond it where others leave room for
// that. When the part grows, who waits for it hears so at once.
func TestPartOfALimitOfTokens(t *testing.T) {
	shares, state, woken := newParts(), NewState(start), 0
	p, err := NewPool(makeKeys(t, 1), state, start, WithWake(func() { woken++ }),
		WithLimit(Limit{Tokens: 1000, TokensPer: time.Minute, Shares: shares, Reason: atCapacity}))
	if err != nil {
		t.Fatal(err)
	}
	m := shares.of(t, "tokens").(lease.Roomy)
	draw := func(tokens int64) (Drawn, bool) { return p.Draw(start, Want{Tokens: tokens}) }
	m.SetCeiling(40)
	d, ok := draw(300)
	if !ok || m.Used(state.Unix(start)) != 300 || m.Most() != 1000 || m.Per() != time.Minute {
		t.Fatalf("the first request has the key: %t; %d are held", ok, m.Used(state.Unix(start)))
	}
	if _, ok := draw(50); ok || m.Wanted(state.Unix(start)) == 0 || m.Wanted(state.Unix(start)) != 0 {
		t.Error("another one goes beyond the part, or no more is wanted")
	}
	m.SetCeiling(400)
	if woken != 1 {
		t.Errorf("who waits is woken %d times", woken)
	}
	m.SetRoom(450)
	if e, ok := draw(151); ok || m.Wanted(state.Unix(start)) != 151 || e.Cramped != 1 {
		t.Errorf("more goes out than others leave: %t", ok)
	}
	e, ok := draw(150)
	if !ok {
		t.Error("what others leave does not go out")
	}
	if _, ok := draw(1); ok || m.Wanted(state.Unix(start)) == 0 {
		t.Error("two requests go beyond the part")
	}
	p.Finish(start, d, Used{Input: 10})
	p.Finish(start, e, Used{Input: 20, Output: 30})
	if n := m.Used(state.Unix(start)); n != 60 {
		t.Errorf("%d are used", n)
	}
	m.SetCeiling(5000)
	m.SetRoom(1000)
	if _, ok := draw(941); ok || m.Wanted(state.Unix(start)) != 0 {
		t.Error("more goes out than the limit, or is wanted")
	}
	if _, ok := draw(940); !ok {
		t.Error("the limit cannot be used")
	}
	p.Close(start)
	if n := shares.users[fmt.Sprintf("tokens %s 1m0s", p.Key(0).ID())]; n != 0 {
		t.Errorf("it is still shared %d times", n)
	}
}

// What models have apart is not shared.
func TestLimitsOfModelsAreNotShared(t *testing.T) {
	shares := newParts()
	p, err := NewPool(makeKeys(t, 1), NewState(start), start,
		WithLimit(Limit{Requests: 10, Per: time.Minute, Shares: shares, ByModel: true, Reason: atCapacity}))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, ok := p.Take(start, Want{Model: "m"}); !ok {
			t.Fatal("a node has a part of what models have")
		}
	}
	p.Close(start)
	if len(shares.meters) != 0 {
		t.Errorf("%d limits are shared", len(shares.meters))
	}
}

// Pools that hold the same key have one part of its limit, which is the lowest of theirs. A
// reload changes nothing; what no pool shares any more is not shared.
func TestPoolsShareTheirPart(t *testing.T) {
	shares, state := newParts(), NewState(start)
	pool := func(requests int) *Pool {
		p, err := NewPool(makeKeys(t, 1), state, start, WithLimit(Limit{Requests: requests, Per: time.Minute, Shares: shares, Reason: atCapacity}))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := pool(10)
	m := shares.only(t)
	m.SetCeiling(7)
	b := pool(10)
	if shares.only(t) != m {
		t.Error("the same limit has another meter after a reload")
	}
	a.Close(start)
	if n := takeAll(b, start); n != 7 {
		t.Errorf("%d went out after the reload, want 7", n)
	}
	c := pool(5)
	d := pool(20)
	if shares.only(t).Most() != 5 {
		t.Errorf("the limit is %d, want the lowest", shares.only(t).Most())
	}
	for _, p := range []*Pool{b, c, d} {
		p.Close(start)
	}
	for name, n := range shares.users {
		if n != 0 {
			t.Errorf("%s is still shared %d times", name, n)
		}
	}
}
