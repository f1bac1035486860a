package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		what   string
		values []float64
		want   float64
	}{
		{"the middle one of an odd number, in whatever order", []float64{9, 1, 5}, 5},
		{"between the two in the middle of an even number", []float64{4, 1, 2, 9}, 3},
		{"the only one", []float64{7}, 7},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("%s: got %v, want %v", test.what, got, test.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}

func TestMedianLeavesItsArgumentAsItIs(t *testing.T) {
	values := []float64{3, 1, 2}
	median(values)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("now they are %v", values)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, test := range []struct {
		what    string
		sorted  []time.Duration
		percent float64
		want    time.Duration
	}{
		{"half of a hundred do not exceed the fiftieth", hundred, 50, 50},
		{"99 of a hundred do not exceed the 99th", hundred, 99, 99},
		{"all do not exceed the last", hundred, 100, 100},
		{"none is the first", hundred, 0, 1},
		{"between ranks the upper one", hundred[:3], 50, 2},
		{"of one it is that", hundred[:1], 99, 1},
		{"of none it is nothing", nil, 50, 0},
	} {
		if got := percentile(test.sorted, test.percent); got != test.want {
			t.Errorf("%s: got %d, want %d", test.what, got, test.want)
		}
	}
}

// rounds returns n values around the middle, disturbed alike for the same seed.
func rounds(n int, middle, spread float64, seed uint64) []float64 {
	random := rand.New(rand.NewPCG(seed, 1))
	values := make([]float64, n)
	for i := range values {
		values[i] = middle * (1 + spread*(random.Float64()-0.5))
	}
	return values
}

func TestRatioIsWithinItsInterval(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	base, again, slower := rounds(40, 100, 0.2, 1), rounds(40, 100, 0.2, 2), rounds(40, 110, 0.2, 3)
	got := ratio(slower, [][]float64{base, again}, 4, random)
	if got.Low > got.Value || got.Value > got.High {
		t.Errorf("out of order: %s", got)
	}
	if got.Low <= 1 || got.High >= 1.2 {
		t.Errorf("10 %% more is %s", got)
	}
	if same := ratio(again, [][]float64{base}, 4, random); same.Low > 1 || same.High < 1 {
		t.Errorf("the same is %s, which has no room for 1", same)
	}
}

// The interval must hold the truth as often as it says: about 95 times of a hundred.
func TestIntervalHoldsTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	held := 0
	const trials = 100
	for i := range uint64(trials) {
		got := ratio(rounds(30, 105, 0.3, 100+i), [][]float64{rounds(30, 100, 0.3, 300+i)}, 1, random)
		if got.Low <= 1.05 && 1.05 <= got.High {
			held++
		}
	}
	if held < 85 {
		t.Errorf("%d of %d intervals hold the true ratio", held, trials)
	}
}

// What disturbs a whole round disturbs all that is measured in it.
func TestRoundsAreDrawnWhole(t *testing.T) {
	base := rounds(20, 100, 1.5, 7)
	double := make([]float64, len(base))
	for i, value := range base {
		double[i] = 2 * value
	}
	got := ratio(double, [][]float64{base}, 2, rand.New(rand.NewPCG(3, 3)))
	if got.Low != 2 || got.High != 2 {
		t.Errorf("twice as much in every round is %s", got)
	}
}

// A start that is lucky is lucky in all of its rounds: many rounds of few starts tell
// less than they seem to.
func TestStartsAreDrawnWhole(t *testing.T) {
	base := rounds(40, 100, 0, 1)
	slower := slices.Concat(rounds(10, 95, 0.01, 2), rounds(10, 105, 0.01, 3), rounds(10, 97, 0.01, 4), rounds(10, 103, 0.01, 5))
	wide := ratio(slower, [][]float64{base}, 4, rand.New(rand.NewPCG(4, 4)))
	narrow := ratio(slower, [][]float64{base}, 1, rand.New(rand.NewPCG(4, 4)))
	if wide.High-wide.Low <= narrow.High-narrow.Low || wide.Low > 0.96 || wide.High < 1.04 {
		t.Errorf("four starts: %s, as one: %s", wide, narrow)
	}
}

func TestRatioIsRepeatable(t *testing.T) {
	a, b := rounds(10, 1, 0.5, 1), rounds(10, 1, 0.5, 2)
	first := ratio(a, [][]float64{b}, 2, rand.New(rand.NewPCG(9, 9)))
	if second := ratio(a, [][]float64{b}, 2, rand.New(rand.NewPCG(9, 9))); first != second {
		t.Errorf("%s and %s of the same seed", first, second)
	}
}
