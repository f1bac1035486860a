package ttl

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkJudge(b *testing.B) {
	windows := head(
		"x-ratelimit-limit-requests", "10000", "x-ratelimit-remaining-requests", "9999",
		"x-ratelimit-reset-requests", "8.64s", "x-ratelimit-limit-tokens", "200000",
		"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "1m13.588s",
	)
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

// BenchmarkHeadersAlone judges each answer without a body that people have reported. The
// slowest of them takes less than a microsecond.
func BenchmarkHeadersAlone(b *testing.B) {
	for _, c := range headersAlone(b) {
		b.Run(c.ID, func(b *testing.B) {
			r, d := c.response(), c.dialect()
			b.ReportAllocs()
			for b.Loop() {
				d.Judge(r)
			}
		})
	}
}

// BenchmarkWorstBodies reads bodies that ask for as much work as they can. The
// rate in MB/s has to stay what it is when the length is four times as much: no
// reader goes over the same bytes again and again.
func BenchmarkWorstBodies(b *testing.B) {
	for _, size := range []int{16 << 10, 64 << 10} {
		long := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
		for name, body := range map[string]string{
			"html":     long("<p>Too many requests</p>\n"),
			"words":    long("try again in "),
			"digits":   "try again in " + long("9"),
			"times":    long("wait 1h1m1s!"),
			"dates":    long("regain access on 2026-04-01 at 00:00 "),
			"figures":  long("limit requested 1,"),
			"limits":   long("limit 1,111,111,"),
			"keys":     "{" + long(`"error":"a",`),
			"objects":  "[" + long(`{"error":{"code":1,"details":[{"retryDelay":"x"}]}},`),
			"deep":     long("["),
			"path":     `{"` + strings.Repeat("a", size/2) + `":[` + strings.Repeat("1,", size/4),
			"escapes":  `{"message":"` + long(`\u0041`) + `"}`,
			"messages": `{"message":"` + long("retry after ") + `"}`,
			"event":    `{"error":{"message":"` + long("retry after ") + `"}}`,
		} {
			b.Run(fmt.Sprintf("%s/%dk", name, size>>10), func(b *testing.B) {
				r := Response{Status: 429, Body: []byte(body), Now: noon}
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					if name == "event" {
						Gemini.JudgeEvent(r.Body, noon)
					} else {
						Gemini.Judge(r)
					}
				}
			})
		}
	}
}

func BenchmarkJudgeEvent(b *testing.B) {
	for _, c := range []struct{ name, data string }{
		{"healthy", `{"id":"chatcmpl-x","object":"chat.completion.chunk","created":1780315200,"model":"gpt-x","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}`},
		{"error-null", `{"type":"response.created","response":{"id":"resp_x","status":"in_progress","error":null,"metadata":{}}}`},
		{"error", `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your rate limit"}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := []byte(c.data)
			b.ReportAllocs()
			for b.Loop() {
				OpenAI.JudgeEvent(data, noon)
			}
		})
	}
}

// Most answers are successes with something left, and each of them is looked at.
func BenchmarkAhead(b *testing.B) {
	// What else a real answer has in its header.
	others := []string{
		"date", "Mon, 01 Jun 2026 12:00:00 GMT", "content-type", "application/json", "content-length", "1024",
		"connection", "keep-alive", "server", "cloudflare", "cf-ray", "x", "via", "1.1 x", "x-request-id", "req_1",
		"openai-processing-ms", "257", "openai-version", "2020-10-01", "strict-transport-security", "max-age=31536000",
	}
	openAI := func(requests, tokens string) []string {
		return []string{
			"x-ratelimit-limit-requests", "10000", "x-ratelimit-limit-tokens", "200000",
			"x-ratelimit-remaining-requests", requests, "x-ratelimit-remaining-tokens", tokens,
			"x-ratelimit-reset-requests", "8.64s", "x-ratelimit-reset-tokens", "1m13.588s",
		}
	}
	anthropic := []string{"retry-after", "25"}
	for _, of := range []string{"requests", "tokens", "input-tokens", "output-tokens"} {
		anthropic = append(anthropic, "anthropic-ratelimit-"+of+"-limit", "4000",
			"anthropic-ratelimit-"+of+"-remaining", "3999", "anthropic-ratelimit-"+of+"-reset", "2026-06-01T12:00:00Z")
	}
	for _, c := range []struct {
		name    string
		dialect *Dialect
		header  []string
	}{
		{"openai/none", OpenAI, nil},
		{"openai/left", OpenAI, openAI("9999", "199999")},
		{"openai/spent", OpenAI, openAI("9999", "0")},
		{"anthropic/none", Anthropic, nil},
		{"anthropic/left", Anthropic, anthropic},
		{"gemini/none", Gemini, nil},
		{"generic/none", Generic, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := Response{Status: 200, Header: head(append(c.header, others...)...), Now: noon}
			b.ReportAllocs()
			for b.Loop() {
				c.dialect.Ahead(r)
			}
		})
	}
}
