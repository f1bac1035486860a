package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"
)

var allStating = row{
	5, "all keys are limited, and each states its time",
	"nothing remains: no key is called again that is known to be limited, and requests are served from the first stated moment on. Nothing but Retry-After: at most 12 such calls in 20 s",
	func() (all []instance) {
		sample := oneIn{n: 11}
		for _, keys := range sizes {
			for _, way := range ways(quick, slow, late) {
				for _, first := range []time.Duration{8 * time.Second, 40 * time.Second} {
					if first < way.refuses*10 || first < 10*time.Second && keys > 50 {
						continue // it takes longer to hear of all of them
					}
					s := usual(way, keys, first+30*time.Second)
					s.rule = func() rule { return until(spread(first, keys), way.refuses, usedUp) }
					all = append(all, instance{fmt.Sprintf("0 remaining, from %s on", first), sample.next(), s, checkUsedUp(first)})
				}
				s := usual(way, keys, 90*time.Second)
				s.rule = func() rule { return until(func(int) time.Duration { return time.Minute }, way.refuses, retryAfter) }
				all = append(all, instance{"Retry-After alone, 60s", sample.next(), s, checkRetryAfter})
			}
		}
		return all
	},
}

// spread lets the keys' limits end one after the other.
func spread(first time.Duration, keys int) func(key int) time.Duration {
	return func(key int) time.Duration {
		return first + time.Duration(key)*10*time.Second/time.Duration(keys)
	}
}

// until refuses each key's calls until its time, and says when that is, as seen when the
// answer comes.
func until(end func(key int) time.Duration, takes time.Duration, says func(left time.Duration) *reply) rule {
	return func(c *call) *reply {
		if left := end(c.key) - c.at; left > 0 {
			return says(max(left-takes, 0))
		}
		return nil
	}
}

func checkUsedUp(first time.Duration) func(*verdict) {
	return func(v *verdict) {
		firsts, more := v.refusedKnowingly(forever)
		v.must("called again", more, firsts*(v.factor()-1))
		v.must("served again after s", v.servedAfter(first), 1)
	}
}

func checkRetryAfter(v *verdict) {
	firsts, more := v.refusedKnowingly(20 * time.Second)
	v.must("called again in 20 s", more, 12*v.factor()+firsts*(v.factor()-1))
	v.note("served again after s %s", short(v.servedAfter(time.Minute)))
}

// allowance is what each key may, and how much of it is asked for.
type allowance struct {
	name    string
	burst   float64
	every   time.Duration
	offered float64
	length  time.Duration // 0: a few thousand requests
}

var allowances = []allowance{
	{"1/s, bursts of 1", 1, time.Second, 0.8, 0},
	{"1/s, bursts of 1, 40 % offered", 1, time.Second, 0.4, 0},
	{"1/s, bursts of 5", 5, time.Second, 0.8, 0},
	{"20/min", 20, 3 * time.Second, 0.8, 0},
	{"1000/day", 1000, day / 1000, 0.8, day},
}

var allLimited = row{
	6, "all keys are limited, nothing is stated, 80 % of what they allow is offered",
	"95 % are served of what perfect knowledge serves (88 % where bursts are of 1 and requests come at random); at most 15 % of the calls are refused where bursts are of 5 and more",
	func() (all []instance) {
		sample := oneIn{n: 9}
		for _, keys := range sizes {
			for _, way := range ways(quick, late) {
				for _, a := range allowances {
					if a.length > 0 && keys > 50 {
						continue // too many requests
					}
					s := usual(way, keys, a.lengthFor(keys))
					s.rate = steady(a.offered * float64(keys) / a.every.Seconds())
					s.rule = func() rule { return limits(newBuckets(keys, a.burst, a.every), tooMany.reply) }
					five := keys == 5 && way.warm && a.burst == 1
					all = append(all, instance{a.name, sample.next() || five, s, checkLimited(a)})
				}
			}
		}
		return all
	},
}

