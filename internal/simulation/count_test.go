package simulation

import (
	"fmt"
	"math"
	"time"
)

const forever = time.Duration(math.MaxInt64)

// never is how many seconds it took what did not happen.
const never = 999_999.0

// size is how many keys the pool has in the end.
func (r *result) size() float64 {
	if r.twist.file {
		return float64(r.keys + 1)
	}
	return float64(r.keys)
}

// failed counts the ordinary requests that came within a time and failed.
func (r *result) failed(from, to time.Duration) (n float64) {
	for _, v := range r.visits {
		if !v.odd && v.failed() && v.at >= from && v.at < to {
			n++
		}
	}
	return n
}

// ordinaries counts the ordinary requests.
func (r *result) ordinaries() (n float64) {
	for _, v := range r.visits {
		if !v.odd {
			n++
		}
	}
	return n
}

// servedOnes counts the ordinary requests that were served.
func (r *result) servedOnes() (n float64) {
	for _, v := range r.visits {
		if !v.odd && v.served() {
			n++
		}
	}
	return n
}

// refusedCalls counts the refused calls within a time, of the keys below n.
func (r *result) refusedCalls(below int, from, to time.Duration) (n float64) {
	for _, c := range r.calls {
		if c.refused && int(c.key) < below && c.at >= from && c.at < to {
			n++
		}
	}
	return n
}

// refusedKnowingly counts the refused calls of a time, and of them those that came when
// the key's first refusal was known: the others were under way.
func (r *result) refusedKnowingly(to time.Duration) (firsts, knowingly float64) {
	known := make([]time.Duration, r.keys+1)
	for _, c := range r.calls {
		switch {
		case !c.refused || c.at >= to:
		case known[c.key] == 0:
			firsts++
			known[c.key] = c.at + r.refuses
		case c.at > known[c.key]:
			knowingly++
		}
	}
	return firsts, knowingly
}

// refusedEach returns how many calls with one of the keys below n were refused, at most.
func (r *result) refusedEach(below int, from, to time.Duration) float64 {
	counts := make([]int, below+1)
	most := 0
	for _, c := range r.calls {
		if c.refused && int(c.key) < below && c.at >= from && c.at < to {
			counts[c.key]++
			most = max(most, counts[c.key])
		}
	}
	return float64(most)
}

// servedAfter returns how many seconds after a time the first call came that was served.
func (r *result) servedAfter(from time.Duration) float64 {
	for _, c := range r.calls {
		if !c.refused && c.at >= from {
			return (c.at - from).Seconds()
		}
	}
	return never
}

// servedWith is servedAfter for a key.
func (r *result) servedWith(key int, from time.Duration) float64 {
	for _, c := range r.calls {
		if !c.refused && int(c.key) == key && c.at >= from {
			return (c.at - from).Seconds()
		}
	}
	return never
}

// callsWithin counts the calls of a time, and the most of ten seconds of it.
func (r *result) callsWithin(from, to time.Duration) (n, most float64) {
	const window = 10 * time.Second
	counts := make(map[time.Duration]float64)
	for _, c := range r.calls {
		if c.at >= from && c.at < to {
			n++
			counts[c.at/window]++
			most = max(most, counts[c.at/window])
		}
	}
	return n, most
}

// oddAnswers counts the odd requests, and those whose answer is not the upstream's own. A
// limit is told with a time that is true of the whole pool: its status counts.
func (r *result) oddAnswers(w words) (odd, other float64, example string) {
	for _, v := range r.visits {
		if !v.odd {
			continue
		}
		odd++
		if v.status != w.status || w.status != 429 && v.body != w.body {
			other++
			example = fmt.Sprintf(" (such as %d %q)", v.status, v.body[:min(len(v.body), 60)])
		}
	}
	return odd, other, example
}

// duringTheFirstOdd counts the ordinary requests that come while the first odd one is
// under way, and fail.
func (r *result) duringTheFirstOdd() (n float64) {
	for _, v := range r.visits {
		if v.odd {
			return r.failed(v.at, v.end)
		}
	}
	return n
}
