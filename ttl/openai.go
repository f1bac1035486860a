package ttl

// OpenAI is how OpenAI answers, and the many that copy its API: Groq, DeepSeek,
// xAI, Mistral, Together, Moonshot, Zhipu, LiteLLM and gateways of that kind.
//
// Sources: OpenAI's guides to rate limits and error codes, and answers of all
// these that people reported; see testdata.
var OpenAI = newDialect(openAIRules, commonWaits)

// Generic knows nothing of its provider: 429 is a rate limit (RFC 6585,
// section 4), nothing else means anything. How long to wait it reads like
// OpenAI, since the headers and words are common property by now.
var Generic = newDialect([]rule{{class: RateLimited, statuses: []int{429}}}, commonWaits)

// openAIRules go from what asks most of an answer to what asks least. A 400,
// 401 or 403 that names no reason known here is passed on: cooling a key for
// something that a client or a setting caused would cool them all.
var openAIRules = []rule{
	{
		class:    QuotaExhausted,
		statuses: []int{400, 402, 403, 429},
		codes: []string{
			"insufficient_quota",
			"billing_hard_limit_reached",
			"billing_not_active",
			"exceeded_current_quota_error", // Moonshot
			"insufficient_user_quota",      // one-api
			"1113",                         // Zhipu
		},
		begins: []string{
			"billing hard limit",
			"credit balance is too low",
			"your credit balance is too low",
		},
	},
	{
		class:    QuotaExhausted,
		statuses: []int{402, 403, 429},
		phrases: []string{
			"credit balance is too low",
			"insufficient balance", // DeepSeek
			"insufficient credits",
			"run out of credits", // xAI
			"used all available credits",
		},
	},
	{
		class:    InvalidKey,
		statuses: []int{400, 401, 403, 429},
		codes: []string{
			"invalid_api_key",
			"account_deactivated",
			"access_terminated",
			"authentication_error",
			"invalid_authentication_error", // Moonshot
			"organization_restricted",      // Groq
		},
	},
	{
		class:    InvalidKey,
		statuses: []int{400, 401, 403}, // 400: xAI
		begins: []string{
			"incorrect api key",
			"invalid api key",
			"invalid subscription key", // Azure
			"access denied due to invalid subscription key",
		},
	},
	{
		class:    InvalidKey,
		statuses: []int{401},
		begins:   []string{"unauthorized"}, // Mistral
	},
	{class: RequestTooLarge, statuses: []int{413}},
	{
		class:     RequestTooLarge,
		statuses:  []int{429},
		phrases:   []string{"request too large"},
		oversized: true,
	},
	{class: Overloaded, statuses: []int{503, 529}},
	{
		class:    Overloaded,
		statuses: []int{429},
		codes: []string{
			"engine_overloaded",
			"engine_overloaded_error", // Moonshot
			"overloaded_error",
			"server_is_overloaded",
			"resource_unavailable", // OpenAI's flex processing
			"3505",                 // Mistral
			"service_tier_capacity_exceeded",
			"1015", // Cloudflare: limits the gateway's address
		},
		phrases: []string{
			"currently overloaded",
			"tier capacity exceeded", // Mistral
			"peak load",              // Azure
			"error code: 1015",
			"error 1015",
		},
	},
	// A payment that is asked for with a time to come back is a rate limit
	// (OpenRouter's budget in flight); any other is about money.
	{
		class:    RateLimited,
		statuses: []int{402},
		fields:   []fieldIs{{field: named("retry-after")}},
	},
	{class: QuotaExhausted, statuses: []int{402}},
	{class: RateLimited, statuses: []int{429}},
}

// commonWaits go from what is meant for clients that wait, over what a person
// is told, to what merely reports a limit's state.
var commonWaits = []wait{
	{read: inMilliseconds, field: named("retry-after-ms")},
	{read: inMilliseconds, field: named("x-ms-retry-after-ms")},
	{read: inSecondsOrDate, field: named("retry-after")},
	{read: inWords},
	{read: byWindow, windows: []window{openAIWindow("requests"), openAIWindow("tokens")}},
	{read: inPolicies, field: named("ratelimit")},
	{read: asReset, field: named("ratelimit-reset")},
	{read: asReset, field: named("x-ratelimit-reset")},
	{read: asReset, field: named("x-rate-limit-reset")},
}

func openAIWindow(of string) window {
	return window{
		limit:     named("x-ratelimit-limit-" + of),
		remaining: named("x-ratelimit-remaining-" + of),
		reset:     named("x-ratelimit-reset-" + of),
		period:    named("x-ratelimit-renewalperiod-" + of),
	}
}
