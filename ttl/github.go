package ttl

import "slices"

// GitHub is how GitHub Models and GitHub's REST API answer.
//
// Source: GitHub's page on the rate limits of the REST API. A limit comes as
// 403 or 429; the primary one shows in x-ratelimit-remaining, a secondary one in
// retry-after or in the message alone.
var GitHub = newDialect(gitHubRules, openAIAhead, commonAhead)

var gitHubRules = slices.Concat(exceptions, moneyRules, []rule{
	{class: InvalidKey, statuses: []int{401}},
	{
		class:    RateLimited,
		statuses: []int{403},
		codes:    []string{"RateLimitReached"},
		phrases:  []string{"secondary rate limit", "rate limit exceeded", "abuse detection"},
		fields:   []fieldIs{{field: named("x-ratelimit-remaining"), value: "0"}, {field: named("retry-after")}},
	},
}, commonRules)
