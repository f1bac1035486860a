package ttl

import (
	"strings"
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
	for name, d := range dialects {
		got := d.Judge(r)
		// The words of some sayings are the evidence for another class.
		classes := d == OpenAI || d == Generic
		if got.Class == OK || classes && got.Class != want.Class || !sameStatement(got, want) {
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
		{"seconds since 1970", head("retry-after", "1780315290"), says(90, "retry-after")},
		{"milliseconds since 1970", head("retry-after", "1780315290000"), says(90, "retry-after")},
		{"a large number far from now is no date", head("retry-after", "1000000000"), says(1e9, "retry-after")},
		{"a reset of tokens in another spelling", head("x-rate-limit-reset-tokens", "1.5s"), says(1.5, "x-rate-limit-reset-tokens")},
		{"a date in lower case", head("x-ratelimit-reset", "2026-06-01t12:01:30z"), says(90, "x-ratelimit-reset")},
		{"a date with a zone as Go prints it", head("x-ratelimit-reset", "2026-06-01 20:01:30 +0800 CST"), says(90, "x-ratelimit-reset")},
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

// Each place in turn is taken away, and the next one of the order decides.
func TestPrecedence(t *testing.T) {
	places := []struct {
		source, value string // of a header
		member        string // of the body's error
	}{
		{source: "retry-after-ms", value: "1000"},
		{source: "x-ms-retry-after-ms", value: "2000"},
		{source: "retry-after", value: "3"},
		{source: "x-codex-primary-reset-after-seconds", value: "4"},
		{source: "body:RetryInfo.retryDelay", member: `"details":[{"retryDelay":"5s"}]`},
		{source: "body:error.resets_at", member: `"resets_at":1780315206`},
		{source: "body:error.resets_in_seconds", member: `"resets_in_seconds":7`},
		{source: "body:error.metadata.headers.X-RateLimit-Reset", member: `"metadata":{"headers":{"X-RateLimit-Reset":"1780315208000"}}`},
		{source: "body:message", member: `"message":"Please try again in 9s."`},
		{source: "body:retry_after", member: `"retry_after":10`},
		{source: "x-ratelimit-reset-requests", value: "11s"},
		{source: "anthropic-ratelimit-unified-7d-reset", value: "12"},
		{source: "anthropic-ratelimit-unified-reset", value: "13"},
		{source: "anthropic-ratelimit-output-tokens-reset", value: "14"},
		{source: "x-codex-primary-reset-at", value: "15"},
		{source: "ratelimit", value: `"default";r=0;t=16`},
		{source: "ratelimit-reset", value: "17"},
		{source: "x-ratelimit-reset", value: "18"},
		{source: "x-rate-limit-reset", value: "19"},
		{source: "x-ratelimit-reset-ms", value: "20000"},
		{source: "x-ratelimit-reset-after", value: "21"},
		{source: "x-amz-retry-after", value: "22000"},
		{source: "x-ratelimit-timeremaining", value: "23"},
		{source: "x-ratelimit-reset-requests-day", value: "24"},
	}
	for i, first := range places {
		h := head("x-codex-primary-used-percent", "100",
			"anthropic-ratelimit-unified-7d-status", "rejected", "anthropic-ratelimit-unified-status", "rejected")
		var members []string
		for _, p := range places[i:] {
			if p.member != "" {
				members = append(members, p.member)
			} else {
				h[named(p.source).key] = []string{p.value}
			}
		}
		r := Response{Header: h}
		if members != nil {
			r.Body = []byte(`{"error":{` + strings.Join(members, ",") + "}}")
		}
		expect(t, first.source+" comes next", r, says(float64(i+1), first.source))
	}
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
		{"hours, minutes and a fraction", `{"error":{"message":"Please try again in 1h2m3.5s."}}`, 3723.5},
		{"hours and minutes in words", `{"error":{"message":"Please try again in 2 hours and 5 minutes."}}`, 7500},
		{"one of a unit", `{"error":{"message":"Retry after 1 minute."}}`, 60},
		{"commas between thousands", `{"error":{"message":"Please retry after 86,400 seconds."}}`, 86400},
		{"about so long", `{"error":{"message":"Try again in about 5 minutes."}}`, 300},
		{"a colon", `{"error":{"message":"Retry after: 30s"}}`, 30},
		{"GitHub Models", `{"error":{"message":"Please wait 24059 seconds before retrying."}}`, 24059},
		{"Azure API Management", `{"message":"Quota will be replenished in 00:03:57."}`, 237},
		{"Azure API Management, days", `{"message":"Quota will be replenished in 5.03:23:11."}`, 444191},
		{"a time of day is no duration", `{"message":"Try again after 10:30:00 UTC."}`, none},
		{"Anthropic", `{"error":{"message":"You will regain access on 2026-06-02 at 00:00 UTC."}}`, 43200},
		{"a date with seconds", `{"error":{"message":"Resets at 2026-06-01T12:01:30Z"}}`, 90},
		{"a date that has passed", `{"error":{"message":"You will regain access on 2026-05-02 at 00:00 UTC."}}`, 0},
		{"a date of nobody's zone", `{"error":{"message":"Your limit will reset at 2026-06-02 12:00:00"}}`, none},
		{"a date of another zone", `{"error":{"message":"Your limit will reset at 2026-06-02 12:00 PST"}}`, none},
		{"a date without a time", `{"error":{"message":"You will regain access on 2026-06-02."}}`, none},
		{"a day that the month does not have", `{"error":{"message":"You will regain access on 2026-02-30 at 00:00 UTC."}}`, none},
		{"no such month", `{"error":{"message":"You will regain access on 2026-13-01 at 00:00 UTC."}}`, none},
		{"an error in the message, as a gateway hands it on", `{"error":{"message":"{\n  \"error\": {\n    \"details\": [{\"retryDelay\": \"34s\"}]}}"}}`, 34},
		{"raw line breaks in the message", "{\"error\":{\"message\":\"try\nagain\nin\n3s\"}}", 3},
		{"a dictionary of Python's", `{'error': {'message': 'Please try again in 20s.', 'code': 'rate_limit_exceeded'}}`, 20},
		{"other numbers first", `{"error":{"message":"Limit 3, Used 3, Requested 1. Try again in 8.64s"}}`, 8.64},
		{"awaiting is not waiting", `{"error":{"message":"Awaiting 3 requests"}}`, none},
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

func TestBodies(t *testing.T) {
	const delay, at, in, reset = "body:RetryInfo.retryDelay", "body:error.resets_at", "body:error.resets_in_seconds", "body:error.metadata.headers.X-RateLimit-Reset"
	for _, c := range []struct {
		why, body string
		want      Verdict
	}{
		{"seconds", `{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}`, says(34.4, delay)},
		{"in an array", `[{"error":{"details":[{"retryDelay":"34s"}]}}]`, says(34, delay)},
		{"behind other details", `{"error":{"details":[{"violations":[{"quotaValue":"20"}]},{"links":[{"url":"x"}]},{"retryDelay":"34s"}]}}`, says(34, delay)},
		{"misspelt keys", "{\"error\":{\"details\":[{\" @type\":\"x\",\" retryDelay\":\"34s\"}]}}", says(34, delay)},
		{"after a raw line break", "{\"error\":{\"message\":\"a\nb\",\"details\":[{\"retryDelay\":\"34s\"}]}}", says(34, delay)},
		{"without an envelope", `{"code":429,"details":[{"retryDelay":"34s"}]}`, says(34, delay)},
		{"milliseconds", `{"error":{"details":[{"retryDelay":"479.417207ms"}]}}`, says(0.479417207, delay)},
		{"none at all", `{"error":{"details":[{"retryDelay":"0s"}]}}`, says(0, delay)},
		{"field by field", `{"error":{"details":[{"retryDelay":{"seconds":"12","nanos":500000000}}]}}`, says(12.5, delay)},
		{"seconds alone", `{"error":{"details":[{"retryDelay":{"seconds":12}}]}}`, says(12, delay)},
		{"nanoseconds alone", `{"error":{"details":[{"retryDelay":{"nanos":250000000}}]}}`, says(0.25, delay)},
		{"negative", `{"error":{"details":[{"retryDelay":"-5s"}]}}`, nothing},
		{"negative, field by field", `{"error":{"details":[{"retryDelay":{"seconds":-12}}]}}`, nothing},
		{"no duration", `{"error":{"details":[{"retryDelay":"soon"}]}}`, nothing},
		{"no duration, but words", `{"error":{"message":"retry in 3s","details":[{"retryDelay":"soon"}]}}`, says(3, "body:message")},
		{"the client's", `{"error":{"message":"No"},"input":{"retryDelay":"34s"}}`, nothing},
		{"when", `{"error":{"resets_at":1780315260,"resets_in_seconds":61}}`, says(60, at)},
		{"when, as a text", `{"error":{"resets_at":"2026-06-01T12:01:00Z"}}`, says(60, at)},
		{"when, in milliseconds", `{"error":{"resets_at":1780315260000}}`, says(60, at)},
		{"how soon", `{"error":{"resets_at":null,"resets_in_seconds":61}}`, says(61, in)},
		{"how soon, as a text", `{"error":{"resets_in_seconds":"61"}}`, says(61, in)},
		{"neither", `{"error":{"resets_at":null,"resets_in_seconds":-1}}`, nothing},
		{"OpenRouter", `{"error":{"metadata":{"headers":{"X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1780315260000"}}}}`, says(60, reset)},
		{"OpenRouter, a number", `{"error":{"metadata":{"headers":{"X-RateLimit-Reset":1780315260000}}}}`, says(60, reset)},
		{"OpenRouter, in small letters", `{"error":{"metadata":{"headers":{"x-ratelimit-reset":"1780315260000"}}}}`, says(60, reset)},
		{"a member of that name", `{"error":{"retry_after":12.5}}`, says(12.5, "body:retry_after")},
	} {
		expect(t, c.why, Response{Body: []byte(c.body)}, c.want)
	}
	expect(t, "when, by the upstream's clock", Response{
		Header: head("date", "Mon, 01 Jun 2026 12:00:30 GMT"),
		Body:   []byte(`{"error":{"resets_at":1780315260}}`),
	}, says(30, at))
}

func TestWindowsOfOthers(t *testing.T) {
	const fiveHours, week, anthropic = "anthropic-ratelimit-unified-5h-", "anthropic-ratelimit-unified-7d-", "anthropic-ratelimit-"
	for _, c := range []struct {
		why    string
		header map[string][]string
		want   Verdict
	}{
		{"a window that is rejected", head(fiveHours+"status", "rejected", fiveHours+"reset", "1780315260", week+"status", "allowed", week+"reset", "1780657200"), says(60, fiveHours+"reset")},
		{"of two, the later", head(fiveHours+"status", "rejected", fiveHours+"reset", "1780657200", week+"status", "rejected", week+"reset", "1780315260"), says(342000, fiveHours+"reset")},
		{"none is rejected", head(fiveHours+"status", "allowed_warning", fiveHours+"reset", "1780315260", anthropic+"unified-status", "allowed", anthropic+"unified-reset", "1780315260"), nothing},
		{"no window is named", head(anthropic+"unified-status", "rejected", anthropic+"unified-reset", "1780315260"), says(60, anthropic+"unified-reset")},
		{"nothing remains of two, the later", head(anthropic+"requests-remaining", "0", anthropic+"requests-reset", "2026-06-01T12:00:50Z", anthropic+"tokens-remaining", "0", anthropic+"tokens-reset", "2026-06-01T12:00:40Z"), says(50, anthropic+"requests-reset")},
		{"something remains of all, the first to end", head(anthropic+"requests-remaining", "5", anthropic+"requests-reset", "2026-06-01T12:00:50Z", anthropic+"tokens-remaining", "5", anthropic+"tokens-reset", "2026-06-01T12:00:40Z"), says(40, anthropic+"tokens-reset")},
		{"nothing remains until something unreadable", head(anthropic+"requests-remaining", "0", anthropic+"requests-reset", "soon", anthropic+"tokens-remaining", "5", anthropic+"tokens-reset", "2026-06-01T12:00:40Z"), nothing},
		{"a long window is no bucket", head(anthropic+"requests-limit", "10", anthropic+"requests-remaining", "0", anthropic+"requests-reset", "2026-06-01T14:00:00Z"), says(7200, anthropic+"requests-reset")},
		{"Codex, the one that is full", head("x-codex-primary-used-percent", "80", "x-codex-primary-reset-after-seconds", "5", "x-codex-secondary-used-percent", "100", "x-codex-secondary-reset-after-seconds", "9"), says(9, "x-codex-secondary-reset-after-seconds")},
		{"Codex, more than full", head("x-codex-primary-used-percent", "104.5", "x-codex-primary-reset-after-seconds", "5"), says(5, "x-codex-primary-reset-after-seconds")},
		{"Codex, both are full", head("x-codex-primary-used-percent", "100", "x-codex-primary-reset-after-seconds", "5", "x-codex-secondary-used-percent", "100", "x-codex-secondary-reset-after-seconds", "3"), says(5, "x-codex-primary-reset-after-seconds")},
		{"Codex, neither is full", head("x-codex-primary-used-percent", "99", "x-codex-primary-reset-after-seconds", "5"), nothing},
		{"Codex, when", head("x-codex-primary-used-percent", "100", "x-codex-primary-reset-at", "1780315260"), says(60, "x-codex-primary-reset-at")},
		{"Cerebras, the day", head("x-ratelimit-reset-requests-day", "33011.382867"), says(33011.382867, "x-ratelimit-reset-requests-day")},
		{"Cerebras, the minute", head("x-ratelimit-remaining-requests-day", "5", "x-ratelimit-reset-requests-day", "33011", "x-ratelimit-remaining-tokens-minute", "0", "x-ratelimit-reset-tokens-minute", "11.4"), says(11.4, "x-ratelimit-reset-tokens-minute")},
		{"Bedrock counts milliseconds", head("x-amz-retry-after", "1500"), says(1.5, "x-amz-retry-after")},
		{"Azure counts milliseconds, whichever period it states", head("x-ratelimit-reset-tokens", "1500", "x-ratelimit-renewalperiod-requests", "60"), says(1.5, "x-ratelimit-reset-tokens")},
	} {
		expect(t, c.why, Response{Header: c.header}, c.want)
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
		{"the seventh draft", `limit=100, remaining=0, reset=50`, 50},
		{"the seventh draft with parameters", `limit=100;w=60, remaining=0;x=1, reset=50`, 50},
		{"the seventh draft, something left", `limit=100, remaining=1, reset=50`, none},
		{"the seventh draft, negative", `limit=100, remaining=0, reset=-1`, none},
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
