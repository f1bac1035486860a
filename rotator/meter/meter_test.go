package meter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// per is the length of the tests' windows: each of its parts has four nanoseconds.
const per = 4 * Parts

func wantAll(bool, time.Duration) bool { return true }

func newMeter(l *Limit) *Meter {
	m := New(new(atomic.Int32))
	m.Measure(l, wantAll)
	return m
}

// end ends a request: what Pool.Finish does.
func (m *Meter) end(c *Count, began, at, held int64, u Used) {
	m.Settle(c, began, at, held, u)
	m.inFlight.Add(-1)
}

// request is one of the model's.
type request struct {
	count           *Count
	model           string
	began, held     int64
	input, output   int64
	ended           int64 // 0: it is under way
	beganAt, endsAt int64 // until when they count
}

// books is what a meter should know: requests, one by one.
type books struct {
	all   []*request
	limit Limit
}

// until returns until when something counts that was at that instant.
func until(at int64) int64 {
	const width = per / Parts
	return (at/width+1)*width + per
}

// count returns what the books have of the model at that time.
func (b *books) count(model string, at int64) (underWay int, held, used int64, begun int) {
	for _, r := range b.all {
		if b.limit.ByModel && r.model != model {
			continue
		}
		if r.beganAt > at {
			begun++
		}
		if r.ended == 0 {
			underWay++
			held += r.held
			continue
		}
		if r.beganAt > at {
			used += r.input
		}
		if r.endsAt > at {
			used += r.output
		}
	}
	return underWay, held, used, begun
}

// fits tells whether a request should get the key.
func (b *books) fits(model string, at, tokens int64) bool {
	underWay, held, used, begun := b.count(model, at)
	tokens = min(tokens, b.limit.Tokens)
	return (b.limit.Concurrency == 0 || underWay < b.limit.Concurrency) &&
		(b.limit.Requests == 0 || begun < b.limit.Requests) &&
		(b.limit.Tokens == 0 || held+used+tokens <= b.limit.Tokens)
}

// A meter says what books say that have every request in them: whom it lets go, what it holds,
// never less than nothing, and never more than the limit where nobody uses more than was held.
func TestMeterAgainstBooks(t *testing.T) {
	for seed := range uint64(210) {
		r := rand.New(rand.NewPCG(seed, 7))
		honest := seed%2 == 0
		b := books{limit: Limit{Tokens: 1 + int64(r.IntN(1000)), TokensPer: per, ByModel: seed%3 == 0}}
		if seed%5 == 0 {
			b.limit.Concurrency = 1 + r.IntN(5)
		}
		if seed%7 == 0 {
			b.limit.Requests, b.limit.Per = 1+r.IntN(20), per
		}
		m, models := newMeter(&b.limit), []string{"a", "b", ""}[:1+r.IntN(3)]
		at := int64(1000)
		for range 600 {
			switch at += int64(r.IntN(per / 16)); r.IntN(5) {
			case 0, 1, 2:
				model, tokens := models[r.IntN(len(models))], int64(r.IntN(int(b.limit.Tokens/2+2)))
				if r.IntN(20) == 0 {
					tokens *= 1000 // one that needs the key for itself
				}
				want := b.fits(model, at, tokens)
				c, room := m.Reserve(at, &b.limit, model, tokens)
				if got := c != nil; got != want || got != (room.Request <= at) {
					t.Fatalf("seed %d, at %d: %d tokens go: %t, want %t, room from %d", seed, at, tokens, got, want, room.Request)
				}
				if c != nil {
					b.all = append(b.all, &request{count: c, model: model, began: at, beganAt: until(at), held: min(tokens, b.limit.Tokens)})
				} else if room.Request < Forever && !b.fits(model, room.Request, tokens) {
					t.Fatalf("seed %d, at %d: there is no room for %d tokens at %d", seed, at, tokens, room.Request)
				}
			default:
				b.endOne(r, m, at, honest)
			}
			b.check(t, seed, m, at, honest)
		}
	}
}

// endOne ends one of the requests under way.
func (b *books) endOne(r *rand.Rand, m *Meter, at int64, honest bool) {
	open := slices.DeleteFunc(slices.Clone(b.all), func(q *request) bool { return q.ended != 0 })
	if len(open) == 0 {
		return
	}
	q := open[r.IntN(len(open))]
	q.ended, q.endsAt = at, until(at)
	u := Used{}
	switch most := int(q.held) + 1; r.IntN(4) {
	case 0: // it has failed
	case 1:
		u.Unknown = true
		q.input = q.held
	default:
		if !honest {
			most *= 3
		}
		u.Input = int64(r.IntN(most))
		u.Output = int64(r.IntN(most - int(u.Input)))
		q.input, q.output = u.Input, u.Output
	}
	m.end(q.count, q.began, at, q.held, u)
}

func (b *books) check(t *testing.T, seed uint64, m *Meter, at int64, honest bool) {
	t.Helper()
	for _, model := range []string{"a", "b", ""} {
		c := &m.all
		if b.limit.ByModel {
			if c = m.models[model]; c == nil {
				continue
			}
		}
		underWay, held, used, _ := b.count(model, at)
		if c.held != held || c.held < 0 || b.limit.ByModel && c.underWay != underWay {
			t.Fatalf("seed %d, at %d: %d tokens are held for %d requests, want %d for %d", seed, at, c.held, c.underWay, held, underWay)
		}
		if honest && held+used > b.limit.Tokens {
			t.Fatalf("seed %d, at %d: %d of %d tokens", seed, at, held+used, b.limit.Tokens)
		}
	}
}

