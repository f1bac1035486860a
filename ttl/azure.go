package ttl

import "slices"

// Azure is how Azure OpenAI answers, alone and behind Azure API Management.
//
// Sources: Microsoft's pages on Azure OpenAI's quotas and on the policies quota
// and rate-limit of API Management, and answers that people reported; see
// testdata.
var Azure = newDialect(azureRules, openAIAhead, commonAhead)

var azureRules = slices.Concat([]rule{
	{
		class:    QuotaExhausted,
		statuses: []int{403, 429},
		phrases:  []string{"out of call volume quota", "out of bandwidth quota", "quota will be replenished"},
	},
	{
		class:    InvalidKey,
		statuses: []int{401},
		begins:   []string{"access denied due to missing subscription key", "access denied due to invalid"},
	},
	{class: InvalidKey, statuses: []int{403}, codes: []string{"AuthenticationTypeDisabled"}},
}, commonRules)
