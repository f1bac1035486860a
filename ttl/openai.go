package ttl

import "slices"

// OpenAI is how OpenAI answers, and the many that copy its API: Groq, DeepSeek,
// xAI, Mistral, Together, OpenRouter, Fireworks, Cerebras, Perplexity, Moonshot,
// Zhipu, DashScope, Volcengine, SiliconFlow, MiniMax, Hugging Face, Ollama, vLLM,
// LiteLLM, New API and gateways of that kind.
//
// Sources: OpenAI's guides to rate limits and error codes, the others' lists of
// codes, and answers of all these that people reported; see testdata.
var OpenAI = newDialect(commonRules, openAIAhead, commonAhead)

// Volcengine is how Volcengine's Ark answers, by China's clock.
//
// Source: its page on error codes, and answers that people reported.
var Volcengine = newDialect(commonRules, openAIAhead, commonAhead).inChina()

// Generic knows nothing of its provider: 429 is a rate limit (RFC 6585,
// section 4), nothing else means anything. How long to wait it reads like
// all the others, since the headers and words are common property by now.
var Generic = newDialect(
	[]rule{{class: RateLimited, statuses: []int{429}}},
	openAIAhead, anthropicAhead, commonAhead,
)

// refusals are the statuses under which providers speak of money and keys: 500 is
// MiniMax's, 412 Fireworks'. In a 400 only codes and beginnings count.
var (
	refusals = []int{401, 402, 403, 412, 429, 500}
	all      = append([]int{400}, refusals...)
)

// commonRules are those of every dialect but Generic, behind its own: gateways hand on
// what others say. They go from what asks most of an answer to what asks least.
var commonRules = slices.Concat(exceptions, moneyRules, keyRules, capacityRules, limitRules, restRules)

// exceptions are in words or codes that mean something else anywhere else.
var exceptions = []rule{
	// DashScope's limit of tokens a minute, in OpenAI's words for a want of money.
	{class: RateLimited, statuses: []int{403, 429}, phrases: []string{"error-code#token-limit", "error-code#rate-limit"}},
	// What a moderator has stopped, or where the request comes from.
	{
		class:    OK,
		statuses: []int{400, 401, 403, 429},
		codes: []string{
			"unsupported_country_region_territory", "ip_not_authorized", "content_filter", "DataInspectionFailed",
		},
	},
	{
		class:    OK,
		statuses: []int{401, 403},
		codes:    []string{"model_not_found", "no_access"},
		begins:   []string{"request not allowed"}, // Anthropic: the region
		phrases: []string{
			"territory not supported", "location is not supported", "virtual network/firewall",
			"requires moderation", "input was flagged", "missing scopes: api.management",
			"限制使用", // ChatAnywhere: the models of its free keys
		},
	},
}

var moneyRules = []rule{
	{
		class:    QuotaExhausted,
		statuses: all,
		codes: []string{
			"insufficient_quota",
			"insufficient_balance", "insufficient_balance_error", "not_enough_balance",
			"insufficient_credits", "insufficient_funds", "credits_exhausted",
			"billing_error", "billing_hard_limit_reached", "billing_not_active",
			"payment_required", "payment_required_error",
			"usage_limit_reached", // Codex: a subscription's share
			"usage_not_included",
			"exceeded_current_quota_error", // Moonshot
			"insufficient_user_quota",      // One API
			"pre_consume_token_quota_failed",
			"API_KEY_QUOTA_EXHAUSTED", "USAGE_LIMIT_EXCEEDED", // sub2api
			"SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_INVALID", "SUBSCRIPTION_EXPIRED",
			"SubscriptionUsageLimitError", "MonthlyLimitError", "CreditsError", // OpenCode
			"Arrearage", "AllocationQuota.FreeTierOnly", "CommodityNotPurchased", // DashScope
			"PrepaidBillOverdue", "PostpaidBillOverdue",
			"AccountOverdueError", "OperationDenied.ServiceOverdue", "ServiceOverdue", // Volcengine
			"AccountQuotaExceeded", "SetLimitExceeded", "QuotaExceeded", "InvalidSubscription",
			"ResourceUnavailable.InArrears", // Tencent
			"FailedOperation.ResourcePackExhausted", "FailedOperation.FreeResourcePackExhausted",
			"1113", "1304", "1308", "1309", "1310", "1313", "1316", // Zhipu: arrears, and what a plan includes
			"30001",        // SiliconFlow
			"3036", "4006", // Cloudflare: a day's neurons
		},
		base: []string{"1008"},
		begins: []string{
			"billing hard limit",
			"credit balance is too low",
			"your credit balance is too low",
			"insufficient balance",
			"insufficient credits",
			"insufficient account balance",
			"access denied, please make sure your account is in good standing", // DashScope
			"余额不足",
			"用户额度不足",
		},
	},
	{
		class:    QuotaExhausted,
		statuses: refusals,
		phrases: []string{
			"credit balance is too low",
			"insufficient balance", "insufficient account balance", "insufficient funds", // DeepSeek, sub2api
			"balance is insufficient", "balance is not enough", "not enough balance", "balance not enough",
			"balance is too low", "balance is negative", "negative balance", "balance exhausted",
			"insufficient credit", "not enough credit", "out of credit", "no credits", "credits are depleted", // xAI: "run out of credits"
			"credits exhausted", "credit limit exceeded", "exhausted your credits",
			"used all available credits",
			"doesn't have any credits",
			"included credits", // Hugging Face
			"spending limit", "spend limit", "spending cap", "spend cap",
			"cost limit", "费用限制", // relays: what somebody set
			"key limit exceeded",        // OpenRouter: what somebody set for the key
			"user quota", "token quota", // One API
			"quota is not enough", "quota has been exhausted", "quota exhausted", "quota has been used up", "subscription quota",
			"tier of the model has been exhausted", "free inference quota", "daily free allocation", "hour allocated quota", "week allocated quota", "month allocated quota",
			"in arrears", "overdue balance", "payment overdue", "past due", "past invoices", "unpaid invoice",
			"subscription has expired", "subscription is expired", "subscription expired", "package has expired", "no active subscription",
			"usage limit for this billing cycle",                                  // Kimi
			"reached your session usage limit", "reached your hourly usage limit", // Ollama
			"reached your daily usage limit", "reached your weekly usage limit", "reached your monthly usage limit",
			"please recharge",
			"total request limit reached", // Baidu
			"预扣费",                         // New API
			"余额不足", "余额已用", "欠费", "额度不足", "额度已用", "额度已耗尽", "额度用尽", "使用上限", "套餐已到期", "套餐已过期", "请充值",
		},
	},
	{
		class:    QuotaExhausted,
		statuses: []int{401, 402, 403, 412},
		codes:    []string{"quota_exceeded", "quota_exhausted"},
		phrases: []string{
			"payment method", "top up your", "exceeded current quota", "exceeded your current quota", "usage limit",
			"is suspended, possibly due to", // Fireworks
		},
	},
}

