package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestEveryRoundHasEachSubjectOnce(t *testing.T) {
	for _, rounds := range []int{1, 2, 7, 20} {
		orders := schedule(4, rounds, rand.New(rand.NewPCG(1, 2)))
		if len(orders) != rounds {
			t.Fatalf("%d rounds, want %d", len(orders), rounds)
		}
		for _, order := range orders {
			if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int{0, 1, 2, 3}) {
				t.Errorf("a round drives %v", order)
			}
		}
	}
}

func TestDriftTreatsAllSubjectsAlike(t *testing.T) {
	// The machine gets slower by one with each slice.
	sums := make([]int, 3)
	clock := 0
	for _, order := range schedule(3, 10, rand.New(rand.NewPCG(3, 4))) {
		for _, subject := range order {
			sums[subject] += clock
			clock++
		}
	}
	if sums[0] != sums[1] || sums[1] != sums[2] {
		t.Errorf("the subjects' slices cost %v", sums)
	}
}

func TestOrdersDifferFromRoundToRound(t *testing.T) {
	first := make(map[int]bool)
	for _, order := range schedule(3, 40, rand.New(rand.NewPCG(5, 6))) {
		first[order[0]] = true
	}
	if len(first) != 3 {
		t.Errorf("only %v ever come first", first)
	}
}

// Each kind of keycycler is compared with both bare Caddys, and comes last.
func TestGroups(t *testing.T) {
	for _, test := range []struct {
		scenario scenario
		want     [][]int
	}{{scenario{}, [][]int{{0, 1, 2}}}, {scenario{rejected: true}, [][]int{{0, 1, 2}, {0, 1, 3}}}} {
		if got := test.scenario.groups(); !slices.EqualFunc(got, test.want, slices.Equal[[]int]) {
			t.Errorf("%v, want %v", got, test.want)
		}
	}
}
