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

// mean returns the mean of values, and NaN of none.
func mean(values []float64) float64 {
	sum := 0.0
	for _, value := range values {
		sum += value
	}
	return sum / float64(len(values))
}

// ratio compares one subject with the mean of one or more others: round by round, and
// then as the median of the rounds' ratios. What disturbs a round disturbs both sides.
// The rounds are of so many starts, as many of each. A start has a luck of its own, in
// where its memory lies: the bootstrap draws starts, and then rounds of each.
func ratio(of []float64, to [][]float64, starts int, random *rand.Rand) interval {
	ratios := make([]float64, len(of))
	for round := range of {
		others := make([]float64, len(to))
		for i, other := range to {
			others[i] = other[round]
		}
		ratios[round] = of[round] / mean(others)
	}
	each := len(ratios) / starts
	draws := make([]float64, resamples)
	drawn := make([]float64, 0, len(ratios))
	for i := range draws {
		drawn = drawn[:0]
		for range starts {
			start := ratios[random.IntN(starts)*each:][:each]
			for range each {
				drawn = append(drawn, start[random.IntN(each)])
			}
		}
		draws[i] = median(drawn)
	}
	slices.Sort(draws)
	return interval{
		Value: median(ratios),
		Low:   draws[resamples*25/1000],
		High:  draws[resamples*975/1000-1],
	}
}
