package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// makeRanked is makePool with ranks, as "tier/weight" of each key.
func makeRanked(t testing.TB, ranks string) *Pool {
	t.Helper()
	var parsed []Rank
	for word := range strings.FieldsSeq(ranks) {
		var r Rank
		if _, err := fmt.Sscanf(word, "%d/%d", &r.Tier, &r.Weight); err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, r)
	}
	p, err := NewPool(makeKeys(t, len(parsed)), NewState(start), start, WithSource(rand.NewPCG(3, 4)), WithRanks(parsed))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Keys are drawn in proportion to their weights, among those of the lowest tier of
// which any is ready and untried.
func TestRanks(t *testing.T) {
	const picks, least = 30_000, 0.001
	for _, row := range []struct {
		sentence string
		ranks    string
		cooling  []Slot
		inScope  []Slot // those that cool in the request's scope
		tried    []Slot
		shares   []int // of the picks, in proportion
	}{
		{"weights alone", "1/1 1/2 1/7 1/100", nil, nil, nil, []int{1, 2, 7, 100}},
		{"several keys of a weight share alike", "1/3 1/1 1/3 1/1", nil, nil, nil, []int{3, 1, 3, 1}},
		{"0 stands for 1", "0/0 1/1 0/3", nil, nil, nil, []int{1, 1, 3}},
		{"one rank for all, though not the first", "7/9 7/9 7/9", nil, nil, nil, []int{1, 1, 1}},
		{"a higher tier waits, whatever its weight", "1/1 2/100 1/3", nil, nil, nil, []int{1, 0, 3}},
		{"a key that cools leaves its share to its tier", "1/1 1/2 1/4 2/9", []Slot{2}, nil, nil, []int{1, 2, 0, 0}},
		{"so does one that has been tried", "1/1 1/2 1/4 2/9", nil, nil, []Slot{1}, []int{1, 0, 4, 0}},
		{"some of a bucket", "1/5 1/5 1/5 1/1", []Slot{0}, nil, []Slot{1, 1}, []int{0, 0, 5, 1}},
		{"the next tier serves when one cools", "1/1 2/2 2/4 3/9", []Slot{0}, nil, nil, []int{0, 2, 4, 0}},
		{"and when one has been tried", "1/1 2/2 2/4 3/9", nil, nil, []Slot{0}, []int{0, 2, 4, 0}},
		{"and when both are out, the one after", "1/1 2/2 2/4 100/9", []Slot{1}, nil, []Slot{2, 0}, []int{0, 0, 0, 1}},
		{"in a scope the next tier serves", "1/1 2/2 2/4 3/9", nil, []Slot{0}, nil, []int{0, 2, 4, 0}},
		{"in a scope, with others that cool for all", "1/1 2/2 2/4 3/9", []Slot{1}, []Slot{0}, nil, []int{0, 0, 1, 0}},
		{"tiers in any order", "9/1 3/2 9/4 3/6", nil, nil, nil, []int{0, 2, 0, 6}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p, scope := makeRanked(t, row.ranks), ""
			for _, s := range row.cooling {
				p.Cool(start, s, Cooldown{For: time.Hour})
			}
			for _, s := range row.inScope {
				scope = "gpt-x"
				p.Cool(start, s, Cooldown{For: time.Hour, Scope: scope})
			}
			counts := make([]int, p.Len())
			for range picks {
				s, ok := p.PickIn(start, scope, row.tried)
				if !ok {
					t.Fatal("no key, though some are ready")
				}
				counts[s]++
			}
			checkPool(t, p)
			checkProportions(t, counts, row.shares, least)
		})
	}
}

// checkProportions fails when counts are not in these proportions.
func checkProportions(t *testing.T, counts, shares []int, least float64) {
	t.Helper()
	if p := chiSquareOf(counts, shares); p < least {
		t.Errorf("p = %.6f for %v in the proportions %v", p, counts, shares)
	}
	for i, share := range shares {
		if share == 0 && counts[i] != 0 {
			t.Errorf("slot %d got %d picks, want none", i, counts[i])
		}
	}
}

