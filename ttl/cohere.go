package ttl

import "slices"

// Cohere is how Cohere's own API answers: a message, and no codes.
//
// Source: Cohere's page on errors, which has 401 for a key that is missing,
// invalid or expired, and nothing else.
var Cohere = newDialect(cohereRules, openAIAhead, commonAhead)

var cohereRules = slices.Concat(exceptions, moneyRules, []rule{
	{class: InvalidKey, statuses: []int{401}},
}, commonRules)
