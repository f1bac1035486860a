package ttl

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/ttl/walk"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// head makes a header map of names in lower case and values, in turns.
func head(pairs ...string) map[string][]string {
	h := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		key := named(pairs[i]).key
		h[key] = append(h[key], pairs[i+1])
	}
	return h
}

func TestNamed(t *testing.T) {
	for name, key := range map[string]string{
		"retry-after":                "Retry-After",
		"retry-after-ms":             "Retry-After-Ms",
		"ratelimit":                  "Ratelimit",
		"x-ratelimit-reset-requests": "X-Ratelimit-Reset-Requests",
		"x-5h-reset":                 "X-5h-Reset",
	} {
		if got := named(name); got.key != key || got.name != name {
			t.Errorf("named(%q) = %+v, want the key %q", name, got, key)
		}
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		body   string
		want   Class
	}{
		{"a rate limit without a word", 429, "", RateLimited},
		{"no quota, by type alone", 429, `{"error":{"type":"insufficient_quota","code":null}}`, QuotaExhausted},
		{"no quota, by code alone", 403, `{"error":{"code":"insufficient_quota"}}`, QuotaExhausted},
		{"an account that is not active", 429, `{"error":{"code":"billing_not_active"}}`, QuotaExhausted},
		{"a limit that somebody set", 400, `{"error":{"code":"billing_hard_limit_reached"}}`, QuotaExhausted},
		{"no credit, in words", 400, `{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to go on"}}`, QuotaExhausted},
		{"payment required, without a word", 402, "", QuotaExhausted},
		{"a code that is a number", 429, `{"error":{"code":1113}}`, QuotaExhausted},
		{"a code outside of the error object", 429, `{"object":"error","code":"insufficient_quota"}`, QuotaExhausted},
		{"an unknown key", 401, `{"error":{"code":"invalid_api_key"}}`, InvalidKey},
		{"an unknown key, in words alone", 401, `{"error":{"message":"Incorrect API key provided: abc"}}`, InvalidKey},
		{"an unknown key, as Mistral says it", 401, `{"detail":"Unauthorized"}`, InvalidKey},
		{"a closed account", 403, `{"error":{"code":"account_deactivated"}}`, InvalidKey},
		{"authentication failed", 401, `{"type":"error","error":{"type":"authentication_error"}}`, InvalidKey},
		{"no reason for a 401", 401, "", Unknown},
		{"a reason that is not the key's fault", 401, `{"error":{"code":"ip_not_authorized","message":"Your IP is not authorized"}}`, OK},
		{"a country, not a key", 403, `{"error":{"code":"unsupported_country_region_territory"}}`, OK},
		{"a body that is too long", 413, "<html>413 Request Entity Too Large</html>", RequestTooLarge},
		{"more than a minute's tokens", 429, `{"error":{"message":"Request too large for gpt-x"}}`, RequestTooLarge},
		{"requested over the limit", 429, `{"error":{"message":"Rate limit reached on TPM: Limit 7000, Used 0, Requested ~12903."}}`, RequestTooLarge},
		{"requested over the limit, with commas and colons", 429, `{"error":{"message":"Limit: 30,000 / min. Requested: 36,278 / min."}}`, RequestTooLarge},
		{"a million is more than five thousand", 429, `{"error":{"message":"Limit 1,000,000, Used 999,999, Requested 5,000"}}`, RateLimited},
		{"requested as much as the limit fits", 429, `{"error":{"message":"Limit 3, Used 1, Requested 3"}}`, RateLimited},
		{"another account may have a limit above 0", 429, `{"error":{"message":"Limit 0, Requested 1"}}`, RateLimited},
		{"no limit to compare with", 429, `{"error":{"message":"The limit of the requested model: 5, Requested 9"}}`, RateLimited},
		{"money before size", 429, `{"error":{"code":"insufficient_quota","message":"Request too large"}}`, QuotaExhausted},
		{"no capacity", 503, "", Overloaded},
		{"no capacity, by its own status", 529, "", Overloaded},
		{"no capacity, as a 429", 429, `{"error":{"message":"That model is currently overloaded with other requests."}}`, Overloaded},
		{"no capacity, by type", 429, `{"error":{"type":"engine_overloaded_error"}}`, Overloaded},
		{"the gateway's address, as text", 429, "error code: 1015", Overloaded},
		{"the gateway's address, as a page", 429, "<title>Error 1015 | Ray ID</title>", Overloaded},
		{"the gateway's address, as a problem", 429, `{"title":"You are being rate limited","status":429,"error_code":1015}`, Overloaded},
		{"a success", 200, `{"error":{"code":"insufficient_quota"}}`, OK},
		{"a failure", 500, `{"error":{"code":"server_error"}}`, OK},
		{"a failure that speaks of money", 500, `{"error":{"code":"insufficient_quota"}}`, QuotaExhausted},
		{"no such model", 404, `{"error":{"code":"insufficient_quota"}}`, OK},
		{"a code is compared whole", 400, `{"error":{"code":"not_insufficient_quota"}}`, OK},
	} {
		got := OpenAI.Judge(Response{Status: c.status, Body: []byte(c.body), Now: noon})
		if got.Class != c.want {
			t.Errorf("%s: got %v, want %v", c.why, got.Class, c.want)
		}
	}
}

