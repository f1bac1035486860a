package ttl

import "testing"

// Kinds of answers that providers give, each in the words of some of them. They are
// those of the corpus, said in other ways: what a table of rules knows is not one row.
func TestKindsOfRefusals(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		body   string
		want   Class
	}{
		// Money and standing.
		{"OpenRouter", 402, `{"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/credits","code":402}}`, QuotaExhausted},
		{"Perplexity, under 401", 401, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details","type":"insufficient_quota","code":401}}`, QuotaExhausted},
		{"OpenCode, under 401", 401, `{"type":"error","error":{"type":"CreditsError","message":"Insufficient balance. Manage your billing here: https://opencode.ai/workspace/x/billing"}}`, QuotaExhausted},
		{"OpenCode's monthly limit", 401, `{"type":"error","error":{"type":"MonthlyLimitError","message":"Your workspace has reached its monthly spending limit of $20."}}`, QuotaExhausted},
		{"DashScope, natively", 400, `{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing.","request_id":"x"}`, QuotaExhausted},
		{"DashScope's free tier", 403, `{"error":{"message":"The free tier of the model has been exhausted. If you wish to continue access the model on a paid basis, please disable the \"use free tier only\" mode in the management console.","type":"AllocationQuota.FreeTierOnly","code":"AllocationQuota.FreeTierOnly"}}`, QuotaExhausted},
		{"DashScope's bill", 429, `{"code":"PostpaidBillOverdue","message":"The postpaid bill is overdue."}`, QuotaExhausted},
		{"Volcengine's arrears", 403, `{"error":{"code":"AccountOverdueError","message":"The request failed because your account has an overdue balance. Request id: 02","type":"Forbidden"}}`, QuotaExhausted},
		{"Volcengine's limit that somebody set", 429, `{"error":{"code":"SetLimitExceeded","message":"Your account 21 has reached the set inference limit for the model and the service has been paused.","type":"TooManyRequests"}}`, QuotaExhausted},
		{"SiliconFlow", 403, `{"code":30001,"message":"Sorry, your account balance is insufficient","data":null}`, QuotaExhausted},
		{"MiniMax, under 500", 500, `{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`, QuotaExhausted},
		{"MiniMax as Anthropic, under 500", 500, `{"type":"error","error":{"type":"api_error","message":"insufficient balance (1008)"}}`, QuotaExhausted},
		{"New API", 403, `{"error":{"message":"用户额度不足, 剩余额度: ¥-0.010000 (request id: 2026)","type":"new_api_error","code":"insufficient_user_quota"}}`, QuotaExhausted},
		{"One API", 403, `{"error":{"message":"user quota is not enough","type":"one_api_error"}}`, QuotaExhausted},
		{"One API's token", 403, `{"error":{"message":"token quota is not enough, token remain quota: 0","type":"one_api_error"}}`, QuotaExhausted},
		{"sub2api's key", 429, `{"code":"API_KEY_QUOTA_EXHAUSTED","message":"API key 额度已用完"}`, QuotaExhausted},
		{"sub2api's subscription", 403, `{"code":"SUBSCRIPTION_NOT_FOUND","message":"No active subscription found for this group"}`, QuotaExhausted},
		{"Fireworks", 412, `{"error":{"object":"error","type":"invalid_request_error","code":"PRECONDITION_FAILED","message":"Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}}`, QuotaExhausted},
		{"Ollama's bill", 403, `{"error":"your account has a past due invoice, please update billing"}`, QuotaExhausted},
		{"Ollama's session", 429, `{"error":"you (ada) have reached your session usage limit, upgrade for higher limits: https://ollama.com/upgrade"}`, QuotaExhausted},
		{"Ollama's week, a bare string", 429, `"you (ada) have reached your weekly usage limit, please wait or upgrade to continue"`, QuotaExhausted},
		{"xAI as 429", 429, `{"code":"Some resource has been exhausted","error":"Your team x has either used all available credits or reached its monthly spending limit."}`, QuotaExhausted},
		{"Zhipu's week", 429, `{"error":{"code":"1310","message":"已达到每周使用上限"}}`, QuotaExhausted},
		{"Zhipu's plan", 429, `{"error":{"code":"1309","message":"您的 GLM Coding Plan 套餐已到期"}}`, QuotaExhausted},
		{"Zhipu's fair use", 429, `{"error":{"code":1313,"message":"fair use"}}`, QuotaExhausted},
		{"Zhipu in Anthropic's form, the code in the message", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"[1308][Usage limit reached for 5 hour. Your limit will reset at 2026-06-01 21:00:00][2026]"}}`, QuotaExhausted},
		{"Novita", 403, `{"code":403,"reason":"NOT_ENOUGH_BALANCE","message":"not enough balance"}`, QuotaExhausted},
		{"DeepInfra", 402, `{"detail":{"error":"inference prohibited, please enter a payment method or reduce your usage"}}`, QuotaExhausted},
		{"Hugging Face", 402, `{"error":"You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get 20x more monthly included credits."}`, QuotaExhausted},
		{"Cloudflare's other code", 429, `{"errors":[{"message":"AiError: daily free allocation of 10,000 neurons used","code":3036}],"success":false}`, QuotaExhausted},
		{"Tencent", 400, `{"Response":{"Error":{"Code":"ResourceUnavailable.InArrears","Message":"arrears"},"RequestId":"x"}}`, QuotaExhausted},
		{"Kimi's 429", 429, `{"error":{"message":"Your account x is not active","type":"exceeded_current_quota_error"}}`, QuotaExhausted},
		{"in plain text", 402, "payment required", QuotaExhausted},

		{"DashScope's plan", 429, `{"error":{"code":"insufficient_quota_x","message":"week allocated quota exceeded."}}`, QuotaExhausted},

		// Keys.
		{"Zhipu", 401, `{"error":{"code":"1002","message":"Authorization Token is invalid"}}`, InvalidKey},
		{"DashScope", 401, `{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"x"}`, InvalidKey},
		{"Volcengine", 401, `{"error":{"code":"AuthenticationError","message":"The API key doesn't exist. Request id: 02","type":"Unauthorized"}}`, InvalidKey},
		{"SiliconFlow", 401, `"Invalid token"`, InvalidKey},
		{"MiniMax", 200, `{"base_resp":{"status_code":2049,"status_msg":"invalid api key"}}`, InvalidKey},
		{"MiniMax as OpenAI", 401, `{"type":"error","error":{"type":"authorized_error","message":"login fail: Please carry the API secret key (1004)"}}`, InvalidKey},
		{"Kimi", 403, `{"error":{"message":"Kimi For Coding is currently only available for Coding Agents","type":"access_terminated_error"}}`, InvalidKey},
		{"New API", 401, `{"error":{"message":"无效的令牌 (request id: 2026)","type":"new_api_error"}}`, InvalidKey},
		{"New API's old token", 401, `{"error":{"message":"该令牌已过期","type":"new_api_error"}}`, InvalidKey},
		{"sub2api", 401, `{"code":"INVALID_API_KEY","message":"Invalid API key"}`, InvalidKey},
		{"xAI's block", 403, `{"code":"The caller does not have permission","error":"API key is currently blocked: xai-..."}`, InvalidKey},
		{"Codex", 401, `{"error":{"message":"Your authentication token has been invalidated. Please try signing in again.","code":"token_invalidated"}}`, InvalidKey},
		{"Bedrock's security token", 403, `{"message":"The security token included in the request is invalid."}`, InvalidKey},
		{"Bedrock's key", 403, `{"Message":"Authentication failed: Please make sure your API Key is valid."}`, InvalidKey},
		{"AWS by its type", 403, `{"__type":"ExpiredTokenException","message":"x"}`, InvalidKey},
		{"Cloudflare", 401, `{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}`, InvalidKey},
		{"in plain text", 401, "Api key is invalid", InvalidKey},

		// Capacity.
		{"Cerebras' queue", 429, `{"message":"We're experiencing high traffic right now! Please try again soon.","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}`, Overloaded},
		{"Volcengine", 429, `{"error":{"code":"ServerOverloaded","message":"The service is currently unable to handle additional requests","type":"TooManyRequests"}}`, Overloaded},
		{"Zhipu, the code a number", 429, `{"error":{"code":1305,"message":"The service may be temporarily overloaded"}}`, Overloaded},
		{"DeepInfra", 429, `{"error":{"message":"Model busy, retry later"}}`, Overloaded},
		{"Cloudflare", 429, `{"errors":[{"code":3040,"message":"Capacity temporarily exceeded, please try again."}]}`, Overloaded},
		{"One API's group", 429, `{"error":{"message":"当前分组上游负载已饱和，请稍后再试","type":"one_api_error"}}`, Overloaded},
		{"New API without a channel", 503, `{"error":{"message":"当前分组 default 下对于模型 m 无可用渠道","code":"model_not_found"}}`, Overloaded},

		// Limits of minutes, in whatever words.
		{"DashScope, natively", 429, `{"code":"Throttling.AllocationQuota","message":"Allocated quota exceeded, please increase your quota limit."}`, RateLimited},
		{"Volcengine's requests", 429, `{"error":{"code":"ModelAccountRpmRateLimitExceeded","message":"RPM exceeded","type":"TooManyRequests"}}`, RateLimited},
		{"Zhipu's frequency", 429, `{"error":{"code":"1303","message":"您当前使用该API的频率过高"}}`, RateLimited},
		{"SiliconFlow's requests", 429, `{"message":"Request was rejected due to rate limiting. Details: RPM limit reached.","data":null}`, RateLimited},
		{"MiniMax's tokens, in a 200", 200, `{"base_resp":{"status_code":1039,"status_msg":"token limit"}}`, RateLimited},
		{"MiniMax's requests, in a 500", 500, `{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}`, RateLimited},
		{"Moonshot's concurrency", 429, `{"error":{"message":"Your account x request reached organization max concurrency: 1, please try again after 1 seconds","type":"rate_limit_reached_error"}}`, RateLimited},
		{"OpenAI's free tier, which may pay to have more", 429, `{"error":{"message":"Rate limit reached on requests per min. Limit: 3 / min. Please try again in 20s. Please add a payment method to your account to increase your rate limit.","type":"requests"}}`, RateLimited},
		{"AWS, as a 400", 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`, RateLimited},

		// What nobody here understands.
		{"words of standing in a failure", 500, `{"error":{"message":"upstream: account suspended"}}`, Unknown},
		{"a billing problem, as a 400", 400, `{"error":{"message":"Billing is disabled on this account"}}`, Unknown},
		{"a 412", 412, `{"error":{"message":"precondition"}}`, Unknown},
		{"no access to a model", 403, `{"error":{"code":"AccessDeniedException","message":"You don't have access to the model with the specified model ID."}}`, Unknown},

		// What is nobody's fault.
		{"Zhipu's network", 500, `{"error":{"code":"1234","message":"网络错误，错误id：2026"}}`, OK},
		{"a page of somebody's", 502, `<html>Contact billing. Your account is suspended.</html>`, OK},
		{"a load balancer", 502, `<html>load balancer: upstream not found</html>`, OK},
		{"a moderator's", 403, `{"error":{"message":"Your input was flagged for \"x\"","code":403,"metadata":{"reasons":["x"]}}}`, OK},
		{"MiniMax serves", 200, `{"choices":[{"text":"an \"error\""}],"base_resp":{"status_code":0,"status_msg":"success"}}`, OK},
		{"a word of the client's in quotes", 400, `{"error":{"message":"Invalid value: 'billing overdue'"}}`, OK},
	} {
		for name, d := range dialects {
			r := Response{Status: c.status, Body: []byte(c.body), Now: noon}
			got := d.Judge(r)
			if c.status == 200 {
				got = d.JudgeEvent(r.Body, r.Now)
			}
			if d != Generic && (d != Gemini || c.want != RateLimited) && got.Class != c.want {
				t.Errorf("%s, %s: got %v, want %v", name, c.why, got.Class, c.want)
			}
		}
	}
}

// A time that a message states, in the forms of those who tell no zone, or tell it in
// their own way.
func TestMomentsInWords(t *testing.T) {
	for _, c := range []struct {
		why, message string
		want         float64
	}{
		{"a zone as Go prints it", "It will reset at 2026-06-01 23:59:59 +0800 CST.", 14399},
		{"an offset", "Resets at 2026-06-01T14:00:00-05:00", 25200},
		{"a fraction", "resets at 2026-06-01T12:01:00.5Z", 60},
		{"the lower case", "resets at 2026-06-01t12:01:00z", 60},
		{"a time of day", "Resets at 13:30 UTC", 5400},
		{"a time of tomorrow", "Daily limit reached. Resets at 10:00 UTC", 79200},
		{"by twelve hours", "Your limit resets at 1:30 pm (UTC)", 5400},
		{"midnight", "Resets at midnight UTC", 43200},
		{"in China", "您的限额将在 2026-06-01 21:00:00 重置。", 3600},
		{"in China, in other words", "额度将于2026-06-01 21:00:00恢复", 3600},
		{"a while, in China", "请求过于频繁，请 30 秒后重试", 30},
		{"minutes, in China", "请在5分钟后再试", 300},
		{"hours, in China", "将在 2小时30分钟 后重置", 9000},
		{"in China, and a zone before a comma", "您的限额将在 2026-06-01T21:00:00Z，请稍后重试", 32400},
		{"in China, and a zone before a word", "您的限额将在 2026-06-01 21:00:00 UTC重置", 32400},
		{"in China, and a zone in their brackets", "您的限额将在 2026-06-01 21:00:00（UTC）重置", 32400},
		{"in China, and the zone is theirs", "您的限额将在 2026-06-01 21:00:00（北京时间）重置", 3600},
		{"in China, and a zone that says little", "您的限额将在 2026-06-01 21:00:00 EST重置", -1},
		{"in China, and a time of day before a word", "将在 21:00:00 UTC重置", 32400},
		{"in China, by twelve hours", "将在 Jun 1, 2026 9pm，请稍后重试", 3600},
		{"a time of day that is no duration, before a word", "将在 21:00:00重置", -1},
		{"seconds before a word", "请在20s后重试", 20},
		{"seconds before other words", "请60s后再试", 60},
		{"minutes and seconds before a word", "请在1m30s后重试", 90},
		{"seconds before a full stop of China's", "try again in 20s。", 20},
		{"seconds before a dash", "try again in 20 seconds— or later", 20},
		{"a word that begins like a unit", "try again in 20 sœurs", -1},
		{"a day's, in China", "已达到今日调用次数上限", 14400},
		{"days", "Monthly usage limit reached. Resets in 13 days. To continue", 1123200},
		{"the hour alone", "Weekly limit reached, resets 3pm (UTC)", 10800},
		{"the hour alone, in words", "It resets at 12 am UTC", 43200},
		{"a month's name", "You've hit your limit. It resets Jun 3 at 9am (UTC)", 162000},
		{"a month's name, written out", "Your quota resets on June 2, 2026 at 00:00 UTC", 43200},
		{"the day first", "available again at 2nd Jun 2026 00:00 GMT", 43200},
		{"next year", "resets Jan 2, 00:00 UTC", 18532800},
		{"a month's name, the clock that of a city", "resets Jun 3, 1:59pm (America/Los_Angeles)", -1},
		{"a month in China", "额度将于6月2日 08:00重置", 43200},
		{"a month and a year in China", "将在2026年6月2日08:00:00 重置", 43200},
		{"no month", "resets Abc 3 at 9am (UTC)", -1},
		{"no day", "resets Jun 32 at 9am (UTC)", -1},
		{"no hour", "resets 13pm (UTC)", -1},
		{"no zone", "Resets at 2026-06-01 21:00:00", -1},
		{"no zone of a day", "Resets at 10:00", -1},
		{"no time", "请稍后再试", -1},
		{"a count", "请在 3 次内完成", -1},
	} {
		got := OpenAI.Judge(Response{Status: 429, Body: []byte(`{"error":{"message":"` + c.message + `"}}`), Now: noon})
		if got.Stated != (c.want >= 0) || got.Stated && !near(got.Seconds, c.want) {
			t.Errorf("%s: got %+v, want %v", c.why, got, c.want)
		}
	}
}

// The members of a body that state a time, however they are spelled.
func TestMembersThatStateATime(t *testing.T) {
	for _, c := range []struct {
		body   string
		want   float64
		source string
	}{
		{`{"error":{"reset_seconds":25803,"reset_time":"7h10m2s"}}`, 25803, "body:reset_seconds"},
		{`{"reset_seconds":12}`, 12, "body:reset_seconds"},
		{`{"error":{"reset_time":"7h10m2s"}}`, 25802, "body:reset_at"},
		{`{"error":{"reset_at":"2026-06-01T12:01:00Z"}}`, 60, "body:reset_at"},
		{`{"error":{"retry_after_seconds":9}}`, 9, "body:retry_after"},
		{`{"Error":{"Message":"Please try again in 3s"}}`, 3, "body:message"},
		{`{"error":{"metadata":{"headers":{"X-RateLimit-Reset":"1780315260000"}}}}`, 60, "body:error.metadata.headers.X-RateLimit-Reset"},
		{`{"error":{"message":"x","resetAt":"2026-06-01T12:01:00Z"}}`, 60, "body:reset_at"},
		{`{"error":{"resetsInSeconds":61}}`, 61, "body:error.resets_in_seconds"},
		{`{"retryAfterSeconds":8}`, 8, "body:retry_after"},
	} {
		if got, want := OpenAI.Judge(Response{Status: 429, Body: []byte(c.body), Now: noon}), says(c.want, c.source); got != want {
			t.Errorf("%s: got %+v, want %+v", c.body, got, want)
		}
	}
}

// A day's allowance begins anew at midnight where its provider is.
func TestDaysOfProviders(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		body   string
		want   Verdict
	}{
		{"Zhipu", 429, `{"error":{"code":"1304","message":"该API当日调用次数已达上限"}}`, Verdict{Class: QuotaExhausted, Stated: true, Seconds: 4 * 3600, Source: "body:message"}},
		{"Baidu, in a 200", 200, `{"error_code":17,"error_msg":"Open api daily request limit reached"}`, says(4*3600, "body:message")},
		{"Cloudflare", 429, `{"success":false,"errors":[{"code":4006,"message":"you have used up your daily free allocation of 10,000 neurons"}]}`, Verdict{Class: QuotaExhausted, Stated: true, Seconds: 12 * 3600, Source: "body:message"}},
	} {
		r := Response{Status: c.status, Body: []byte(c.body), Now: noon}
		if got, _ := OpenAI.Explain(r); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.why, got, c.want)
		}
	}
}

// A day's quota of Gemini's begins anew at midnight in California, where no other time
// is stated.
func TestADayOfGeminis(t *testing.T) {
	body := []byte(`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}`)
	summer := Gemini.Judge(Response{Status: 429, Body: body, Now: noon})
	winter := Gemini.Judge(Response{Status: 429, Body: body, Now: noon.AddDate(0, 6, 0)})
	if summer.Seconds != 19*3600 || winter.Seconds != 20*3600 {
		t.Errorf("in summer %+v, in winter %+v", summer, winter)
	}
}

// What a key's refusal reports of limits that it has not met is no time to wait.
func TestARefusedKeyStatesNoLimits(t *testing.T) {
	h := head("x-ratelimit-reset-requests", "8.64s", "x-ratelimit-remaining-requests", "9999", "x-ratelimit-reset", "30")
	for _, body := range []string{`{"error":{"code":"invalid_api_key"}}`, `{"error":{"code":"insufficient_quota"}}`, ""} {
		if got := OpenAI.Judge(Response{Status: 403, Header: h, Body: []byte(body), Now: noon}); got.Stated {
			t.Errorf("%s: %+v", body, got)
		}
	}
	spent := head("x-ratelimit-reset-requests", "8.64s", "x-ratelimit-remaining-requests", "0")
	if got, want := OpenAI.Judge(Response{Status: 403, Header: spent, Now: noon}), (Verdict{Class: Unknown, Stated: true, Seconds: 8.64, Source: "x-ratelimit-reset-requests"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A dialect of China's says whose time it is.
func TestVolcenginesClock(t *testing.T) {
	body := []byte(`{"error":{"code":"X","message":"The limit will reset at 2026-06-01 21:00:00"}}`)
	if got, want := Volcengine.Judge(Response{Status: 429, Body: body, Now: noon}), says(3600, "body:message"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
