package rotator

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Each ready and untried key gets the same share of the picks: neither the key
// behind a run of cooling ones, nor any other, gets more. With a fixed seed the
// outcome is always the same; p is the probability of one as uneven as this.
func TestPickIsUniform(t *testing.T) {
	const keys, picks, least = 20, 20_000, 0.001
	for _, row := range []struct {
		sentence string
		cooling  []Slot
		tried    []Slot
	}{
		{"all keys are ready", nil, nil},
		{"five keys cool here and there", []Slot{2, 5, 11, 12, 19}, nil},
		{"fifteen keys cool here and there", []Slot{0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 13, 14, 16, 17, 18}, nil},
		{"a run of five neighbours cools", span(7, 12), nil},
		{"a run of fifteen neighbours cools", span(3, 18), nil},
		{"the run is at the start", span(0, 10), nil},
		{"the run is at the end", span(10, 20), nil},
		{"one key has been tried", nil, []Slot{7}},
		{"a run of neighbours has been tried", nil, span(7, 15)},
		{"some cool, others have been tried", span(3, 9), []Slot{12, 0, 19}},
		{"some that have been tried cool", span(3, 9), []Slot{8, 9, 10, 3}},
		{"a slot stands twice among the tried", span(3, 9), []Slot{12, 12, 0, 12, 4, 4}},
		{"all but two are out", span(0, 9), span(9, 18)},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			p := makePool(t, makeKeys(t, keys), nil, start)
			for _, s := range row.cooling {
				p.Cool(start, s, Cooldown{For: time.Hour})
			}
			counts := make([]int, keys)
			for range picks {
				s, ok := p.Pick(start, row.tried)
				if !ok {
					t.Fatal("no key, though some are ready")
				}
				counts[s]++
			}
			checkPool(t, p)
			checkShares(t, counts, slices.Concat(row.cooling, row.tried), least)
		})
	}
}

// checkShares fails when one of the excluded slots got picks, or the others did
// not get the same.
func checkShares(t *testing.T, counts []int, excluded []Slot, least float64) {
	t.Helper()
	var shares []int
	for s, n := range counts {
		switch {
		case !slices.Contains(excluded, Slot(s)):
			shares = append(shares, n)
		case n > 0:
			t.Errorf("slot %d got %d picks, though it cools or has been tried", s, n)
		}
	}
	if p := chiSquare(shares); p < least {
		t.Errorf("p = %.6f for the shares %v", p, shares)
	}
}

// Picks with tried keys move slots about: the ones without must not notice.
func TestPickIsUniformAfterRetries(t *testing.T) {
	p := makePool(t, makeKeys(t, 20), nil, start)
	counts := make([]int, 20)
	for range 20_000 {
		first, _ := p.Pick(start, nil)
		second, ok := p.Pick(start, []Slot{first})
		if !ok || second == first {
			t.Fatalf("after slot %d came %d, %t", first, second, ok)
		}
		counts[first]++
	}
	checkPool(t, p)
	checkShares(t, counts, nil, 0.001)
}

// Requests that do not get some lots draw among the others as if there were no more.
func TestPickIsUniformAmongOpenLots(t *testing.T) {
	lots := make([]uint16, 20)
	for s := range lots {
		lots[s] = uint16(s % 3)
	}
	p, err := NewPool(makeKeys(t, 20), NewState(start), start, WithSource(rand.NewPCG(5, 6)), WithLots(lots))
	if err != nil {
		t.Fatal(err)
	}
	cooling, tried := []Slot{0, 4, 5}, []Slot{7, 8}
	for _, s := range cooling {
		p.Cool(start, s, Cooldown{For: time.Hour})
	}
	for _, shut := range []Lots{nil, {1}, {2}, {1 | 4}} {
		counts, out := make([]int, 20), slices.Concat(cooling, tried)
		for s := range Slot(20) {
			if shut.Has(lots[s]) {
				out = append(out, s)
			}
		}
		for range 20_000 {
			s, ok := p.PickFor(start, Want{Tried: tried, Shut: shut})
			if !ok {
				t.Fatal("no key, though some are ready")
			}
			counts[s]++
		}
		checkPool(t, p)
		checkShares(t, counts, out, 0.001)
	}
	if s, ok := p.PickFor(start, Want{Shut: Lots{7}}); ok {
		t.Errorf("slot %d, though all lots are shut", s)
	}
}

// Where all keys are of one lot, a request that does not get it has none.
func TestTheOnlyLotIsShut(t *testing.T) {
	for _, option := range []Option{func(*Pool) {}, WithTurns(), WithAffinity()} {
		p, err := NewPool(makeKeys(t, 3), NewState(start), start, option)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []Want{{}, {Affinity: 5}, {Among: []Slot{1}}, {Tried: []Slot{1}}, {Explore: 1}} {
			if _, ok := p.Take(start, w); !ok {
				t.Errorf("%+v: none", w)
			}
			w.Shut.Add(0)
			if s, ok := p.Take(start, w); ok {
				t.Errorf("%+v: slot %d", w, s)
			}
			if c := p.CensusFor(start, w); c != (Census{}) {
				t.Errorf("%+v: census %+v", w, c)
			}
		}
	}
}

// Keys that come and go while picks go on: shares stay equal among those that
// are ready all the time, wherever the swaps have put them.
func TestPickIsUniformWhileOthersComeAndGo(t *testing.T) {
	p := makePool(t, makeKeys(t, 20), nil, start)
	counts, now := make([]int, 20), start
	for i := range 40_000 {
		now = now.Add(time.Millisecond)
		// Slots 5 to 14 cool in turn, about half of them at a time.
		p.Cool(now, Slot(5+i%10), Cooldown{For: 5 * time.Millisecond})
		s, _ := p.Pick(now, nil)
		counts[s]++
	}
	for s := 5; s < 15; s++ {
		if counts[s] == 0 {
			t.Errorf("slot %d never came back", s)
		}
		counts[s] = 0
	}
	checkPool(t, p)
	checkShares(t, counts, span(5, 15), 0.001)
}

// A pick tells nothing about the next one: not a rotation, not a shuffle.
func TestPicksAreIndependent(t *testing.T) {
	const keys = 20
	p := makePool(t, makeKeys(t, keys), nil, start)
	pairs, last := make([]int, keys*keys), Slot(0)
	for range 40_000 {
		s, _ := p.Pick(start, nil)
		pairs[int(last)*keys+int(s)]++
		last = s
	}
	if p := chiSquare(pairs); p < 0.001 {
		t.Errorf("p = %.6f for pairs of successive picks", p)
	}
}
