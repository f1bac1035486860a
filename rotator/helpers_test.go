package rotator

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// start is when every test's state begins.
var start = time.Date(2025, time.March, 1, 12, 0, 0, 0, time.UTC)

func makeKeys(t testing.TB, n int) []Key {
	t.Helper()
	keys := make([]Key, n)
	for i := range keys {
		k, err := NewKey(fmt.Sprintf("sk-test-%08d", i))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	return keys
}

// makePool returns a pool with a fixed seed. The state may be nil: one of its own.
func makePool(t testing.TB, keys []Key, s *State, now time.Time) *Pool {
	t.Helper()
	if s == nil {
		s = NewState(start)
	}
	p, err := NewPool(keys, s, now, WithSource(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// span returns the slots from, from+1, … to-1.
func span(from, to Slot) []Slot {
	var s []Slot
	for ; from < to; from++ {
		s = append(s, from)
	}
	return s
}

// flat is the census of a pool in which no key is a suspect or spare.
func flat(c Census) Census {
	c.Usable, c.Free = c.Ready, c.Ready
	return c
}

// checkPool checks what must hold between any two calls.
func checkPool(t testing.TB, p *Pool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.all.Check(); err != nil {
		t.Fatal(err)
	}
	off := p.all.Census(0).Disabled
	if (p.lanes.rest != nil) != (p.lanes.byScope[Overflow] != nil) || len(p.lanes.byScope) > MaxScopes+1 {
		t.Fatalf("%d lanes, rest %v", len(p.lanes.byScope), p.lanes.rest)
	}
	for scope, l := range p.lanes.byScope {
		if err := l.Check(); err != nil {
			t.Fatalf("lane %s: %v", scope, err)
		}
		if got := l.Census(0).Disabled; got != off || l.end < p.lanes.soonest {
			t.Fatalf("lane %s: %d disabled, want %d; it ends at %d, before %d", scope, got, off, l.end, p.lanes.soonest)
		}
	}
}

// chiSquare returns the probability that counts are at least as uneven as these
// when all of their cells are equally likely.
func chiSquare(counts []int) float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	expected := float64(total) / float64(len(counts))
	x := 0.0
	for _, c := range counts {
		x += (float64(c) - expected) * (float64(c) - expected) / expected
	}
	return chiSquareTail(x, len(counts)-1)
}

// chiSquareTail is the upper incomplete gamma function Q(df/2, x/2), exact for
// whole df: Q(1/2, z) = erfc(√z), Q(1, z) = e⁻ᶻ, Q(a+1, z) = Q(a, z) + zᵃe⁻ᶻ/Γ(a+1).
func chiSquareTail(x float64, df int) float64 {
	z := x / 2
	a, q := 1.0, math.Exp(-z)
	if df%2 == 1 {
		a, q = 0.5, math.Erfc(math.Sqrt(z))
	}
	for ; a < float64(df)/2; a++ {
		lgamma, _ := math.Lgamma(a + 1)
		q += math.Exp(a*math.Log(z) - z - lgamma)
	}
	return q
}

func TestChiSquareTail(t *testing.T) {
	// Critical values from the NIST handbook of statistics, table 1.3.6.7.4.
	for _, row := range []struct {
		df   int
		x, p float64
	}{{1, 3.841, 0.05}, {2, 5.991, 0.05}, {4, 18.467, 0.001}, {14, 36.123, 0.001}, {19, 43.820, 0.001}, {100, 149.449, 0.001}} {
		if p := chiSquareTail(row.x, row.df); math.Abs(p-row.p) > row.p/100 {
			t.Errorf("chiSquareTail(%v, %d) = %v, want %v", row.x, row.df, p, row.p)
		}
	}
	if p := chiSquare([]int{1000, 1000, 2000, 1000}); p > 1e-6 {
		t.Errorf("twice the traffic on one of four keys has p = %v", p)
	}
	if p := chiSquare([]int{1000, 1001, 999, 1000}); p < 0.999 {
		t.Errorf("an almost even spread has p = %v", p)
	}
}
