package ttl

import "testing"

// Which answers prove by themselves that the key has nothing left.
func TestProven(t *testing.T) {
	spent := head("x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "20s")
	left := head("x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "1", "x-ratelimit-reset-requests", "20s")
	later := head("retry-after", "20")
	for _, row := range []struct {
		sentence string
		dialect  *Dialect
		status   int
		header   map[string][]string
		message  string
		code     string
		want     bool
	}{
		{"nothing remains, with its reset", OpenAI, 429, spent, "Rate limit reached", "", true},
		{"something remains", OpenAI, 429, left, "Rate limit reached", "", false},
		{"nothing remains, and nobody knows until when", OpenAI, 429, head("x-ratelimit-remaining-requests", "0"), "Rate limit reached", "", false},
		{"a time alone", OpenAI, 429, later, "Rate limit reached", "", false},
		{"nothing remains, as Anthropic says it", Anthropic, 429,
			head("anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "0", "anthropic-ratelimit-requests-reset", "2026-06-01T12:00:20Z"), "rate limited", "", true},
		{"nothing remains, as others say it", Generic, 429, head("x-ratelimit-limit", "20", "x-ratelimit-remaining", "0", "x-ratelimit-reset", "1780315260"), "", "", true},
		{"figures that are used up", OpenAI, 429, nil, "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 30000, Requested 512. Please try again in 1.02s.", "", true},
		{"figures that are nearly", OpenAI, 429, nil, "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29900, Requested 512. Please try again in 1.02s.", "", false},
		{"more than all is used", OpenAI, 429, nil, "Limit 200, Used 201", "", true},
		{"as others write it", OpenAI, 429, nil, "Rate limit exceeded, limit: 20, used: 20", "", true},
		{"and others", OpenAI, 429, nil, "limit: 20, current: 20", "", true},
		{"a limit of nothing", OpenAI, 429, nil, "Limit 0, Used 0", "", false},
		{"figures that no number holds", OpenAI, 429, nil, "Limit 99999999999999999999, Used 99999999999999999999", "", false},
		{"a limit in another word", OpenAI, 429, nil, "unlimit 20, used 20", "", false},
		{"what is requested is not used", OpenAI, 429, nil, "Request too large. Limit 30000, Requested 36278", "", false},
		{"a plan with its end", OpenAI, 429, later, "The usage limit has been reached", "usage_limit_reached", true},
		{"a plan whose end nobody knows", OpenAI, 429, nil, "The usage limit has been reached", "usage_limit_reached", false},
		{"a spent quota", OpenAI, 429, nil, "You exceeded your current quota", "insufficient_quota", false},
		{"a spent quota, and nothing remains", OpenAI, 429, spent, "You exceeded your current quota", "insufficient_quota", true},
		{"a refused key whose allowance is used", OpenAI, 401, spent, "Incorrect API key provided", "invalid_api_key", false},
		{"what nobody understands, likewise", OpenAI, 403, spent, "no", "", false},
		{"an overloaded upstream, likewise", OpenAI, 503, spent, "overloaded", "", false},
	} {
		body := `{"error":{"message":"` + row.message + `","code":"` + row.code + `"}}`
		got := row.dialect.Judge(Response{Status: row.status, Header: row.header, Body: []byte(body), Now: noon})
		if got.Proven != row.want {
			t.Errorf("%s: %+v", row.sentence, got)
		}
	}
}