var keyRules = []rule{
	{
		class:    InvalidKey,
		statuses: all,
		codes: []string{
			"invalid_api_key", "incorrect_api_key_error", "InvalidApiKey", "wrong_api_key", "api_key_invalid",
			"api_key_disabled", "api_key_expired", "api_key_revoked",
			"account_deactivated", "account_disabled", "account_suspended", "user_inactive",
			"access_terminated", "access_terminated_error", // Moonshot
			"authentication_error", "AuthenticationError", "auth_error", "AuthError", "authorized_error",
			"invalid_authentication_error",                                                          // Moonshot
			"organization_restricted",                                                               // Groq
			"CONSUMER_SUSPENDED",                                                                    // Google
			"token_invalidated", "token_revoked", "token_expired", "invalid_token", "expired_token", // Codex
			"invalid_iam_token", "iam_certification_failed", // Baidu
			"ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", // AWS
			"AuthFailure", "AuthFailure.InvalidSecretId", "AuthFailure.SecretIdNotFound", "AuthFailure.SignatureFailure", "AuthFailure.TokenFailure", // Tencent
		},
		base: []string{"1004", "2049"},
		begins: []string{
			"invalid iam", "iam certification failed",
			"access token invalid", "access token expired", // Baidu
		},
	},
	{
		class:    InvalidKey,
		statuses: []int{400, 401, 403}, // 400: xAI
		begins: []string{
			"incorrect api key",
			"invalid api key",
			"invalid api-key",
			"api key is invalid", // SiliconFlow
			"api key not valid",
			"api key expired",
			"the api key you provided is invalid",
			"invalid subscription key", // Azure
			"access denied due to invalid subscription key",
		},
	},
	{
		class:    InvalidKey,
		statuses: []int{401, 403, 429},
		codes:    []string{"1110", "1111", "1112", "1121"}, // Zhipu: the account is inactive, unknown, locked
	},
	{
		class:    InvalidKey,
		statuses: []int{401, 403},
		codes:    []string{"10000", "9109"}, // Cloudflare
		phrases: []string{
			"has been deactivated", "key has expired", "key has been revoked", "key has been disabled", "key has been blocked",
			"key is invalid", "key is disabled", "key is expired", "key is currently blocked", "key is blocked", "key was revoked", "reported as leaked",
			"key doesn't exist", "key does not exist", "key not found", "missing or invalid", "not a valid api key",
			"token has expired", "token is expired", "token is invalid", "token has been invalidated", "token has been revoked",
			"security token included in the request is", // AWS
			"your api key is valid",                     // AWS: "Please make sure your API Key is valid"
			"account has been suspended", "account has been disabled", "account has been banned", "account has been locked", "account is suspended",
			"user has been disabled", "user has been banned", "token status is", // New API
			"organization has been disabled", "has been denied access", "consumer has been suspended",
			"无效的令牌", "令牌无效", "令牌已过期", "令牌状态不可用", "令牌不存在", "令牌验证失败",
			"无效的api", "无效的 api", "key无效", "key 无效", "key不存在", "密钥无效", "密钥错误", "鉴权失败", "身份验证失败", "账号已被封禁", "账户已被锁定", "用户已被封禁", "用户已被禁用",
		},
	},
	{
		class:    InvalidKey,
		statuses: []int{401},
		codes: []string{
			"401", // OpenRouter, Azure
			"UNAUTHENTICATED", "Unauthorized",
			"1000", "1001", "1002", "1003", "1004", // Zhipu: the token is bad or has expired
		},
		begins: []string{
			"unauthorized", // Mistral, vLLM
			"invalid token",
			"invalid access token",
			"invalid credentials",
			"invalid username or password", // Hugging Face
			"no auth credentials found",    // OpenRouter
			"no cookie auth credentials found",
			"user not found",
			"wrong api key",        // Cerebras
			"authentication fails", // DeepSeek
			"authentication failed",
			"authentication error",
			"invalid authentication",
			"bad credentials",   // GitHub
			"invalid api token", // Cohere
			"login fail",        // MiniMax
		},
	},
}