// chiSquareOf is chiSquare for cells that are as likely as their shares say; those of
// share 0 do not count.
func chiSquareOf(counts, shares []int) float64 {
	total, of, cells := 0, 0, 0
	for i, c := range counts {
		total, of = total+c, of+shares[i]
	}
	x := 0.0
	for i, share := range shares {
		if share > 0 {
			expected := float64(total) * float64(share) / float64(of)
			x += (float64(counts[i]) - expected) * (float64(counts[i]) - expected) / expected
			cells++
		}
	}
	if cells == 1 {
		return 1
	}
	return chiSquareTail(x, cells-1)
}

// A pool has no key when all tiers are out, and a tier that is back comes first again.
func TestTiersComeBack(t *testing.T) {
	p := makeRanked(t, "1/1 2/5 3/9")
	for s, d := range []time.Duration{30, 20, 10} {
		p.Cool(start, Slot(s), Cooldown{For: d})
	}
	for _, row := range []struct {
		after time.Duration
		slot  Slot // -1: none
	}{{9, -1}, {10, 2}, {19, 2}, {20, 1}, {29, 1}, {30, 0}} {
		s, ok := p.Pick(start.Add(row.after), nil)
		if !ok {
			s = -1
		}
		if s != row.slot {
			t.Errorf("after %d: slot %d, want %d", row.after, s, row.slot)
		}
	}
	p.Disable(start.Add(30), 0)
	if s, _ := p.Pick(start.Add(30), nil); s != 1 {
		t.Errorf("slot %d while the first is disabled, want 1", s)
	}
	if _, ok := p.Pick(start.Add(30), []Slot{2, 1}); ok {
		t.Error("there is a key, though the first is disabled and the others have been tried")
	}
	checkPool(t, p)
}

func TestTooManyRanks(t *testing.T) {
	for n, wrong := range map[int]bool{MaxRanks: false, MaxRanks + 1: true} {
		ranks := make([]Rank, n)
		for i := range ranks {
			ranks[i] = Rank{Tier: uint8(1 + i/MaxRank), Weight: uint8(1 + i%MaxRank)}
		}
		_, err := NewPool(makeKeys(t, n), NewState(start), start, WithRanks(ranks))
		if (err != nil) != wrong {
			t.Errorf("%d ranks: error %v", n, err)
		}
	}
}

// randomRanks returns ranks of a few tiers and weights, or none.
func randomRanks(r *rand.Rand, n int) []Rank {
	if r.IntN(2) == 0 {
		return nil
	}
	ranks := make([]Rank, n)
	for i := range ranks {
		ranks[i] = Rank{Tier: uint8(1 + r.IntN(3)), Weight: uint8(1 + r.IntN(3)*33)}
	}
	return ranks
}

// tier returns the slot's.
func (p *Pool) tier(s Slot) uint8 {
	if p.ranks == nil {
		return 1
	}
	return p.ranks[s].Tier
}

// lowest returns the lowest tier of the slots that are not out.
func (p *Pool) lowest(out func(Slot) bool) uint8 {
	lowest := uint8(MaxRank + 1)
	for _, s := range slices.DeleteFunc(span(0, Slot(p.Len())), out) {
		lowest = min(lowest, p.tier(s))
	}
	return lowest
}

func BenchmarkPickRanked(b *testing.B) {
	for _, buckets := range []int{2, 10, 100} {
		b.Run(fmt.Sprintf("buckets=%d", buckets), func(b *testing.B) {
			ranks := make([]Rank, 1000)
			for i := range ranks {
				ranks[i] = Rank{Tier: uint8(1 + i%buckets%2), Weight: uint8(1 + i%buckets)}
			}
			p, err := NewPool(makeKeys(b, len(ranks)), NewState(start), start, WithRanks(ranks))
			if err != nil {
				b.Fatal(err)
			}
			coolRandomly(p, len(ranks)/2)
			tried := span(0, 3)
			b.ReportAllocs()
			for b.Loop() {
				p.Pick(start, tried)
			}
		})
	}
}
