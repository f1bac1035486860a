package simulation

import (
	"fmt"
	"time"
)

var organisation = row{
	9, "an organisation of 5 of 50 keys falls out",
	"no request fails; at most 2 refused calls in 30 s where the groups are known, 10 where they are not",
	func() (all []instance) {
		const size = 5
		sample := oneIn{n: 3}
		for _, way := range ways(quick, late) {
			for _, groups := range []int{size, 0} {
				for _, w := range []words{noQuota, {"429 of 1h", retryAfter(time.Hour)}} {
					s, name := usual(way, 50, time.Minute), "groups known, "+w.name
					s.groups, s.rule = groups, func() rule { return out(size, 0, forever, w.reply) }
					s.well = func(_ time.Duration, key int) bool { return key >= size }
					if groups == 0 {
						name = "groups unknown, " + w.name
					}
					all = append(all, instance{name, sample.next(), s, checkOrganisation})
				}
			}
		}
		return all
	},
}

func checkOrganisation(v *verdict) {
	most := 10.0
	if v.groups > 0 {
		most = 2
	}
	v.must("failed", v.failed(0, forever), 0)
	v.must("refused calls in 30 s", v.refusedCalls(v.keys, 0, 30*time.Second), most*v.factor())
}

var quotaWords = row{
	10, "a throttle of 20 s speaks of quota",
	"back within 30 s: the pool of its beginning, a single key of its end",
	func() (all []instance) {
		const throttle = 20 * time.Second
		sample := oneIn{n: 13}
		for _, keys := range sizes {
			for _, way := range ways(quick, slow, late) {
				s := usual(way, keys, 2*time.Minute)
				s.rule = func() rule { return out(keys+1, 0, throttle, throttled.reply) }
				s.well = func(at time.Duration, _ int) bool { return at >= throttle }
				all = append(all, instance{"all keys", sample.next(), s, func(v *verdict) {
					v.must("served again after s", v.servedAfter(throttle), 10)
				}})
				if keys == 1 {
					continue
				}
				s.rule = func() rule { return out(1, 0, throttle, throttled.reply) }
				s.well = func(at time.Duration, key int) bool { return key > 0 || at >= throttle }
				all = append(all, instance{"one key", sample.next(), s, func(v *verdict) {
					v.must("key back after s", v.servedWith(0, throttle), 30)
					v.must("failed", v.failed(0, forever), 0)
				}})
			}
		}
		return all
	},
}

// modelQuota is a quota that names its model, as a provider says it.
type modelQuota struct {
	provider   string
	big, small string
	paths      map[string]string
	words
}

var modelQuotas = []modelQuota{
	{"openai", "gpt-big", "gpt-small", nil, says("openai", 429,
		`{"error":{"message":"You exceeded your current quota for model gpt-big, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}`)},
	{"gemini", "gemini-2.5-pro", "gemini-2.5-flash", map[string]string{
		"gemini-2.5-pro":   "/v1beta/models/gemini-2.5-pro:generateContent",
		"gemini-2.5-flash": "/v1beta/models/gemini-2.5-flash:generateContent",
	}, says("gemini", 429,
		`{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 50, model: gemini-2.5-pro","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_requests","quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","quotaDimensions":{"location":"global","model":"gemini-2.5-pro"},"quotaValue":"50"}]}]}}`)},
}

var oneModel = row{
	11, "a quota names one model",
	"no request for another model fails, and the key serves these",
	func() (all []instance) {
		sample := oneIn{n: 9}
		for _, keys := range []int{1, 2, 5, 10, 50} {
			for _, way := range ways(quick, late) {
				for _, q := range modelQuotas {
					for _, out := range []int{keys, 1} {
						if out == 1 && keys == 1 {
							continue
						}
						s := usual(way, keys, time.Minute)
						s.provider, s.byModel, s.paths, s.models = q.provider, true, q.paths, []string{q.big, q.small}
						s.rule = func() rule { return spentFor(q, out) }
						all = append(all, instance{fmt.Sprintf("%s, %d of the keys", q.name, out), sample.next(), s, checkOneModel(q, out)})
					}
				}
			}
		}
		return all
	},
}

// spentFor refuses a model with so many of the keys.
func spentFor(q modelQuota, out int) rule {
	return func(c *call) *reply {
		if c.key < out && c.v.model == q.big {
			return q.reply
		}
		return nil
	}
}

func checkOneModel(q modelQuota, out int) func(*verdict) {
	return func(v *verdict) {
		failed := 0.0
		for _, visit := range v.visits {
			if visit.failed() && (visit.model == q.small || out < v.keys) {
				failed++
			}
		}
		v.must("failed", failed, 0)
		again := never
		for key := range out {
			again = min(again, v.servedWith(key, 10*time.Second))
		}
		v.must("key serves after s", again, 15)
	}
}
