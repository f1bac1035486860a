package ttl

import "slices"

// Anthropic is how Anthropic's API answers.
//
// Sources: its pages on errors and rate limits, and answers that people
// reported; see testdata.
var Anthropic = newDialect(anthropicRules, anthropicAhead, commonAhead)

var anthropicRules = slices.Concat([]rule{
	// Money comes as a 400 whose type says no more than that the request is
	// invalid, so it is the message's beginning that tells.
	{
		class:    QuotaExhausted,
		statuses: []int{400, 402, 403, 429},
		codes:    []string{"billing_error", "enforced_spend_limit_reached", "insufficient_quota"},
		begins: []string{
			"credit balance is too low",
			"your credit balance is too low",
			"you have reached your specified", // "API usage limits", "workspace API usage limits"
			"specified api usage limits",
			"you will regain access on",
			"regain access on",
		},
	},
	{
		class:    QuotaExhausted,
		statuses: []int{403, 429},
		phrases:  []string{"credit balance is too low", "specified api usage limits"},
	},
	{
		class:    InvalidKey,
		statuses: []int{401, 403},
		codes:    []string{"authentication_error", "permission_error"},
		begins:   []string{"invalid x-api-key", "invalid bearer token"},
	},
	{
		class:    InvalidKey,
		statuses: []int{400, 401, 403},
		begins:   []string{"this organization has been disabled", "oauth token has been revoked"},
	},
	// A 429 that no waiting cures: the account does not pay for prompts of
	// that length.
	{class: RequestTooLarge, statuses: []int{429}, phrases: []string{"long context"}},
}, commonRules)
