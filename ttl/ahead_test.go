package ttl

import "testing"

func TestAhead(t *testing.T) {
	for _, c := range []struct {
		why     string
		dialect *Dialect
		header  map[string][]string
		want    float64
		source  string
	}{
		{"no headers", OpenAI, nil, none, ""},
		{"something remains", OpenAI, head("x-ratelimit-remaining-requests", "1", "x-ratelimit-reset-requests", "9s"), none, ""},
		{"a reset alone", OpenAI, head("x-ratelimit-reset-requests", "9s"), none, ""},
		{"no requests remain", OpenAI, head("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "59.9s"), 59.9, "x-ratelimit-reset-requests"},
		{"no tokens remain", OpenAI, head("x-ratelimit-remaining-requests", "7", "x-ratelimit-reset-requests", "1h", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "6m0s"), 360, "x-ratelimit-reset-tokens"},
		{"neither remains, the later counts", OpenAI, head("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "20s", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "58s"), 58, "x-ratelimit-reset-tokens"},
		{"nothing remains, and nobody says until when", OpenAI, head("x-ratelimit-remaining-requests", "0"), none, ""},
		{"nothing remains until something unreadable", OpenAI, head("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "soon"), none, ""},
		{"one slot of a day", OpenAI, head("x-ratelimit-limit-requests", "10000", "x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "24h6m34s"), 8.6794, "x-ratelimit-reset-requests"},
		{"an hour is what it says", OpenAI, head("x-ratelimit-limit-requests", "10", "x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "1h"), 3600, "x-ratelimit-reset-requests"},
		{"a limit that is none", OpenAI, head("x-ratelimit-limit-tokens", "-1", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "9s"), none, ""},
		{"-1 is no limit", OpenAI, head("x-ratelimit-remaining-tokens", "-1", "x-ratelimit-reset-tokens", "9s"), none, ""},
		{"space around it", OpenAI, head("x-ratelimit-remaining-tokens", " 0 ", "x-ratelimit-reset-tokens", "9s"), 9, "x-ratelimit-reset-tokens"},
		{"milliseconds of Azure's", Azure, head("x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "1500", "x-ratelimit-renewalperiod-tokens", "60"), 1.5, "x-ratelimit-reset-tokens"},
		{"a day at Cerebras is no bucket", OpenAI, head("x-ratelimit-limit-requests-day", "14400", "x-ratelimit-remaining-requests-day", "0", "x-ratelimit-reset-requests-day", "33011.382867"), 33011.382867, "x-ratelimit-reset-requests-day"},
		{"one limit for all", OpenAI, head("x-ratelimit-limit", "2", "x-ratelimit-remaining", "0", "x-ratelimit-reset", "1"), 1, "x-ratelimit-reset"},
		{"one limit for all, since 1970", GitHub, head("x-ratelimit-remaining", "0", "x-ratelimit-reset", "1780315260", "date", "Mon, 01 Jun 2026 12:00:30 GMT"), 30, "x-ratelimit-reset"},
		{"the draft's older headers", OpenAI, head("ratelimit-remaining", "0", "ratelimit-reset", "5"), 5, "ratelimit-reset"},
		{"the draft's header", OpenAI, head("ratelimit", `"burst";r=9;t=1, "day";r=0;t=30`), 30, "ratelimit"},
		{"the draft's header without quotes", OpenAI, head("ratelimit", `all;r=0;t=30`), 30, "ratelimit"},
		{"the draft's header as it was", OpenAI, head("ratelimit", "limit=100, remaining=0, reset=50"), 50, "ratelimit"},
		{"the draft's header, something left", OpenAI, head("ratelimit", `"api";r=999;t=295`), none, ""},
		{"no tokens remain at Anthropic", Anthropic, head("date", "Mon, 01 Jun 2026 12:00:00 GMT", "anthropic-ratelimit-requests-remaining", "49", "anthropic-ratelimit-requests-reset", "2026-06-01T12:00:01Z", "anthropic-ratelimit-output-tokens-remaining", "0", "anthropic-ratelimit-output-tokens-reset", "2026-06-01T12:00:40Z"), 40, "anthropic-ratelimit-output-tokens-reset"},
		{"Retry-After comes with Anthropic's successes", Anthropic, head("retry-after", "53", "anthropic-ratelimit-tokens-remaining", "5"), none, ""},
		{"a subscription's window", Anthropic, head("anthropic-ratelimit-unified-5h-status", "rejected", "anthropic-ratelimit-unified-5h-reset", "1780318800"), 3600, "anthropic-ratelimit-unified-5h-reset"},
		{"both of its windows", Anthropic, head("anthropic-ratelimit-unified-5h-status", "rejected", "anthropic-ratelimit-unified-5h-reset", "1780318800", "anthropic-ratelimit-unified-7d-status", "rejected", "anthropic-ratelimit-unified-7d-reset", "1780657200"), 342000, "anthropic-ratelimit-unified-7d-reset"},
		{"a window that is not named", Anthropic, head("anthropic-ratelimit-unified-status", "rejected", "anthropic-ratelimit-unified-reset", "1780318800"), 3600, "anthropic-ratelimit-unified-reset"},
		{"a warning", Anthropic, head("anthropic-ratelimit-unified-5h-status", "allowed_warning", "anthropic-ratelimit-unified-5h-reset", "1780318800"), none, ""},
		{"requests go on at another price", Anthropic, head("anthropic-ratelimit-unified-status", "rejected", "anthropic-ratelimit-unified-reset", "1780318800", "anthropic-ratelimit-unified-overage-status", "allowed"), none, ""},
		{"a reset that has passed", OpenAI, head("x-ratelimit-remaining", "0", "x-ratelimit-reset", "1780315140"), 0, "x-ratelimit-reset"},
		{"Generic knows them all", Generic, head("anthropic-ratelimit-tokens-remaining", "0", "anthropic-ratelimit-tokens-reset", "2026-06-01T12:00:40Z"), 40, "anthropic-ratelimit-tokens-reset"},
	} {
		r := Response{Status: 200, Header: c.header, Now: noon}
		got, source, ok := c.dialect.Ahead(r)
		if !agrees(got, ok, c.want) || source != c.source {
			t.Errorf("%s: got %v, %q, %v, want %v, %q", c.why, got, source, ok, c.want, c.source)
		}
		if n := testing.AllocsPerRun(10, func() { c.dialect.Ahead(r) }); n != 0 {
			t.Errorf("%s: %v allocations", c.why, n)
		}
	}
}

func TestAheadReadsSuccessesAlone(t *testing.T) {
	h := head("x-ratelimit-remaining", "0", "x-ratelimit-reset", "9")
	for status := 0; status < 1000; status++ {
		if _, _, ok := OpenAI.Ahead(Response{Status: status, Header: h, Now: noon}); ok != (status/100 == 2) {
			t.Errorf("Ahead of status %d: %v", status, ok)
		}
	}
}

// The short way that almost every success takes must not lose anything that the
// long way finds.
func TestSignsLoseNothing(t *testing.T) {
	for _, c := range loadCases(t) {
		for name, d := range dialects {
			r := c.response()
			long := *d
			for key := range r.Header {
				long.signs.add(key)
			}
			r.Status = 200
			seconds, source, ok := d.Ahead(r)
			wantSeconds, wantSource, want := long.Ahead(r)
			if seconds != wantSeconds || source != wantSource || ok != want {
				t.Errorf("%s, %s: got %v, want %v", name, c.ID, source, wantSource)
			}
		}
	}
}