// A client must not be able to cool keys with words of its own: a provider
// quotes them in the message of a 400, or elsewhere in the body.
func TestClientsWordsAreNotEvidence(t *testing.T) {
	for _, c := range []struct {
		why, body string
		status    int
	}{
		{"quoted in the message", `{"error":{"message":"Invalid value: 'credit balance is too low'.","code":"invalid_value"}}`, 400},
		{"quoted at its start", `{"error":{"message":"'Incorrect API key' is not one of ['user']","code":null}}`, 400},
		{"in another member", `{"error":{"message":"Invalid value","input":"Incorrect API key"}}`, 400},
		{"as a code elsewhere", `{"error":{"message":"Invalid value","input":{"code":"insufficient_quota"}}}`, 400},
		{"beside the error", `{"input":{"error":{"code":"invalid_api_key"}},"error":{"message":"no"}}`, 400},
	} {
		if got := OpenAI.Judge(Response{Status: c.status, Body: []byte(c.body)}); got != (Verdict{}) {
			t.Errorf("%s: got %+v, want ok", c.why, got)
		}
	}
	body := `{"error":{"message":"Rate limit reached"},"input":"please try again in 23h"}`
	if got := OpenAI.Judge(Response{Status: 429, Body: []byte(body)}); got != (Verdict{Class: RateLimited}) {
		t.Errorf("a time in the client's words: got %+v", got)
	}
}

