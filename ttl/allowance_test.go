package ttl

import (
	"fmt"
	"math"
	"testing"
)

func TestAllowances(t *testing.T) {
	const date = "Mon, 01 Jun 2026 12:00:00 GMT"
	for _, c := range []struct {
		why     string
		dialect *Dialect
		header  map[string][]string
		want    string
	}{
		{"no headers", OpenAI, nil, ""},
		{"OpenAI's", OpenAI, head("x-ratelimit-limit-requests", "500", "x-ratelimit-remaining-requests", "499", "x-ratelimit-reset-requests", "120ms", "x-ratelimit-limit-tokens", "30000", "x-ratelimit-remaining-tokens", "29000", "x-ratelimit-reset-tokens", "2s"), "requests 499/500 0.12 tokens 29000/30000 2 "},
		{"no reset", OpenAI, head("x-ratelimit-limit-tokens", "30000", "x-ratelimit-remaining-tokens", "29000"), ""},
		{"no limit", OpenAI, head("x-ratelimit-remaining-tokens", "29000", "x-ratelimit-reset-tokens", "2s"), ""},
		{"nothing remains", OpenAI, head("x-ratelimit-limit-tokens", "30000", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "60s"), "tokens 0/30000 60 "},
		{"a limit that is none", OpenAI, head("x-ratelimit-limit-tokens", "-1", "x-ratelimit-remaining-tokens", "-1", "x-ratelimit-reset-tokens", "0s"), ""},
		{"a limit of nothing", OpenAI, head("x-ratelimit-limit-tokens", "0", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "0s"), ""},
		{"more than there is", OpenAI, head("x-ratelimit-limit-tokens", "5", "x-ratelimit-remaining-tokens", "6", "x-ratelimit-reset-tokens", "1s"), ""},
		{"no numbers", OpenAI, head("x-ratelimit-limit-tokens", "inf", "x-ratelimit-remaining-tokens", "NaN", "x-ratelimit-reset-tokens", "soon"), ""},
		{"milliseconds of Azure's", Azure, head("x-ratelimit-limit-tokens", "100", "x-ratelimit-remaining-tokens", "20", "x-ratelimit-reset-tokens", "1500", "x-ratelimit-renewalperiod-tokens", "60"), "tokens 20/100 1.5 "},
		{"Cerebras'", OpenAI, head("x-ratelimit-limit-tokens-minute", "60000", "x-ratelimit-remaining-tokens-minute", "50000", "x-ratelimit-reset-tokens-minute", "11.5"), "tokens-minute 50000/60000 11.5 "},
		{"one limit for all, since 1970", GitHub, head("x-ratelimit-limit", "60", "x-ratelimit-remaining", "59", "x-ratelimit-reset", "1780315260", "date", "Mon, 01 Jun 2026 12:00:30 GMT"), "requests 59/60 30 "},
		{"Anthropic's", Anthropic, head("date", date, "anthropic-ratelimit-input-tokens-limit", "40000", "anthropic-ratelimit-input-tokens-remaining", "1000", "anthropic-ratelimit-input-tokens-reset", "2026-06-01T12:00:40Z", "anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "49", "anthropic-ratelimit-requests-reset", "2026-06-01T12:00:01Z"), "requests 49/50 1 input-tokens 1000/40000 40 "},
		{"a reset that has passed", Anthropic, head("date", date, "anthropic-ratelimit-tokens-limit", "10", "anthropic-ratelimit-tokens-remaining", "1", "anthropic-ratelimit-tokens-reset", "2026-06-01T11:59:00Z"), "tokens 1/10 0 "},
		{"the draft's older headers", OpenAI, head("ratelimit-limit", "100", "ratelimit-remaining", "40", "ratelimit-reset", "5"), "requests 40/100 5 "},
		{"the draft's headers", OpenAI, head("ratelimit-policy", `"burst";q=100;w=60, "a,b;c";q=1000;w=86400`, "ratelimit", `"burst";r=90;t=10,"a,b;c";r=7;t=30`), "burst 90/100 10 a,b;c 7/1000 30 "},
		{"a policy that nobody has", OpenAI, head("ratelimit-policy", `"day";q=1000`, "ratelimit", `"burst";r=90;t=10`), ""},
		{"the draft's header alone", OpenAI, head("ratelimit", `"burst";r=90;t=10`), ""},
		{"the draft's header as it was", OpenAI, head("ratelimit", "limit=100, remaining=50, reset=50"), ""},
		{"a subscription's windows have no numbers", Anthropic, head("anthropic-ratelimit-unified-5h-status", "allowed", "anthropic-ratelimit-unified-5h-reset", "1780318800"), ""},
	} {
		r, room := Response{Status: 200, Header: c.header, Now: noon}, make([]Allowance, 0, 8)
		got := ""
		for _, a := range c.dialect.Allowances(room, r) {
			got += fmt.Sprintf("%s %v/%v %v ", a.Of, a.Remaining, a.Limit, math.Round(a.Seconds*1000)/1000)
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.why, got, c.want)
		}
		if states, _ := c.dialect.Speaks(200, c.header); !states && got != "" {
			t.Errorf("%s: nobody would look", c.why)
		}
		if n := testing.AllocsPerRun(10, func() { c.dialect.Allowances(room, r) }); n != 0 {
			t.Errorf("%s: %v allocations", c.why, n)
		}
	}
}

// Speaks looks once for both: what Ahead could find is what it found before.
func TestSpeaks(t *testing.T) {
	for _, row := range []struct {
		status        int
		header        map[string][]string
		states, spent bool
	}{
		{200, head("content-type", "application/json"), false, false},
		{200, head("x-ratelimit-remaining-tokens", "812"), true, false},
		{200, head("x-ratelimit-remaining-tokens", "0"), true, true},
		{200, head("x-ratelimit-remaining-tokens", "812", "x-ratelimit-remaining-requests", "0"), true, true},
		{429, head("x-ratelimit-remaining-tokens", "0"), false, false},
	} {
		if states, spent := OpenAI.Speaks(row.status, row.header); states != row.states || spent != row.spent {
			t.Errorf("%d %v: %t, %t", row.status, row.header, states, spent)
		}
	}
}

// FuzzAllowances reads whatever stands in headers: what is stated is possible.
func FuzzAllowances(f *testing.F) {
	f.Add("100", "50", "1s", `"a";q=5`, `"a";r=4;t=3`)
	f.Add("1e300", "1e-9", "2026-06-01T12:00:40Z", `;q=`, `a;r=1;t=1,,`)
	f.Fuzz(func(t *testing.T, limit, remaining, reset, policy, left string) {
		h := head("x-ratelimit-limit-tokens", limit, "x-ratelimit-remaining-tokens", remaining, "x-ratelimit-reset-tokens", reset, "ratelimit-policy", policy, "ratelimit", left)
		for _, a := range Generic.Allowances(nil, Response{Header: h, Now: noon}) {
			if !(a.Limit > 0 && a.Remaining >= 0 && a.Remaining <= a.Limit && a.Seconds >= 0) || !finite(a.Limit) || !finite(a.Seconds) {
				t.Errorf("%+v", a)
			}
		}
	})
}