// lengthFor is how long some 5,000 requests take, and half an hour at most.
func (a allowance) lengthFor(keys int) time.Duration {
	if a.length > 0 {
		return a.length
	}
	return min(30*time.Minute, time.Duration(5000/(a.offered*float64(keys))*float64(a.every)))
}

func checkLimited(a allowance) func(*verdict) {
	return func(v *verdict) {
		least := 95.0
		if a.burst == 1 && v.poisson {
			least = 88
		}
		oracle := v.knowingBuckets(newBuckets(v.keys, a.burst, a.every))
		v.least("percent of the oracle", 100*v.servedOnes()/oracle, least)
		most := 100.0
		if a.burst >= 5 {
			most = 15
		}
		v.must("percent of calls refused", 100*v.refusedCalls(v.keys, 0, forever)/float64(len(v.calls)), most)
		v.note("the oracle %.0f", oracle)
	}
}

// knowingBuckets is how many requests are served where one knows what is in each bucket.
func (r *result) knowingBuckets(buckets []bucket) (served float64) {
	for _, v := range r.visits {
		best := &buckets[0]
		for i := range buckets {
			if b := &buckets[i]; b.fill(v.at) && b.tokens > best.tokens {
				best = b
			}
		}
		if best.fill(v.at) {
			best.tokens--
			served++
		}
	}
	return served
}

var oneAtATime = row{
	7, "each key serves one request at a time, for 1 to 3 s; 80 % of what they can is offered",
	"95 % are served of what perfect knowledge serves",
	func() (all []instance) {
		sample := oneIn{n: 5}
		for _, keys := range sizes {
			for _, way := range ways(speed{"1 to 3s", 0, 20 * time.Millisecond}) {
				for _, w := range []words{tooMany, tooMany1} {
					s := usual(way, keys, min(30*time.Minute, 12_000*time.Second/time.Duration(keys)))
					s.rate = steady(0.4 * float64(keys))
					s.takes = func(r *rand.Rand) time.Duration { return time.Second + time.Duration(r.Int64N(int64(2*time.Second))) }
					s.rule = func() rule { return single(w.reply) }
					all = append(all, instance{w.name, sample.next(), s, checkOneAtATime})
				}
			}
		}
		return all
	},
}

func checkOneAtATime(v *verdict) {
	oracle := v.knowingWhoIsFree()
	v.least("percent of the oracle", 100*v.servedOnes()/oracle, 95)
	v.note("the oracle %.0f", oracle)
}

// knowingWhoIsFree is how many requests are served where one knows which key is free.
func (r *result) knowingWhoIsFree() (served float64) {
	free := make([]time.Duration, r.keys)
	for _, v := range r.visits {
		for i := range free {
			if free[i] <= v.at {
				free[i] = v.at + v.took
				served++
				break
			}
		}
	}
	return served
}

var addressThrottled = row{
	8, "the gateway's address is throttled for five minutes",
	"at most 90 refused calls and one a key, beside those under way; back within 10.5 s; no key cools longer than that",
	func() (all []instance) {
		const throttle = 5 * time.Minute
		sample := oneIn{n: 9}
		for _, keys := range sizes {
			for _, way := range ways(quick, slow, late) {
				for _, stated := range []bool{false, true} {
					s, name := usual(way, keys, throttle+time.Minute), "nothing stated"
					s.well = func(at time.Duration, _ int) bool { return at >= throttle }
					s.rule = func() rule { return out(keys+1, 0, throttle, tooMany.reply) }
					if stated {
						name = "stated"
						s.rule = func() rule { return until(func(int) time.Duration { return throttle }, way.refuses, retryAfter) }
					}
					all = append(all, instance{name, sample.next(), s, checkThrottled(throttle)})
				}
			}
		}
		return all
	},
}

func checkThrottled(throttle time.Duration) func(*verdict) {
	return func(v *verdict) {
		firsts, more := v.refusedKnowingly(forever)
		v.must("refused calls", firsts+more, (90+v.size())*v.factor())
		v.must("back after s", v.servedAfter(throttle), 10.5)
		v.must("keys that cool a minute later", float64(v.ended), 0)
	}
}