func TestPaymentRequiredWithATimeIsARateLimit(t *testing.T) {
	got := OpenAI.Judge(Response{Status: 402, Header: head("retry-after", "3")})
	if want := (Verdict{Class: RateLimited, Stated: true, Seconds: 3, Source: "retry-after"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got = OpenAI.Judge(Response{Status: 402, Header: head("retry-after", "")})
	if want := (Verdict{Class: QuotaExhausted}); got != want {
		t.Errorf("with an empty header: got %+v, want %+v", got, want)
	}
}

// What is stated does not depend on the class, as long as there is one: an
// operator may let keys cool for any class.
func TestEveryClassStates(t *testing.T) {
	h := head("retry-after", "7")
	for _, c := range []struct {
		status int
		body   string
		class  Class
	}{
		{429, "", RateLimited},
		{429, `{"error":{"code":"insufficient_quota"}}`, QuotaExhausted},
		{401, `{"error":{"code":"invalid_api_key"}}`, InvalidKey},
		{413, "", RequestTooLarge},
		{503, "", Overloaded},
	} {
		got := OpenAI.Judge(Response{Status: c.status, Header: h, Body: []byte(c.body)})
		if want := (Verdict{Class: c.class, Stated: true, Seconds: 7, Source: "retry-after"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, status := range []int{401, 403, 412} {
		if got, want := OpenAI.Judge(Response{Status: status, Header: h}), (Verdict{Class: Unknown, Stated: true, Seconds: 7, Source: "retry-after"}); got != want {
			t.Errorf("status %d alone: got %+v, want %+v", status, got, want)
		}
	}
	for _, status := range []int{200, 400, 404, 500} {
		if got := OpenAI.Judge(Response{Status: status, Header: h}); got != (Verdict{}) {
			t.Errorf("status %d alone: got %+v, want ok and nothing stated", status, got)
		}
	}
}

func TestDialectsAreSafeForConcurrentUse(t *testing.T) {
	cases := loadCases(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, c := range cases {
				r := c.response()
				if OpenAI.Judge(r) != OpenAI.Judge(r) || Generic.Judge(r) != Generic.Judge(r) {
					t.Errorf("%s: two verdicts on one answer", c.ID)
				}
			}
		})
	}
	wg.Wait()
}

func TestPathsOfRolesAreLookedUp(t *testing.T) {
	for path := range roles {
		if len(path) > maxPath {
			t.Errorf("%s is longer than maxPath", path)
		}
	}
}

func TestHeadersAloneAllocateNothing(t *testing.T) {
	for _, h := range []map[string][]string{
		nil,
		head("retry-after", "0.5"),
		head("retry-after", "Mon, 01 Jun 2026 12:01:30 GMT", "date", "Mon, 01 Jun 2026 12:00:00 GMT"),
		head("retry-after", "soon", "x-ratelimit-reset-requests", "6m0s", "x-ratelimit-remaining-requests", "0"),
		head("ratelimit", `"default";r=0;t=5`),
	} {
		r := Response{Status: 429, Header: h, Now: noon}
		if n := testing.AllocsPerRun(100, func() { OpenAI.Judge(r) }); n != 0 {
			t.Errorf("%v: %v allocations", h, n)
		}
	}
	for _, c := range headersAlone(t) {
		r, d := c.response(), c.dialect()
		if n := testing.AllocsPerRun(10, func() { d.Judge(r) }); n != 0 {
			t.Errorf("%s: %v allocations", c.ID, n)
		}
	}
}

// headersAlone are the cases without a body that are judged.
func headersAlone(t testing.TB) []testCase {
	t.Helper()
	return slices.DeleteFunc(loadCases(t), func(c testCase) bool {
		return c.Body != nil && *c.Body != "" || !c.dialect().Judges(c.Status)
	})
}

// The rules that are asked about an answer without a body are those that can fit it: the
// others are left out, and nothing else changes.
func TestRulesForHeadersAlone(t *testing.T) {
	for name, d := range dialects {
		for status := 400; status <= 599; status++ {
			for _, h := range []map[string][]string{nil, head("retry-after", "3"), head("x-ratelimit-remaining", "0")} {
				a := newAnswer(Response{Status: status, Header: h})
				class, why := d.classify(status, a)
				a.body = new(errorBody) // as little as none, and all rules are asked
				if all, whyAll := d.classify(status, a); class != all || why != whyAll {
					t.Errorf("%s, %d, %v: %v by %v, by all rules %v by %v", name, status, h, class, why, all, whyAll)
				}
			}
		}
	}
}

// Reset reads what an answer states where its status means nothing here.
func TestReset(t *testing.T) {
	body := []byte(`{"error":{"message":"Try again in 4s"}}`)
	for _, c := range []struct {
		why  string
		r    Response
		want Verdict
	}{
		{"a header", Response{Status: 418, Header: head("retry-after", "9"), Body: body}, says(9, "retry-after")},
		{"the body", Response{Status: 200, Body: body}, says(4, "body:message")},
		{"nothing", Response{Status: 500}, nothing},
	} {
		if got := OpenAI.Reset(c.r); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.why, got, c.want)
		}
	}
}

func TestReadError(t *testing.T) {
	deep := strings.Repeat(`{"a":`, walk.MaxDepth+1) + "1" + strings.Repeat("}", walk.MaxDepth+1)
	for _, c := range []struct {
		why, body, message, codes string
	}{
		{"an error object", `{"error":{"message":"No","type":"t","code":"c"}}`, "no", "t c"},
		{"wrapped in an array", ` [ {"error":{"message":"No","code":429}} ] `, "no", "429"},
		{"two in an array: the first message", `[{"error":{"message":"A"}},{"error":{"message":"B"}}]`, "a", ""},
		{"without an error object", `{"message":"No","code":"1300","type":"t"}`, "no", "1300 t"},
		{"the error a string", `{"code":"c","error":"No"}`, "no", "c"},
		{"the error a status text, the message beside it", `{"error":"Too Many Requests","message":"Retry in 1 minute"}`, "retry in 1 minute", ""},
		{"the error object before what stands beside it", `{"message":"outer","error":{"message":"inner"}}`, "inner", ""},
		{"a bare string", `"Too many"`, "too many", ""},
		{"a problem as in RFC 9457", `{"title":"T","detail":"D"}`, "d", ""},
		{"no message", `{"error":{"code":"c","message":""}}`, "", "c"},
		{"a message that is null, and a code", `{"error":{"message":null,"code":null,"type":"t"}}`, "", "t"},
		{"a message that is an object", `{"error":{"message":{"message":"No"}}}`, "", ""},
		{"escapes", `{"message":"a\nb\t\"c\" \u0041\u00e9 \/ \\n"}`, "a b \"c\" a\u00e9 / \\n", ""},
		{"escapes that are none", `{"message":"a\qb\u12"}`, `a\qb\u12`, ""},
		{"a surrogate", `{"message":"a\ud83d"}`, "a\ufffd", ""},
		{"an escaped quote is not the end", `{"message":"say \"try\"","code":"c"}`, `say "try"`, "c"},
		{"raw line breaks in a string", "{\"message\":\"a\nb\",\"code\":\"c\"}", "a b", "c"},
		{"space in a key", `{" error ":{"message ":"No"," code":"c"}}`, "no", "c"},
		{"Google's reason", `{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID"}]}}`, "", "400 API_KEY_INVALID"},
		{"commas too many", `{"error":{"message":"No","code":"c",},}`, "no", "c"},
		{"a byte order mark", "\xef\xbb\xbf" + `{"message":"No"}`, "no", ""},
		{"cut off in the message", `{"error":{"message":"No way`, `{"error":{"message":"no way`, ""},
		{"cut off in a number", `{"error":{"message":"Retry in 5`, `{"error":{"message":"retry in `, ""},
		{"cut off in a fraction", `{"error":{"message":"Retry in 58.`, `{"error":{"message":"retry in `, ""},
		{"cut off in a unit", `{"error":{"message":"Retry in 900m`, `{"error":{"message":"retry in `, ""},
		{"cut off after a unit", `{"error":{"message":"Retry in 58s`, `{"error":{"message":"retry in 58s`, ""},
		{"cut off after some other m", `{"error":{"message":"Retry in a m`, `{"error":{"message":"retry in a m`, ""},
		{"text that begins like JSON and ends with a number", `[429] Retry in 5`, `[429] retry in 5`, ""},
		{"cut off in an escape", `{"error":{"message":"No way\`, `{"error":{"message":"no way\`, ""},
		{"cut off after the message", `{"error":{"message":"No","type":"t","co`, "no", "t"},
		{"cut off in a code that is a number", `{"error":{"message":"No","code":111`, "no", ""},
		{"malformed after the message", `{"message":"No" "code":"c"}`, "no", ""},
		{"malformed before the message", `{code:"c","message":"No"}`, `{code:"c","message":"no"}`, ""},
		{"a page", "<html>No</html>", "<html>no</html>", ""},
		{"text", "Too many\n", "too many ", ""},
		{"text that begins like an array", "[error] No", "[error] no", ""},
		{"text that begins with an array", "[429] No", "[429] no", ""},
		{"a word in the place of a value", `{"a":nil,"message":"No"}`, `{"a":nil,"message":"no"}`, ""},
		{"all kinds of values", `{"a":[-1,2.5e3,true,false,null,{},[]],"message":"No"}`, "no", ""},
		{"a number", "429", "429", ""},
		{"space alone", " \n", "  ", ""},
		{"too deep to be an error", deep, strings.ToLower(deep), ""},
		{"invalid UTF-8", "{\"message\":\"a\xffb\"}", "a\ufffdb", ""},
		{"a key that only looks like a path", `{"errand":{"message":"No"},"error":{"x":{"message":"No"}}}`, "", ""},
		{"an empty key is a key", `{"":{"error":{"message":"No"}}}`, "", ""},
		{"an empty key is not the bare string", `{"":"No"}`, "", ""},
		{"nothing in it", `{}`, "", ""},
		{"more codes than anybody sends", `[` + strings.Repeat(`{"code":"c"},`, 20) + `]`, "", "c c c c c c c c"},
	} {
		e := readError([]byte(c.body))
		var got []string
		for _, code := range e.codes.list() {
			got = append(got, string(code))
		}
		if e.message != c.message || strings.Join(got, " ") != c.codes {
			t.Errorf("%s: got %q and %q, want %q and %q", c.why, e.message, got, c.message, c.codes)
		}
	}
}
