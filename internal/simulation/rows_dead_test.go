package simulation

import (
	"fmt"
	"math"
	"time"
)

const day = 24 * time.Hour

// A dead key is asked after 30 s, 1 min, 2 min, …: so often a day.
const asksADay = 12

var oneDead = row{
	2, "one of the keys is dead",
	"no request fails; the dead key is asked at most 12 times a day",
	func() (all []instance) {
		sample := oneIn{n: 31}
		for _, keys := range from(2) {
			for _, way := range ways(quick, slow, late) {
				for _, w := range deadWords {
					s := usual(way, keys, day)
					s.rate, s.rule = calmer(2*time.Minute, 0.05), func() rule { return out(1, 0, forever, w.reply) }
					s.well = func(_ time.Duration, key int) bool { return key > 0 }
					all = append(all, instance{w.name, sample.next(), s, checkOneDead})
				}
			}
		}
		return all
	},
}

func checkOneDead(v *verdict) {
	v.must("failed", v.failed(0, forever), 0)
	// Beside the first call are those that are under way with the same key.
	under := math.Ceil(ordinary * v.refuses.Seconds())
	v.must("asked", v.refusedCalls(1, 0, day), (asksADay+under)*v.factor())
}

var mostDead = row{
	3, "most of the keys are dead",
	"at most 7 clients see a refusal, none after the first 25 s; at most 130 calls to dead keys by then (200 with slow answers), then 12 a day a key",
	func() (all []instance) {
		sample := oneIn{n: 11}
		for _, n := range []struct{ dead, good int }{{99, 1}, {20, 5}, {50, 10}} {
			for _, way := range ways(quick, slow, late) {
				for _, w := range []words{knownKey, unknownKey, overdue} {
					s := usual(way, n.dead+n.good, day)
					s.rate, s.rule = calmer(5*time.Minute, 0.1), func() rule { return out(n.dead, 0, forever, w.reply) }
					s.well = func(_ time.Duration, key int) bool { return key >= n.dead }
					all = append(all, instance{fmt.Sprintf("%d of them dead, %s", n.dead, w.name), sample.next(), s, checkMostDead(n.dead)})
				}
			}
		}
		return all
	},
}

func checkMostDead(dead int) func(*verdict) {
	const settled = 25 * time.Second
	return func(v *verdict) {
		most := 130.0
		if v.serves > time.Second {
			most = 200
		}
		v.must("failed", v.failed(0, settled), 7*v.factor())
		v.must("later", v.failed(settled, forever), 0)
		v.must("calls to dead keys", v.refusedCalls(dead, 0, settled), most*v.factor())
		v.must("then a key", v.refusedEach(dead, settled, settled+day), asksADay*v.factor())
	}
}

var allDead = row{
	4, "all keys are dead for a time, then well",
	"after the first minute at most one call in 10 s; served again within half the outage and 0.5 s of its end, at most 10.5 s",
	func() (all []instance) {
		sample := oneIn{n: 23}
		for _, outage := range []time.Duration{10 * time.Second, 10 * time.Minute, 10 * time.Hour} {
			for _, keys := range sizes {
				for _, way := range ways(quick, slow, late) {
					for _, w := range []words{knownKey, unknownKey} {
						s := usual(way, keys, outage+time.Minute)
						s.rate, s.rule = busyAtTheEnds(outage), func() rule { return out(keys+1, 0, outage, w.reply) }
						s.well = func(at time.Duration, _ int) bool { return at >= outage }
						all = append(all, instance{fmt.Sprintf("dead for %s, %s", outage, w.name), sample.next(), s, checkAllDead(outage)})
					}
				}
			}
		}
		return all
	},
}

// busyAtTheEnds is the usual rate at the beginning of an outage and around its end.
func busyAtTheEnds(outage time.Duration) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		switch {
		case at < 2*time.Minute || at > outage-time.Minute:
			return ordinary
		case outage > time.Hour:
			return 0.2
		}
		return 1
	}
}

func checkAllDead(outage time.Duration) func(*verdict) {
	return func(v *verdict) {
		v.comesBack(outage)
		v.note("%.0f calls in the first minute", v.refusedCalls(v.keys+1, 0, min(time.Minute, outage)))
	}
}

// comesBack holds the calls of an outage of all keys, and when it is seen to be over,
// against what must hold.
func (v *verdict) comesBack(outage time.Duration) {
	if calm := outage - time.Minute; calm > 0 {
		n, most := v.callsWithin(time.Minute, outage)
		v.must("calls after a minute", n, (math.Floor(calm.Seconds()/10)+1)*v.factor())
		v.note("at most %.0f in 10 s", most)
	}
	v.must("back after s", v.servedAfter(outage), min(outage.Seconds()/2+0.5, 10.5))
	if again := v.servedAfter(outage); again < never {
		v.note("%.0f failed later", v.failed(outage+time.Duration((again+v.serves.Seconds())*float64(time.Second)), forever))
	}
}
