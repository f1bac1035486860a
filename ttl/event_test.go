package ttl

import "testing"

func TestJudgeEvent(t *testing.T) {
	for _, c := range []struct {
		why     string
		dialect string
		data    string
		want    Verdict
	}{
		{"Anthropic's limit", "anthropic", `{"type":"error","error":{"type":"rate_limit_error","message":"Number of requests"}}`, Verdict{Class: RateLimited}},
		{"Anthropic's overload", "anthropic", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, Verdict{Class: Overloaded}},
		{"Anthropic's failure", "anthropic", `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`, Verdict{}},
		{"Anthropic's key", "anthropic", `{"type":"error","error":{"type":"authentication_error"}}`, Verdict{Class: InvalidKey}},
		{"Anthropic's credit", "anthropic", `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}`, Verdict{Class: QuotaExhausted}},
		{"Anthropic's long prompts", "anthropic", `{"type":"error","error":{"type":"rate_limit_error","message":"Extra usage is required for long context"}}`, Verdict{Class: RequestTooLarge}},
		{"OpenAI's limit, with a time", "openai", `{"error":{"message":"Please try again in 1.5s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`, says(1.5, "body:message")},
		{"OpenAI's limit, of a type alone", "openai", `{"error":{"message":"Rate limit reached","type":"requests","code":null}}`, Verdict{Class: RateLimited}},
		{"OpenAI's limit, under a type of something else", "openai", `{"error":{"message":"No","type":"invalid_request_error","code":"rate_limit_exceeded"}}`, Verdict{Class: RateLimited}},
		{"OpenAI's event", "openai", `{"type":"error","sequence_number":2,"code":"rate_limit_exceeded","message":"Please try again in 20s.","param":null}`, says(20, "body:message")},
		{"OpenAI's event with an error in it", "openai", `{"type":"error","error":{"type":"insufficient_quota","code":"insufficient_quota","message":"No"}}`, Verdict{Class: QuotaExhausted}},
		{"a response that failed", "openai", `{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"Try again in 6m0s"}}}`, says(360, "body:message")},
		{"a response that failed for want of money", "openai", `{"type":"response.failed","response":{"error":{"code":"insufficient_quota","message":"No"}}}`, Verdict{Class: QuotaExhausted}},
		{"a response that failed by itself", "openai", `{"type":"response.failed","response":{"error":{"code":"server_error","message":"No"}}}`, Verdict{}},
		{"a realtime response that failed", "openai", `{"type":"response.done","response":{"status":"failed","status_details":{"error":{"code":"insufficient_quota"}}}}`, Verdict{Class: QuotaExhausted}},
		{"the type last", "openai", `{"response":{"error":{"code":"rate_limit_exceeded"}},"type":"response.failed"}`, Verdict{Class: RateLimited}},
		{"a request too large", "openai", `{"error":{"message":"Request too large. Limit 1, Requested 2","code":"rate_limit_exceeded"}}`, Verdict{Class: RequestTooLarge}},
		{"OpenRouter's limit, and when it ends", "openai", `{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"headers":{"X-RateLimit-Reset":"1780315260000"}}}}`, says(60, "body:error.metadata.headers.X-RateLimit-Reset")},
		{"OpenRouter's error in a chunk", "openai", `{"id":"x","choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":{"code":429,"message":"No"}}`, Verdict{Class: RateLimited}},
		{"Volcengine's limit", "openai", `{"error":{"code":"ModelAccountTpmRateLimitExceeded","message":"Please try again in 2s.","type":"TooManyRequests"}}`, says(2, "body:message")},
		{"OpenRouter's credits", "openai", `{"error":{"code":402,"message":"Insufficient credits"}}`, Verdict{Class: QuotaExhausted}},
		{"Mistral's error", "openai", `{"object":"error","message":"No","type":"rate_limited","code":"1300","error":null}`, Verdict{Class: RateLimited}},
		{"an engine that is overloaded", "openai", `{"error":{"type":"engine_overloaded_error","message":"No"}}`, Verdict{Class: Overloaded}},
		{"Zhipu's credit", "openai", `{"error":{"code":"1113","message":"No"}}`, Verdict{Class: QuotaExhausted}},
		{"Gemini's limit", "gemini", `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34s"}]}}`, says(34, "body:RetryInfo.retryDelay")},
		{"Gemini's limit, in an array", "gemini", `[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]`, Verdict{Class: RateLimited}},
		{"Gemini's capacity", "gemini", `{"error":{"code":503,"status":"UNAVAILABLE"}}`, Verdict{Class: Overloaded}},
		{"Gemini's key", "gemini", `{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID"}]}}`, Verdict{Class: InvalidKey}},
		{"a limit, to Generic", "generic", `{"error":{"code":"rate_limit_exceeded"}}`, Verdict{Class: RateLimited}},
		{"anything else, to Generic", "generic", `{"error":{"code":503}}`, Verdict{}},
		{"cut off after the code", "openai", `{"error":{"code":"rate_limit_exceeded","mess`, Verdict{Class: RateLimited}},
		{"an error of the client's", "openai", `{"error":{"code":400,"message":"Invalid value: 'credit balance is too low'"}}`, Verdict{}},
		{"an error without a word", "openai", `{"error":{}}`, Verdict{}},
		{"an error that is none", "openai", `{"type":"response.created","response":{"status":"in_progress","error":null}}`, Verdict{}},
		{"an error in text", "openai", `{"choices":[{"delta":{"content":"{\"error\":{\"code\":429}}"}}]}`, Verdict{}},
		{"an error in an argument", "gemini", `{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"error":{"code":429}}}}]}}]}`, Verdict{}},
		{"an error in what a tool is given", "anthropic", `{"type":"content_block_start","content_block":{"type":"tool_use","input":{"error":{"type":"rate_limit_error"}}}}`, Verdict{}},
		{"an error in what is repeated", "openai", `{"type":"response.failed","response":{"error":null,"metadata":{"error":"rate_limit_exceeded"}}}`, Verdict{}},
		{"a response that went on in spite of it", "openai", `{"type":"response.completed","response":{"error":{"code":"rate_limit_exceeded"}}}`, Verdict{}},
		{"a tool's error", "openai", `{"type":"response.output_item.done","item":{"error":{"code":429,"message":"rate limit"}}}`, Verdict{}},
		{"a code beside nothing", "openai", `{"code":"rate_limit_exceeded","x":"error","y":"error"}`, Verdict{}},
		{"a text in place of an error", "openai", `{"error":"you (ada) have reached your session usage limit, upgrade for higher limits: x"}`, Verdict{Class: QuotaExhausted}},
		{"a text without a code", "openai", `{"error":{"message":"Rate limit exceeded: limit_rpm/m"}}`, Verdict{Class: RateLimited}},
		{"a text in an event", "openai", `{"type":"error","message":"Too many requests"}`, Verdict{Class: RateLimited}},
		{"a text with a time", "openai", `{"error":"Rate limit reached. Please try again in 3s"}`, says(3, "body:message")},
		{"Baidu's members", "openai", `{"error_code":18,"error_msg":"Open api qps request limit reached"}`, Verdict{Class: RateLimited}},
		{"Baidu's, of a success", "openai", `{"error_code":0,"error_msg":"rate limit exceeded"}`, Verdict{}},
		{"Tencent's envelope", "openai", `{"Response":{"Error":{"Code":"RequestLimitExceeded","Message":"No"}}}`, Verdict{Class: RateLimited}},
		{"no success", "openai", `{"code":1113,"msg":"No","success":false}`, Verdict{Class: QuotaExhausted}},
		{"a success", "openai", `{"code":1113,"msg":"No","success":true}`, Verdict{}},
		{"a text of the client's, in a code that is a word", "openai", `{"error":{"type":"invalid_request_error","message":"rate limit exceeded"}}`, Verdict{}},
		{"a text of the client's, behind a colon", "openai", `{"error":"invalid model: credit balance is too low"}`, Verdict{}},
		{"a text of the client's, in quotes", "openai", `{"error":"no model 'out of credit'"}`, Verdict{}},
		{"a text without content", "openai", `{"error":""}`, Verdict{}},
		{"a text that is not at the top", "openai", `{"data":{"error":"rate limit exceeded","Error":{"Code":"1113"},"success":false}}`, Verdict{}},
		{"the end", "openai", `[DONE]`, Verdict{}},
		{"nothing", "openai", ``, Verdict{}},
		{"an error behind one that is none", "openai", `{"a":{"error":null},"error":{"code":"rate_limit_exceeded"}}`, Verdict{Class: RateLimited}},
		{"a word that is an error", "openai", `"error"`, Verdict{}},
	} {
		if got := dialects[c.dialect].JudgeEvent([]byte(c.data), noon); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.why, got, c.want)
		}
	}
}

func TestHealthyEventsCostNoMemory(t *testing.T) {
	for _, data := range []string{
		`{"choices":[{"delta":{"content":"an \"error\" of rate_limit_exceeded"}}]}`,
		`{"type":"response.completed","response":{"error" : null,"output":[{"error":null}]}}`,
	} {
		event := []byte(data)
		if n := testing.AllocsPerRun(10, func() { OpenAI.JudgeEvent(event, noon) }); n != 0 {
			t.Errorf("%s: %v allocations", data, n)
		}
	}
}
