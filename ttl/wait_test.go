package ttl

import (
	"testing"
	"time"
)

// says is the answer to a 429 with a wait stated; nothing the one without.
func says(seconds float64, source string) Verdict {
	return Verdict{Class: RateLimited, Stated: true, Seconds: seconds, Source: source}
}

var nothing = Verdict{Class: RateLimited}

func expect(t *testing.T, why string, r Response, want Verdict) {
	t.Helper()
	r.Status = 429
	if r.Now.IsZero() {
		r.Now = noon
	}
	for name, d := range map[string]*Dialect{"OpenAI": OpenAI, "Generic": Generic} {
		got := d.Judge(r)
		if got.Class != want.Class || !sameStatement(got, want) {
			t.Errorf("%s, %s: got %+v, want %+v", name, why, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		why    string
		header map[string][]string
		want   Verdict
	}{
		{"no headers", nil, nothing},
		{"milliseconds", head("retry-after-ms", "1500"), says(1.5, "retry-after-ms")},
		{"milliseconds by Microsoft's name", head("x-ms-retry-after-ms", "38000"), says(38, "x-ms-retry-after-ms")},
		{"milliseconds that are a date state nothing", head("retry-after-ms", "Mon, 01 Jun 2026 12:01:30 GMT"), nothing},
		{"seconds", head("retry-after", "20"), says(20, "retry-after")},
		{"seconds with a fraction", head("retry-after", "0.25"), says(0.25, "retry-after")},
		{"seconds between spaces", head("retry-after", " \t30 "), says(30, "retry-after")},
		{"0 is a statement", head("retry-after", "0", "x-ratelimit-reset", "9"), says(0, "retry-after")},
		{"a large number is no date here", head("retry-after", "1780315290"), says(1780315290, "retry-after")},
		{"a duration is none here", head("retry-after", "60s"), nothing},
		{"a date of RFC 3339 is none here", head("retry-after", "2026-06-01T12:01:30Z"), nothing},
		{"a list is no statement", head("retry-after", "7, 60"), nothing},
		{"the first of several lines", head("retry-after", "30", "retry-after", "60"), says(30, "retry-after")},
		{"the first line that states something", head("retry-after", "soon", "retry-after", "60"), says(60, "retry-after")},
		{"an HTTP-date", head("retry-after", "Mon, 01 Jun 2026 12:01:30 GMT"), says(90, "retry-after")},
		{"a date that has passed", head("retry-after", "Mon, 01 Jun 2026 11:00:00 GMT"), says(0, "retry-after")},
		{"a reset in seconds", head("x-ratelimit-reset", "42"), says(42, "x-ratelimit-reset")},
		{"a reset as a duration", head("x-ratelimit-reset", "1m30s"), says(90, "x-ratelimit-reset")},
		{"a reset in seconds since 1970", head("x-ratelimit-reset", "1780315260"), says(60, "x-ratelimit-reset")},
		{"a reset in milliseconds since 1970", head("x-ratelimit-reset", "1780315260000"), says(60, "x-ratelimit-reset")},
		{"a reset as a date", head("x-ratelimit-reset", "Mon, 01 Jun 2026 12:01:30 GMT"), says(90, "x-ratelimit-reset")},
		{"a reset as a date of RFC 3339", head("x-rate-limit-reset", "2026-06-01T12:01:30.5Z"), says(90.5, "x-rate-limit-reset")},
		{"a reset that has passed", head("ratelimit-reset", "1780315140"), says(0, "ratelimit-reset")},
		{"a reset of -1 is none", head("x-ratelimit-reset", "-1"), nothing},
		{"an empty reset is none", head("x-ratelimit-reset", ""), nothing},
		{"a reset that begins with a number", head("x-ratelimit-reset", "5 apples"), nothing},
		{"something else in a second line", head("x-ratelimit-reset", "req_1", "x-ratelimit-reset", "3"), says(3, "x-ratelimit-reset")},
	} {
		expect(t, c.why, Response{Header: c.header}, c.want)
	}
}

// Absolute times are read against the upstream's own clock.
func TestClock(t *testing.T) {
	const at = "Mon, 01 Jun 2026 12:01:00 GMT"
	for _, c := range []struct {
		why    string
		header map[string][]string
		now    time.Time
		want   float64
	}{
		{"our clock is ahead", head("retry-after", at, "date", "Mon, 01 Jun 2026 12:00:00 GMT"), noon.Add(10 * time.Minute), 60},
		{"our clock is behind", head("retry-after", at, "date", "Mon, 01 Jun 2026 12:00:00 GMT"), noon.Add(-10 * time.Minute), 60},
		{"without a Date our clock has to do", head("retry-after", at), noon.Add(-time.Minute), 120},
		{"a fraction of our second", head("retry-after", at), noon.Add(500 * time.Millisecond), 59.5},
		{"an Age makes the Date an old one", head("retry-after", at, "date", "Mon, 01 Jun 2026 11:00:00 GMT", "age", "3600"), noon, 60},
		{"an Age of 0 does, too", head("retry-after", at, "date", "Mon, 01 Jun 2026 11:00:00 GMT", "age", "0"), noon, 60},
		{"a Date that is none", head("retry-after", at, "date", "today"), noon, 60},
		{"a Date in UTC", head("retry-after", at, "date", "Mon, 01 Jun 2026 12:00:30 UTC"), noon, 30},
	} {
		expect(t, c.why, Response{Header: c.header, Now: c.now}, says(c.want, "retry-after"))
	}
	expect(t, "seconds since 1970 go by the Date as well",
		Response{Header: head("x-ratelimit-reset", "1780315260", "date", "Mon, 01 Jun 2026 12:00:30 GMT")},
		says(30, "x-ratelimit-reset"))
	expect(t, "seconds do not",
		Response{Header: head("retry-after", "5", "date", "Mon, 01 Jun 2026 11:00:00 GMT")},
		says(5, "retry-after"))
}

// Each header in turn is taken away, and the next one of the order decides.
func TestPrecedence(t *testing.T) {
	h := head(
		"retry-after-ms", "1000",
		"x-ms-retry-after-ms", "2000",
		"retry-after", "3",
		"x-ratelimit-reset-requests", "5s",
		"ratelimit", `"default";r=0;t=6`,
		"ratelimit-reset", "7",
		"x-ratelimit-reset", "8",
		"x-rate-limit-reset", "9",
	)
	body := []byte(`{"error":{"message":"Please try again in 4s."}}`)
	for i, source := range []string{
		"retry-after-ms", "x-ms-retry-after-ms", "retry-after", "body:message", "x-ratelimit-reset-requests",
		"ratelimit", "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset",
	} {
		expect(t, source+" comes next", Response{Header: h, Body: body}, says(float64(i+1), source))
		delete(h, named(source).key)
		if source == "body:message" {
			body = nil
		}
	}
	expect(t, "nothing is left", Response{Header: h, Body: body}, nothing)
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		why, body string
		want      float64
	}{
		{"OpenAI", `{"error":{"message":"Rate limit reached. Please try again in 6m0s. Visit"}}`, 360},
		{"Azure", `{"error":{"message":"Please retry after 33 seconds."}}`, 33},
		{"Gemini", `{"error":{"message":"Please retry in 58.9s."}}`, 58.9},
		{"Cloud Code", `{"error":{"message":"Your quota will reset after 1h43m56s."}}`, 6236},
		{"letters of any case", `{"error":{"message":"PLEASE TRY AGAIN IN 3S"}}`, 3},
		{"a line break where a space belongs", `{"error":{"message":"try again in\n3s"}}`, 3},
		{"the first time that is stated", `{"error":{"message":"retry in 5s, or try again in 9s"}}`, 5},
		{"the first time, whatever the order of the words", `{"error":{"message":"try again in 9s, or retry in 5s"}}`, 9},
		{"words without a time do not hide the next", `{"error":{"message":"try again in a while. try again in 7s"}}`, 7},
		{"text", "slow down, try again in 5 seconds", 5},
		{"a page", "<p>Retry after 5 minutes</p>", 300},
		{"cut off", `{"error":{"message":"Please try again in 3s. Vis`, 3},
		{"no time", `{"error":{"message":"Please try again later."}}`, none},
		{"a moment", `{"error":{"message":"Please try again in a moment."}}`, none},
		{"a negative time", `{"error":{"message":"Please try again in -3s."}}`, none},
		{"the end of the text", `{"error":{"message":"Please try again in "}}`, none},
	} {
		want := nothing
		if c.want == c.want {
			want = says(c.want, "body:message")
		}
		expect(t, c.why, Response{Body: []byte(c.body)}, want)
	}
}

func TestWindows(t *testing.T) {
	const requests, tokens = "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"
	for _, c := range []struct {
		why    string
		header map[string][]string
		want   Verdict
	}{
		{"what remains is not stated", head(requests, "20s", tokens, "58s"), says(20, requests)},
		{"no requests remain", head(requests, "20s", tokens, "58s", "x-ratelimit-remaining-requests", "0", "x-ratelimit-remaining-tokens", "5"), says(20, requests)},
		{"requests remain", head(requests, "20s", tokens, "8s", "x-ratelimit-remaining-requests", "1"), says(8, tokens)},
		{"requests and tokens remain, too few", head(requests, "20s", tokens, "8s", "x-ratelimit-remaining-requests", "1", "x-ratelimit-remaining-tokens", "99"), says(8, tokens)},
		{"neither remains, tokens later", head(requests, "20s", tokens, "58s", "x-ratelimit-remaining-requests", "0", "x-ratelimit-remaining-tokens", "0"), says(58, tokens)},
		{"neither remains, requests later", head(requests, "59s", tokens, "58s", "x-ratelimit-remaining-requests", "0", "x-ratelimit-remaining-tokens", "0"), says(59, requests)},
		{"tokens are known to be spent, requests are not", head(requests, "20s", tokens, "58s", "x-ratelimit-remaining-tokens", "0"), says(58, tokens)},
		{"requests remain, their reset does not matter", head(requests, "20s", "x-ratelimit-remaining-requests", "1"), nothing},
		{"no requests remain, and their reset is unreadable", head(requests, "soon", tokens, "8s", "x-ratelimit-remaining-requests", "0"), nothing},
		{"an unreadable reset leaves the other", head(requests, "garbage", tokens, "3s"), says(3, tokens)},
		{"a negative reset does, too", head(requests, "-1s", tokens, "5s"), says(5, tokens)},
		{"a remainder of -1 is no limit", head(tokens, "0", "x-ratelimit-remaining-tokens", "-1"), nothing},
		{"a limit of -1 is no limit", head(requests, "9s", "x-ratelimit-limit-requests", "-1", tokens, "5s"), says(5, tokens)},
		{"an unreadable remainder is not stated", head(requests, "9s", "x-ratelimit-remaining-requests", "many"), says(9, requests)},
		{"a day for 10,000 requests is 9 s for one", head(requests, "24h6m34s", "x-ratelimit-limit-requests", "10000", "x-ratelimit-remaining-requests", "0"), says(8.6794, requests)},
		{"up to an hour it is what it says", head(requests, "1h", "x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "0"), says(3600, requests)},
		{"a limit that is not stated divides nothing", head(requests, "2h", "x-ratelimit-remaining-requests", "0"), says(7200, requests)},
		{"nor does a limit of 0", head(requests, "2h", "x-ratelimit-limit-requests", "0", "x-ratelimit-remaining-requests", "0"), says(7200, requests)},
		{"nor one below 1, which would only lengthen it", head(requests, "2h", "x-ratelimit-limit-requests", "1e-300", "x-ratelimit-remaining-requests", "0"), says(7200, requests)},
		{"what remains may be unknown for a long window", head(requests, "2h", "x-ratelimit-limit-requests", "100"), says(7200, requests)},
		{"the later of the two, once divided", head(requests, "2h", "x-ratelimit-limit-requests", "7200", "x-ratelimit-remaining-requests", "0", tokens, "30s", "x-ratelimit-remaining-tokens", "0"), says(30, tokens)},
		{"Azure counts milliseconds", head(requests, "60000", "x-ratelimit-renewalperiod-requests", "60"), says(60, requests)},
		{"but a duration has its units", head(requests, "6s", "x-ratelimit-renewalperiod-requests", "60"), says(6, requests)},
		{"seconds since 1970", head(requests, "1780315260"), says(60, requests)},
	} {
		expect(t, c.why, Response{Header: c.header}, c.want)
	}
}

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		why, line string
		want      float64
	}{
		{"one policy", `"default";r=0;t=5`, 5},
		{"the policy that is spent", `"burst";r=90;t=10, "daily";r=0;t=36000`, 36000},
		{"the later of two that are spent", `"a";r=0;t=10, "b";r=0;t=4`, 10},
		{"a partition key", `"peruser";r=0;t=7;pk=:QUJD:`, 7},
		{"parameters in another order, with space", `"a" ;  t=7; r=0`, 7},
		{"a name with everything in it", `"a,b;r=1;t=9\"";r=0;t=5`, 5},
		{"a name without quotes", `default;r=0;t=5`, 5},
		{"none is spent", `"default";r=15;t=40`, none},
		{"a negative time is malformed", `"default";r=0;t=-3`, none},
		{"no time", `"default";r=0`, none},
		{"no remainder", `"default";t=5`, none},
		{"a remainder that is none", `"default";r=zero;t=5`, none},
		{"a quote that does not end", `"default;r=0;t=5`, none},
		{"empty", ``, none},
		{"commas alone", `,,`, none},
	} {
		want := nothing
		if c.want == c.want {
			want = says(c.want, "ratelimit")
		}
		expect(t, c.why, Response{Header: head("ratelimit", c.line)}, want)
	}
	expect(t, "two lines are one list",
		Response{Header: head("ratelimit", `"a";r=0;t=3`, "ratelimit", `"b";r=0;t=8`)}, says(8, "ratelimit"))
}
