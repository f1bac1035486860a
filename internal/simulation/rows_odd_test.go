package simulation

import (
	"strings"
	"time"
)

// oddities are how odd requests come: of one shape, and each of another.
func oddities() (some []odd) {
	for _, o := range []odd{
		{name: "alone", once: 1},
		{name: "4 at once", once: 4},
		{name: "10 at once", once: 10},
		{name: "one a second", rate: func(float64) float64 { return 1 }},
		{name: "half of all", rate: func(of float64) float64 { return of }},
	} {
		some = append(some, o)
		if o.name != "alone" {
			o.name, o.others = o.name+" of other shapes", true
			some = append(some, o)
		}
	}
	return some
}

var oddRequests = row{
	1, "odd requests: every key refuses them and serves all others",
	"no ordinary request fails; with one key, where the odd ones state a time, at most one an odd request and those that come while the first is under way. The odd client gets the upstream's own answer",
	func() (all []instance) {
		sample := oneIn{n: 67}
		for _, keys := range sizes {
			for _, way := range ways(quick, slow, late) {
				for _, w := range oddWords {
					for _, o := range oddities() {
						s := usual(way, keys, time.Minute)
						s.odd, s.well, s.rule = o, everyKey, func() rule { return oddly(w.reply) }
						one := keys == 5 && way.warm && !way.poisson && way.speed == quick && o.name == "alone"
						all = append(all, instance{w.name + " " + o.name, sample.next() || one, s, checkOdd(w)})
					}
				}
			}
		}
		return all
	},
}

func checkOdd(w words) func(*verdict) {
	return func(v *verdict) {
		odd, other, example := v.oddAnswers(w)
		most := 0.0
		if v.keys == 1 && statesTime(w) {
			most = odd + v.duringTheFirstOdd()
		}
		v.must("failed", v.failed(0, forever), most*v.factor())
		v.must("answers not the upstream's", other, 0)
		v.note("odd %.0f%s", odd, example)
	}
}

func statesTime(w words) bool { return strings.Contains(strings.Join(w.header, " "), "Retry-After") }

var slowPool = row{
	17, "a slow pool: an ordinary request every five seconds, an odd one a second",
	"at most 1 % of the ordinary requests fail where the odd ones are of one shape, 5 % where each is of another",
	func() (all []instance) {
		sample := oneIn{n: 23}
		for _, keys := range []int{1, 2, 3, 5, 10} {
			for _, way := range ways(quick, slow) {
				for _, w := range oddWords {
					for _, others := range []bool{false, true} {
						s := usual(way, keys, time.Hour)
						s.rate, s.well, s.rule = steady(0.2), everyKey, func() rule { return oddly(w.reply) }
						s.odd = odd{name: "one shape", rate: func(float64) float64 { return 1 }, others: others}
						if others {
							s.odd.name = "other shapes"
						}
						all = append(all, instance{w.name + " " + s.odd.name, sample.next(), s, checkSlowPool})
					}
				}
			}
		}
		return all
	},
}

func checkSlowPool(v *verdict) {
	most := 1.0
	if v.odd.others {
		most = 5
	}
	v.must("percent failed", 100*v.failed(0, forever)/v.ordinaries(), most)
}
