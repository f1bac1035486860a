package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func makeAffine(t testing.TB, keys []Key, ranks []Rank) *Pool {
	t.Helper()
	p, err := NewPool(keys, NewState(start), start, WithSource(rand.NewPCG(1, 2)), WithRanks(ranks), WithAffinity())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// homes returns the key of each of n values.
func homes(t testing.TB, p *Pool, n int, tried ...Slot) []Key {
	t.Helper()
	keys := make([]Key, n)
	for i := range keys {
		s, ok := p.PickFor(start, Want{Affinity: AffinityOf(fmt.Sprint("session-", i)), Tried: tried})
		if !ok {
			t.Fatal("no key, though some are ready")
		}
		keys[i] = p.Key(s)
	}
	return keys
}

// sizesOfAffinity are pools of one cluster, of several, and of many.
var sizesOfAffinity = []int{7, 200, 600, 5000}

// A key that cools moves its own values, to many keys, and they come back.
func TestAffinityMovesLittle(t *testing.T) {
	for _, n := range sizesOfAffinity {
		p := makeAffine(t, makeKeys(t, n), nil)
		values := 40 * n
		before := homes(t, p, values)
		gone, _ := p.PickFor(start, Want{Affinity: AffinityOf("session-0")})
		p.Cool(start, gone, Cooldown{For: time.Hour})
		moved := make(map[ID]int)
		for i, k := range homes(t, p, values) {
			switch {
			case before[i] == p.Key(gone):
				moved[k.ID()]++
			case before[i] != k:
				t.Fatalf("%d keys: value %d has moved, though its key does not cool", n, i)
			}
		}
		if len(moved) < min(n-1, 10)*2/3 {
			t.Errorf("%d keys: the values of the one that cools went to %d others", n, len(moved))
		}
		p.Clear(start, gone)
		if !slices.Equal(homes(t, p, values), before) {
			t.Errorf("%d keys: after the cooldown not all values are back", n)
		}
	}
}

// Values are spread as weights say, also over those that are left when others cool.
func TestAffinityIsInProportion(t *testing.T) {
	for _, row := range []struct {
		sentence string
		keys     int
		ranks    func(i int) Rank
		cooling  int
	}{
		{"all alike", 20, func(int) Rank { return Rank{} }, 0},
		{"half of them cool", 20, func(int) Rank { return Rank{} }, 10},
		{"weights", 20, func(i int) Rank { return Rank{Weight: uint8(1 + i%7)} }, 0},
		{"weights, while some cool", 20, func(i int) Rank { return Rank{Weight: uint8(1 + i%7)} }, 8},
		{"two tiers", 20, func(i int) Rank { return Rank{Tier: uint8(1 + i%2), Weight: uint8(1 + i%3)} }, 0},
		{"several clusters", 600, func(int) Rank { return Rank{} }, 0},
		{"several clusters with weights", 600, func(i int) Rank { return Rank{Weight: uint8(1 + i%5)} }, 0},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			ranks, shares := make([]Rank, row.keys), make([]int, row.keys)
			for i := range ranks {
				ranks[i] = row.ranks(i)
				ranks[i].Tier, ranks[i].Weight = max(ranks[i].Tier, 1), max(ranks[i].Weight, 1)
				if i >= row.cooling && ranks[i].Tier == 1 {
					shares[i] = int(ranks[i].Weight)
				}
			}
			p := makeAffine(t, makeKeys(t, row.keys), ranks)
			for s := range row.cooling {
				p.Cool(start, Slot(s), Cooldown{For: time.Hour})
			}
			counts := make([]int, row.keys)
			for i := range 200 * row.keys {
				s, _ := p.PickFor(start, Want{Affinity: AffinityOf(fmt.Sprint("user ", i))})
				counts[s]++
			}
			checkProportions(t, counts, shares, 0.001)
		})
	}
}

// A key that is added or removed moves no more than about its share, and only to or
// from itself; the order in which a node has read its keys is of no account.
func TestAffinityIsTheSameOnAllNodes(t *testing.T) {
	for _, n := range sizesOfAffinity {
		keys := makeKeys(t, n+1)
		values := 20 * n
		few := homes(t, makeAffine(t, keys[:n], nil), values)
		shuffled := slices.Clone(keys[:n])
		rand.New(rand.NewPCG(3, 3)).Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if !slices.Equal(few, homes(t, makeAffine(t, shuffled, nil), values)) {
			t.Errorf("%d keys: a node that has them in another order gives another answer", n)
		}
		moved, elsewhere := 0, 0
		for i, k := range homes(t, makeAffine(t, keys, nil), values) {
			if k != few[i] {
				moved++
				if k != keys[n] {
					elsewhere++
				}
			}
		}
		// 20 are expected, of which clusters may move some among their own.
		if moved < 4 || moved > 60 || elsewhere > 0 && n <= 256 || elsewhere > moved {
			t.Errorf("%d keys: one more moves %d values, %d of them not to itself", n, moved, elsewhere)
		}
	}
}

func TestAffinityOf(t *testing.T) {
	if AffinityOf("") != 0 {
		t.Error("no value has an affinity")
	}
	seen := make(map[Affinity]bool)
	for i := range 100_000 {
		a := AffinityOf(fmt.Sprint(i))
		if a == 0 || seen[a] {
			t.Fatalf("value %d has affinity %d, as another has", i, a)
		}
		seen[a] = true
	}
}

// Nodes of different versions must agree: what is written here may not change.
func TestAffinityStays(t *testing.T) {
	p := makeAffine(t, makeKeys(t, 50), nil)
	var got []Slot
	for _, value := range []string{"a", "b", "session-1", "session-2", "ü"} {
		s, _ := p.PickFor(start, Want{Affinity: AffinityOf(value)})
		got = append(got, s)
	}
	if want := []Slot{18, 20, 2, 21, 16}; !slices.Equal(got, want) {
		t.Errorf("slots %v, want %v", got, want)
	}
}

func TestWithoutAffinityKeysAreDrawn(t *testing.T) {
	p := makeAffine(t, makeKeys(t, 20), nil)
	counts := make([]int, 20)
	for range 20_000 {
		s, _ := p.PickFor(start, Want{})
		counts[s]++
	}
	checkShares(t, counts, nil, 0.001)
}

func BenchmarkPickAffine(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000, 100_000} {
		keys := makeKeys(b, n)
		for _, percent := range []int{0, 50, 99} {
			b.Run(fmt.Sprintf("keys=%d/cooling=%d", n, percent), func(b *testing.B) {
				p := makeAffine(b, keys, nil)
				coolRandomly(p, n*percent/100)
				values := make([]Affinity, 1024)
				for i := range values {
					values[i] = AffinityOf(fmt.Sprint("session-", i))
				}
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					i++
					if _, ok := p.PickFor(start, Want{Affinity: values[i%1024]}); !ok {
						b.Fatal("no key")
					}
				}
			})
		}
	}
}
