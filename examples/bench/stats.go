package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// interval is a value and where it lies with 95 % confidence.
type interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// resamples is how many times a bootstrap draws.
const resamples = 2000

// median returns the middle of values, which need not be sorted, and NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile returns the value that percent of the values, which are sorted, do not
// exceed (the nearest rank), and 0 of none.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// ratio compares the median of one subject's rounds with the median of the rounds of
// one or more others. The i-th value of each is of the i-th round: the bootstrap draws
// whole rounds, so that what disturbs a round disturbs both sides.
func ratio(of []float64, to [][]float64, random *rand.Rand) interval {
	all := make([]int, len(of))
	for i := range all {
		all[i] = i
	}
	draws := make([]float64, resamples)
	drawn := make([]int, len(of))
	for i := range draws {
		for j := range drawn {
			drawn[j] = random.IntN(len(of))
		}
		draws[i] = ratioIn(drawn, of, to)
	}
	slices.Sort(draws)
	return interval{
		Value: ratioIn(all, of, to),
		Low:   draws[resamples*25/1000],
		High:  draws[resamples*975/1000-1],
	}
}

// ratioIn returns the ratio of medians in these rounds.
func ratioIn(rounds []int, of []float64, to [][]float64) float64 {
	above := make([]float64, 0, len(rounds))
	below := make([]float64, 0, len(rounds)*len(to))
	for _, round := range rounds {
		above = append(above, of[round])
		for _, other := range to {
			below = append(below, other[round])
		}
	}
	return median(above) / median(below)
}