// A key of which nothing is used or held takes one request of any size, and no other beside it.
func TestOneRequestAlwaysPasses(t *testing.T) {
	l := Limit{Tokens: 100, TokensPer: per}
	m := newMeter(&l)
	c, _ := m.Reserve(0, &l, "", 1<<40)
	if c == nil {
		t.Fatal("it does not pass")
	}
	if other, room := m.Reserve(0, &l, "", 0); other == nil || room.Any != Forever {
		t.Errorf("one of no tokens goes: %t; there is room from %d", other != nil, room.Any)
	} else {
		m.end(other, 0, 0, 0, Used{})
	}
	if other, room := m.Reserve(0, &l, "", 1); other != nil || room.Request != Forever {
		t.Errorf("another one goes, or knows when: %d", room.Request)
	}
	m.end(c, 0, 8, 100, Used{Input: 5})
	if c, _ = m.Reserve(8, &l, "", 96); c != nil {
		t.Error("there is more than the limit")
	}
	if c, _ = m.Reserve(8, &l, "", 95); c == nil {
		t.Error("what was held in vain is not given back")
	}
}

// However many come at once, no more goes out than is allowed, and nothing stays held.
func TestMeterAtOnce(t *testing.T) {
	l := Limit{Tokens: 1000, TokensPer: per, ByModel: true}
	m := newMeter(&l)
	var out, used [2]atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 2))
			for range 2000 {
				which, tokens := r.IntN(2), int64(1+r.IntN(300))
				c, _ := m.Reserve(0, &l, fmt.Sprint(which), tokens)
				if c == nil {
					continue
				}
				if n := out[which].Add(tokens); n > l.Tokens {
					t.Errorf("%d of %d tokens", n, l.Tokens)
				}
				n := int64(0)
				if r.IntN(500) == 0 {
					n = tokens / 2
				}
				used[which].Add(n)
				out[which].Add(n - tokens)
				m.end(c, 0, 0, tokens, Used{Output: n})
			}
		})
	}
	all.Wait()
	for which := range 2 {
		c := m.models[fmt.Sprint(which)]
		if room := c.windows[0].RoomFrom(used[which].Load(), 0); c.held != 0 || c.underWay != 0 || room != never {
			t.Errorf("model %d: %d held by %d requests, %d used: %t", which, c.held, c.underWay, used[which].Load(), room == never)
		}
		if full := c.windows[0].RoomFrom(used[which].Load()-1, 0); full == never {
			t.Errorf("model %d: fewer than %d are counted", which, used[which].Load())
		}
	}
	if n := m.inFlight.Load(); n != 0 {
		t.Errorf("%d are under way", n)
	}
}

// Models beyond the bound count together, those of which nothing is known make room, and no
// model is counted as another.
func TestModelsAreBounded(t *testing.T) {
	l := Limit{Requests: 2, Per: per, ByModel: true}
	m := newMeter(&l)
	take := func(at int64, model string) bool {
		c, _ := m.Reserve(at, &l, model, 0)
		if c != nil {
			m.end(c, at, at, 0, Used{})
		}
		return c != nil
	}
	for i := range MaxModels {
		for n := range 3 {
			if got := take(0, fmt.Sprint("m", i)); got != (n < 2) {
				t.Errorf("model %d, request %d: %t", i, n, got)
			}
		}
	}
	if !take(0, "junk-1") || !take(0, "junk-2") || take(0, "junk-3") {
		t.Error("those beyond the bound do not have two requests together")
	}
	if len(m.models) != MaxModels+1 {
		t.Errorf("%d models are kept", len(m.models))
	}
	if full := m.FullModels(0, &l); len(full) != MaxModels+1 || full[Others] != per+per/Parts {
		t.Errorf("full are %v", full)
	}
	if later := int64(3 * per); !take(later, "junk-3") || len(m.models) != MaxModels+1 || m.models["junk-3"] == nil {
		t.Errorf("one of which nothing is known any more does not make room: %d", len(m.models))
	}
	if !m.Idle(9*per) || m.Idle(3*per) {
		t.Error("it is not known whether the key is idle")
	}
}

// A limit that comes later begins with what is known, for each model as well; one that nobody
// has any more is forgotten, and who still asks for it finds room.
func TestMeasureAgain(t *testing.T) {
	minute, hour := Limit{Tokens: 100, TokensPer: per, ByModel: true}, Limit{Tokens: 100, TokensPer: 10 * per, ByModel: true}
	m := newMeter(&minute)
	c, _ := m.Reserve(0, &minute, "a", 60)
	m.Measure(&hour, func(_ bool, p time.Duration) bool { return p == 10*per })
	m.end(c, 0, 0, 60, Used{Input: 70})
	if c, _ := m.Reserve(0, &hour, "a", 31); c != nil {
		t.Error("what was used when the limit came is forgotten")
	}
	if c, _ := m.Reserve(0, &minute, "a", 31); c == nil {
		t.Error("a limit counts that nobody has any more")
	}
}

// Reserving and settling allocates nothing, but for a model that is new.
func TestMeterAllocations(t *testing.T) {
	l := Limit{Concurrency: 5, Requests: 1 << 20, Per: per, Tokens: 1 << 30, TokensPer: per, ByModel: true}
	m := newMeter(&l)
	at := int64(0)
	if got := testing.AllocsPerRun(100, func() {
		at += 3
		c, _ := m.Reserve(at, &l, "gpt-demo", 100)
		m.end(c, at, at+1, 100, Used{Input: 40, Output: 50})
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
