package ttl

import "slices"

// OpenAI is how OpenAI answers, and the many that copy its API: Groq, DeepSeek,
// xAI, Mistral, Together, OpenRouter, Fireworks, Cerebras, Perplexity, Moonshot,
// Zhipu, Hugging Face, vLLM, LiteLLM and gateways of that kind.
//
// Sources: OpenAI's guides to rate limits and error codes, and answers of all
// these that people reported; see testdata.
var OpenAI = newDialect(openAIRules, openAIAhead, commonAhead)

// Generic knows nothing of its provider: 429 is a rate limit (RFC 6585,
// section 4), nothing else means anything. How long to wait it reads like
// all the others, since the headers and words are common property by now.
var Generic = newDialect(
	[]rule{{class: RateLimited, statuses: []int{429}}},
	openAIAhead, anthropicAhead, commonAhead,
)

// openAIRules go from what asks most of an answer to what asks least. A 400,
// 401 or 403 that names no reason known here is passed on: cooling a key for
// something that a client or a setting caused would cool them all.
var openAIRules = slices.Concat(
	openAIMoney,
	openAIKeys,
	[]rule{
		{
			class:     RequestTooLarge,
			statuses:  []int{429},
			phrases:   []string{"request too large"},
			oversized: true,
		},
	},
	commonRules,
)

var openAIMoney = []rule{
	{
		class:    QuotaExhausted,
		statuses: []int{400, 402, 403, 412, 429, 500},
		codes: []string{
			"insufficient_quota",
			"billing_hard_limit_reached",
			"billing_not_active",
			"usage_limit_reached", // Codex: a subscription's share
			"usage_not_included",
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
			"doesn't have any credits",
			"monthly spending limit",
			"key limit exceeded", // OpenRouter: what somebody set for the key
		},
	},
	// Google puts its rate limits into the words in which OpenAI speaks of
	// money, also in its imitation of OpenAI's API.
	{class: RateLimited, statuses: []int{429}, codes: []string{"RESOURCE_EXHAUSTED"}},
	{class: QuotaExhausted, statuses: []int{429}, phrases: []string{"exceeded your current quota"}},
}

var openAIKeys = []rule{
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
			"API_KEY_INVALID",              // Gemini's imitation of OpenAI's API
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
		codes: []string{
			"401", // OpenRouter, Azure
			"wrong_api_key",
			"UNAUTHENTICATED",
			"1000", "1002", "1003", "1004", // Zhipu: the token is bad or has expired
		},
		begins: []string{
			"unauthorized", // Mistral, vLLM
			"invalid credentials",
			"invalid username or password", // Hugging Face
			"no auth credentials found",    // OpenRouter
			"user not found",
			"wrong api key",        // Cerebras
			"authentication fails", // DeepSeek
			"bad credentials",      // GitHub
			"invalid api token",    // Cohere
			"the api key you provided is invalid",
		},
		phrases: []string{"has been deactivated", "key has expired", "key has been revoked", "key has been disabled"},
	},
}

// commonRules are what remains in every dialect but Generic, once the reasons
// that a provider has words of its own for are out of the way.
var commonRules = []rule{
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
			"MODEL_CAPACITY_EXHAUSTED", // Gemini
			"1015",                     // Cloudflare: limits the gateway's address
		},
		phrases: []string{
			"currently overloaded",
			"is overloaded",
			"tier capacity exceeded", // Mistral
			"peak load",              // Azure
			"error code: 1015",
			"error 1015",
			`cf-error-code">1015`,
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

	// These refusals are for where the request comes from and what it asks for.
	{
		class:    OK,
		statuses: []int{401, 403},
		codes:    []string{"unsupported_country_region_territory", "ip_not_authorized", "model_not_found", "no_access"},
		phrases:  []string{"territory not supported", "virtual network/firewall", "missing scopes: api.management"},
	},
	{class: Unknown, standing: true},
	{class: Unknown, statuses: []int{401, 402, 403, 412}},

	{class: RequestTooLarge, statuses: []int{413}},
	{class: Overloaded, statuses: []int{503, 529}},
}
