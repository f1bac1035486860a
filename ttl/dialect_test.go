package ttl

import "testing"

func TestStatusesOfDialects(t *testing.T) {
	for name, d := range dialects {
		for status := 0; status < 1000; status++ {
			want := status >= 400 && status < 600 // any of them may speak of the key's standing
			if d == Generic {
				want = status == 429
			}
			if got := d.Judges(status); got != want {
				t.Errorf("%s: Judges(%d) = %v", name, status, got)
			}
		}
	}
}

func TestClassesOfDialects(t *testing.T) {
	for _, c := range []struct {
		why     string
		dialect string
		status  int
		body    string
		want    Class
	}{
		// OpenAI and its like
		{"a spent quota, cut off before its code", "openai", 429, `{"error":{"message":"You exceeded your current quota, please check your plan`, QuotaExhausted},
		{"Google's rate limit in OpenAI's words", "openai", 429, `[{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}]`, RateLimited},
		{"a bare string about money", "openai", 403, `"Your team doesn't have any credits or licenses yet"`, QuotaExhausted},
		{"a bare string about money, as a 429", "openai", 429, `"Your team has either used all available credits or reached its monthly spending limit."`, QuotaExhausted},
		{"a bare string about the key", "openai", 400, `"Incorrect API key provided: xx***xx."`, InvalidKey},
		{"a subscription's share", "openai", 429, `{"error":{"type":"usage_limit_reached"}}`, QuotaExhausted},
		{"a key's own limit", "openai", 403, `{"error":{"message":"Key limit exceeded (monthly limit)","code":403}}`, QuotaExhausted},
		{"a code that is the status", "openai", 401, `{"error":{"message":"User not found.","code":401}}`, InvalidKey},
		{"an error that is a word", "openai", 401, `{"error":"Unauthorized"}`, InvalidKey},
		{"a closed account, in words alone", "openai", 401, `{"error":{"message":"Your account has been deactivated.","code":null}}`, InvalidKey},
		{"a restricted organisation", "openai", 400, `{"error":{"message":"Organization has been restricted","code":"organization_restricted"}}`, InvalidKey},
		{"a limit of credits is one of rate at Together", "openai", 429, `{"error":{"message":"You have been rate limited","type":"credit_limit"}}`, RateLimited},
		{"a model that is overloaded", "openai", 429, `{"error":{"message":"The model is overloaded. Try again in 3s"}}`, Overloaded},
		{"the gateway's address, as a page of today", "openai", 429, `<span>Error</span> <span class="cf-error-code">1015</span>`, Overloaded},
		{"more than fits, beside a code of rate limits", "openai", 429, `{"error":{"message":"Limit 6,000, Used 12, Requested 7,301","code":"rate_limit_exceeded"}}`, RequestTooLarge},

		// Anthropic
		{"a rate limit", "anthropic", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit."}}`, RateLimited},
		{"a limit that somebody set, in the words of today", "anthropic", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-04-01 at 00:00 UTC."}}`, QuotaExhausted},
		{"a workspace's limit", "anthropic", 400, `{"error":{"message":"You have reached your specified workspace API usage limits."}}`, QuotaExhausted},
		{"no credit", "anthropic", 400, `{"error":{"message":"Your credit balance is too low to access the Anthropic API."}}`, QuotaExhausted},
		{"no credit, quoted", "anthropic", 400, `{"error":{"message":"messages.0: credit balance is too low"}}`, OK},
		{"billing", "anthropic", 402, `{"error":{"type":"billing_error"}}`, QuotaExhausted},
		{"a cap on spending, as a 429", "anthropic", 429, `{"error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}`, QuotaExhausted},
		{"no permission", "anthropic", 403, `{"error":{"type":"permission_error"}}`, InvalidKey},
		{"a disabled organisation", "anthropic", 400, `{"error":{"type":"invalid_request_error","message":"This organization has been disabled."}}`, InvalidKey},
		{"a mistake of the client's", "anthropic", 400, `{"error":{"type":"invalid_request_error","message":"prompt is too long"}}`, OK},
		{"a page of the edge's", "anthropic", 403, "<html>Forbidden</html>", Unknown},
		{"a request too long", "anthropic", 413, `{"error":{"type":"request_too_large"}}`, RequestTooLarge},
		{"a prompt that the plan has no credits for", "anthropic", 429, `{"error":{"type":"rate_limit_error","message":"Extra usage is required for long context requests."}}`, RequestTooLarge},
		{"overloaded, as a 429", "anthropic", 429, `{"error":{"type":"overloaded_error"}}`, Overloaded},
		{"a failure", "anthropic", 500, `{"error":{"type":"api_error"}}`, OK},

		// Gemini
		{"a bad key, in OpenAI's dialect", "gemini", 400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`, InvalidKey},
		{"a bad key, by its reason behind other details", "gemini", 400, `{"error":{"code":400,"details":[{"@type":"x","links":[]},{" @type":"y","reason":"API_KEY_INVALID"}]}}`, InvalidKey},
		{"a leaked key", "gemini", 403, `{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}`, InvalidKey},
		{"no permission for something", "gemini", 403, `{"error":{"code":403,"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}`, Unknown},
		{"an argument of the client's", "gemini", 400, `{"error":{"code":400,"message":"Unknown name \"API key not valid\"","status":"INVALID_ARGUMENT"}}`, OK},
		{"credentials of the wrong kind", "gemini", 401, `{"error":{"code":401,"status":"UNAUTHENTICATED"}}`, InvalidKey},
		{"a method that takes no keys", "gemini", 401, `{"error":{"code":401,"status":"UNAUTHENTICATED","details":[{"reason":"CREDENTIALS_MISSING"}]}}`, OK},
		{"a cap on spending", "gemini", 429, `{"error":{"code":429,"message":"Your project has exceeded its monthly spending cap.","status":"RESOURCE_EXHAUSTED"}}`, QuotaExhausted},
		{"a limit of 0 in a list", "gemini", 429, `{"error":{"code":429,"message":"* Quota exceeded for metric: a, limit: 20\n* Quota exceeded for metric: b, limit: 0, model: c","status":"RESOURCE_EXHAUSTED"}}`, QuotaExhausted},
		{"a limit of 0 in the details", "gemini", 429, `{"error":{"code":429,"details":[{"violations":[{"quotaValue":"10"},{"quotaValue":"0"}]}]}}`, QuotaExhausted},
		{"a limit that only begins with 0", "gemini", 429, `{"error":{"message":"limit: 0.5, limit: 05, limit: 10"}}`, RateLimited},
		{"no capacity, as a 429", "gemini", 429, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"reason":"MODEL_CAPACITY_EXHAUSTED"}]}}`, Overloaded},
		{"a rate limit, as a 403", "gemini", 403, `{"error":{"code":403,"details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}`, RateLimited},

		// Azure
		{"a policy on quotas", "azure", 403, `{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 5.03:23:11."}`, QuotaExhausted},
		{"a bad key", "azure", 401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`, InvalidKey},
		{"a bad key, at the policy", "azure", 401, `{"statusCode":401,"message":"Access denied due to invalid subscription key."}`, InvalidKey},
		{"no keys allowed", "azure", 403, `{"error":{"code":"AuthenticationTypeDisabled"}}`, InvalidKey},
		{"no access from there", "azure", 403, `{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}`, OK},
		{"peak load", "azure", 429, `{"error":{"message":"Your request exceeds the maximum usage size allowed during peak load."}}`, Overloaded},

		// Cohere
		{"a bad key", "cohere", 401, `{"message":"invalid api token"}`, InvalidKey},
		{"a key that has expired", "cohere", 401, `{"message":"Your API key has expired."}`, InvalidKey},
		{"a trial key's limit", "cohere", 429, `{"message":"You are using a Trial key, which is limited to 40 API calls / minute."}`, RateLimited},
		{"no payment", "cohere", 402, `{"message":"Please add or update your payment method"}`, QuotaExhausted},
		{"too many tokens", "cohere", 400, `{"message":"too many tokens: size limit exceeded by 11326 tokens."}`, OK},

		// GitHub
		{"bad credentials", "github", 401, `{"message":"Bad credentials"}`, InvalidKey},
		{"a secondary limit", "github", 403, `{"message":"You have exceeded a secondary rate limit."}`, RateLimited},
		{"no access to a model", "github", 403, `{"error":{"code":"no_access","message":"No access to model"}}`, OK},
		{"a day's limit", "github", 429, `{"error":{"code":"RateLimitReached","message":"Rate limit of 50 per 86400s exceeded for UserByModelByDay."}}`, RateLimited},
		{"a body too large", "github", 413, `{"error":{"code":"tokens_limit_reached"}}`, RequestTooLarge},
	} {
		got := dialects[c.dialect].Judge(Response{Status: c.status, Body: []byte(c.body), Now: noon})
		if got.Class != c.want {
			t.Errorf("%s, %s: got %v, want %v", c.dialect, c.why, got.Class, c.want)
		}
	}
}

func TestGitHubsHeadersMakeA403ARateLimit(t *testing.T) {
	for _, c := range []struct {
		why    string
		header map[string][]string
		want   Verdict
	}{
		{"nothing remains", head("x-ratelimit-remaining", "0", "x-ratelimit-reset", "1780315260"), Verdict{Class: RateLimited, Stated: true, Seconds: 60, Source: "x-ratelimit-reset", Proven: true}},
		{"a time to come back", head("retry-after", "60"), says(60, "retry-after")},
		{"something remains", head("x-ratelimit-remaining", "14", "x-ratelimit-reset", "1780315260"), Verdict{Class: Unknown}},
		{"nothing is stated", nil, Verdict{Class: Unknown}},
	} {
		if got := GitHub.Judge(Response{Status: 403, Header: c.header, Now: noon}); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.why, got, c.want)
		}
	}
}

// An answer of 64 KiB may end anywhere: what it said until then counts.
func TestBodiesCutOff(t *testing.T) {
	body := `[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Please retry in 58.9s.",` +
		`"details":[{"retryDelay":"58s"},{"reason":"RATE_LIMIT_EXCEEDED"}]}}]`
	for n := range body {
		got := Gemini.Judge(Response{Status: 429, Body: []byte(body[:n]), Now: noon})
		switch {
		case got.Class != RateLimited:
			t.Errorf("%q: got %+v", body[:n], got)
		case got.Stated && got.Seconds != 58 && got.Seconds != 58.9:
			t.Errorf("%q: half a number counts: %+v", body[:n], got)
		}
	}
}
