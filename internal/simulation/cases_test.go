package simulation

import "time"

// The sizes of pools that people have.
var sizes = []int{1, 2, 3, 5, 10, 50, 200}

// from returns the sizes of at least n keys.
func from(n int) (some []int) {
	for _, size := range sizes {
		if size >= n {
			some = append(some, size)
		}
	}
	return some
}

// ways are a fresh pool and a warm one, requests that come regularly and at random, and
// answers after some time. Those of the sample come first.
func ways(speeds ...speed) (some []scenario) {
	for _, s := range speeds {
		for _, way := range []struct{ warm, poisson bool }{{true, true}, {false, false}, {true, false}, {false, true}} {
			some = append(some, scenario{warm: way.warm, poisson: way.poisson, speed: s})
		}
	}
	return some
}

// usual is a scenario of ordinary traffic.
func usual(way scenario, keys int, length time.Duration) scenario {
	way.keys, way.length, way.rate = keys, length, steady(ordinary)
	return way
}

// everyKey is well.
func everyKey(time.Duration, int) bool { return true }

// oneIn marks every n-th of a row's cases for the sample, in the order in which they come,
// with a start that differs between the rows.
type oneIn struct{ n, count int }

func (o *oneIn) next() bool {
	o.count++
	return o.count%o.n == 0
}
