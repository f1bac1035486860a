package ttl

import (
	"strings"
	"testing"
)

func BenchmarkJudge(b *testing.B) {
	windows := head(
		"x-ratelimit-limit-requests", "10000", "x-ratelimit-remaining-requests", "9999",
		"x-ratelimit-reset-requests", "8.64s", "x-ratelimit-limit-tokens", "200000",
		"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "1m13.588s",
	)
	long := func(unit string) string { return strings.Repeat(unit, 64<<10/len(unit)) }
	for _, c := range []struct {
		name   string
		status int
		header map[string][]string
		body   string
	}{
		{"ok", 200, windows, ""},
		{"none", 429, head("content-type", "application/json"), ""},
		{"retry-after", 429, head("retry-after", "20"), ""},
		{"retry-after-date", 429, head("retry-after", "Mon, 01 Jun 2026 12:01:30 GMT", "date", "Mon, 01 Jun 2026 12:00:00 GMT"), ""},
		{"retry-after-ms", 429, head("retry-after-ms", "1500"), ""},
		{"x-ratelimit-reset", 429, windows, ""},
		{"ratelimit", 429, head("ratelimit", `"burst";r=90;t=10, "daily";r=0;t=36000`), ""},
		{"body", 429, nil, `{"error":{"message":"Rate limit reached for gpt-x in organization org-x on tokens per min (TPM): Limit 30000, Used 14567, Requested 24754. Please try again in 18.642s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`},
		{"body-html-64k", 429, nil, long("<p>Too many requests</p>\n")},
		{"body-words-64k", 429, nil, long("try again in ")},
		{"body-figures-64k", 429, nil, long("limit requested 1,")},
		{"body-keys-64k", 429, nil, "{" + long(`"error":"a",`)},
		{"body-deep-64k", 429, nil, long("[")},
		{"body-path-64k", 429, nil, `{"` + strings.Repeat("a", 32<<10) + `":[` + strings.Repeat("1,", 16<<10)},
		{"body-escapes-64k", 429, nil, `{"message":"` + long(`\u0041`) + `"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := Response{Status: c.status, Header: c.header, Now: noon}
			if c.body != "" {
				r.Body = []byte(c.body)
			}
			b.ReportAllocs()
			for b.Loop() {
				OpenAI.Judge(r)
			}
		})
	}
}
