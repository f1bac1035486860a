package ttl

import "slices"

// Gemini is how Google's Gemini API and Vertex AI answer, in their own API and
// in their imitation of OpenAI's, where an error comes wrapped in an array.
//
// Sources: Google's pages on errors (google.rpc.Status and its details,
// google.api.ErrorReason), and answers that people reported; see testdata.
var Gemini = newDialect(geminiRules, commonAhead)

var geminiRules = slices.Concat([]rule{
	{
		class:    QuotaExhausted,
		statuses: []int{400, 403, 429},
		codes:    []string{"BILLING_DISABLED"},
	},
	// A limit of 0 is that of a plan which does not include the model: the
	// retry that such an answer proposes ends the same way.
	{
		class:    QuotaExhausted,
		statuses: []int{429},
		phrases:  []string{"spending cap", "spend cap", "credits are depleted"},
		noLimit:  true,
	},
	{
		class:    InvalidKey,
		statuses: []int{400, 401, 403},
		codes:    []string{"API_KEY_INVALID", "CONSUMER_SUSPENDED", "CONSUMER_INVALID"},
		begins: []string{
			"api key not valid",
			"api key expired",
			"your api key was reported as leaked",
			"api key was reported as leaked",
		},
	},
	{
		class:    InvalidKey,
		statuses: []int{403},
		phrases:  []string{"reported as leaked", "has been suspended"},
	},
	// Some of Google's methods take no API key at all, and it is the client
	// that chooses the method.
	{class: OK, statuses: []int{401}, codes: []string{"CREDENTIALS_MISSING"}},
	{class: InvalidKey, statuses: []int{401}, codes: []string{"UNAUTHENTICATED"}},
	{
		class:    RateLimited,
		statuses: []int{403},
		codes:    []string{"RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"},
	},
}, commonRules)