// capacityRules are for what no key cures.
var capacityRules = []rule{
	{class: RequestTooLarge, statuses: []int{429}, phrases: []string{"request too large"}, oversized: true},
	{
		class:    Overloaded,
		statuses: []int{429, 500, 502, 504},
		codes: []string{
			"engine_overloaded",
			"engine_overloaded_error", // Moonshot
			"overloaded_error",
			"server_is_overloaded", "server_overloaded", "ServerOverloaded", // Volcengine
			"model_overloaded", "system_overloaded",
			"queue_exceeded",       // Cerebras
			"resource_unavailable", // OpenAI's flex processing
			"3505",                 // Mistral
			"service_tier_capacity_exceeded", "capacity_exceeded",
			"MODEL_CAPACITY_EXHAUSTED", // Gemini
			"1305", "1312",             // Zhipu
			"3040", // Cloudflare
			"1015", // Cloudflare: limits the gateway's address
		},
		base: []string{"1000", "1013"},
		phrases: []string{
			"currently overloaded", "is overloaded", "temporarily overloaded",
			"tier capacity exceeded", // Mistral
			"capacity temporarily exceeded", "at capacity", "maximum capacity", "out of capacity",
			"peak load", // Azure
			"high traffic", "high demand", "high load",
			"model busy", "model is busy", "server is busy", "server busy", "system is busy", "engine is busy", "too busy",
			"no available channel", "no available account", "load is saturated", // New API
			"error code: 1015",
			"error 1015",
			`cf-error-code">1015`,
			"访问量过大", "负载已饱和", "负载过高", "系统繁忙", "服务繁忙", "服务器繁忙", "无可用渠道",
		},
	},
}

var limitRules = []rule{
	// Google puts its rate limits into the words in which OpenAI speaks of
	// money, also in its imitation of OpenAI's API.
	{class: RateLimited, statuses: []int{429}, codes: []string{"RESOURCE_EXHAUSTED"}},
	{class: QuotaExhausted, statuses: []int{429}, phrases: []string{"exceeded your current quota"}},
	// Some call it a rate limit under another status.
	{
		class:    RateLimited,
		statuses: []int{400, 403, 500},
		codes: []string{
			"rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "rate_limited", "too_many_requests",
			"ThrottlingException", "TooManyRequestsException", "Throttling", "Throttling.RateQuota", "Throttling.AllocationQuota",
			"RateLimitReached", "RateLimitExceeded",
			"LimitExceeded", "RequestLimitExceeded", // Tencent
		},
	},
	{
		class:    RateLimited,
		statuses: []int{403, 500},
		phrases:  []string{"rate limit exceeded", "rate limit reached", "too many requests", "request limit reached", "请求过于频繁", "速率限制"},
	},
	{class: RateLimited, statuses: all, base: []string{"1002", "1039", "1041", "2045", "2056"}},
	// A payment that is asked for with a time to come back is a rate limit
	// (OpenRouter's budget in flight); any other is about money.
	{
		class:    RateLimited,
		statuses: []int{402},
		fields:   []fieldIs{{field: named("retry-after")}},
	},
	{class: QuotaExhausted, statuses: []int{402}},
	{class: Unknown, statuses: []int{429}, codes: []string{"1311"}}, // Zhipu: a model that the plan leaves out
	{class: RateLimited, statuses: []int{429}},
}

// restRules are what remains, once the reasons that there are words for are out of the
// way.
var restRules = []rule{
	{class: Unknown, standing: true},
	{class: Unknown, statuses: []int{401, 402, 403, 412}},

	{class: RequestTooLarge, statuses: []int{413}},
	{class: Overloaded, statuses: []int{503, 529}},
}
