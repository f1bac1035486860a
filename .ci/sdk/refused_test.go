package sdk

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// exact makes the gateway add nothing to what the upstream states.
const exact = "cooldown {\n min 1s\n jitter 0\n }"

// toTheLetter is exact, and no key is used before its time, proven or not.
const toTheLetter = "cooldown {\n min 1s\n jitter 0\n probe off\n }"

// When every key is limited, a client raises its own error for rate limits, with
// what the gateway says. Until a key is ready, the upstream is left alone where it
// has proven its limits. Where it has not, a request that nobody has refused yet asks
// one key.
func TestEveryKeyLimited(t *testing.T) {
	for _, row := range []struct {
		name    string
		refusal *refusal
		again   int // calls of each later request
	}{
		{"proven", rateLimited(40).proven(requestsReset), 0},
		{"not proven", rateLimited(40), 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
				up := startUpstream(t, always(row.refusal))
				g := startGateway(t, up, 3, exact)
				for i := range 2 {
					checkLimited(t, c.chat(t, &stage{up: up, base: base(g)}).Failure)
					if n, want := len(up.seen()), 3+i*row.again; n != want {
						t.Errorf("%d calls so far, want %d", n, want)
					}
				}
				checkCalls(t, up.seen())
			})
		})
	}
}

// checkLimited finds fault with an error that does not say when to come again.
func checkLimited(t *testing.T, f *failure) {
	t.Helper()
	checkRefused(t, f, "rate_limit_exceeded", exhaustedMessage)
	if seconds := checkRetryAfter(t, f); seconds > 40 {
		t.Errorf("Retry-After: %d", seconds)
	}
	if f.Header["x-should-retry"] != "" {
		t.Error("the gateway keeps clients from waiting")
	}
}

// checkRefused finds fault with the error that a client raised.
func checkRefused(t *testing.T, f *failure, code, message string) {
	t.Helper()
	if f == nil {
		t.Fatal("the client raised no error")
	}
	if !f.RateLimit || f.Status != http.StatusTooManyRequests || f.Code != code {
		t.Errorf("the client raised %+v", *f)
	}
	if !strings.HasPrefix(f.Message, message) {
		t.Errorf("the message is %q", f.Message)
	}
}

// checkRetryAfter returns the whole seconds of Retry-After, at least one.
func checkRetryAfter(t *testing.T, f *failure) int {
	t.Helper()
	seconds, err := strconv.Atoi(f.Header["retry-after"])
	if err != nil || seconds < 1 {
		t.Errorf("Retry-After: %q", f.Header["retry-after"])
	}
	return seconds
}

// A key that is invalid and one without quota are tried once each, and never
// again; the client notices neither.
func TestUselessKeys(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up := startUpstream(t, inOrder(invalidKey(), spentQuota()))
		g := startGateway(t, up, 3, "")
		for range 4 {
			got := c.chat(t, &stage{up: up, base: base(g)}).ok(t)
			if got.Text != reply {
				t.Errorf("the client got %q", got.Text)
			}
			checkCleanHeader(t, got.Header)
		}
		calls := up.seen()
		if len(calls) != 6 {
			t.Fatalf("%d calls, want one for each useless key and four good ones", len(calls))
		}
		for i, one := range calls {
			if one.refused != (i < 2) {
				t.Errorf("call %d: refused: %t", i+1, one.refused)
			}
		}
		checkCalls(t, calls)
	})
}

// Where no key is ready for longer than clients wait, they are told not to try
// again, and do not: by themselves, one would ask thrice within seconds and the
// other wait for longer than the test lasts.
func TestNoFutileRetries(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up := startUpstream(t, always(rateLimited(90)))
		g := startGateway(t, up, 2, exact)
		hop := startHop(t, base(g))
		f := c.chat(t, &stage{up: up, base: hop.url, retries: 2}).Failure
		checkRefused(t, f, "rate_limit_exceeded", exhaustedMessage)
		if seconds := checkRetryAfter(t, f); seconds <= 60 {
			t.Errorf("Retry-After: %d", seconds)
		}
		if f.Header["x-should-retry"] != "false" {
			t.Errorf("X-Should-Retry: %q", f.Header["x-should-retry"])
		}
		if n := hop.requests.Load(); n != 1 {
			t.Errorf("the client sent %d requests, want 1", n)
		}
		if n := len(up.seen()); n != 2 {
			t.Errorf("%d calls, want one for each key", n)
		}
	})
}

// Where every key is refused for another reason than a rate limit, the client raises
// the error that it has for the upstream's own answer, with the upstream's words: the
// request itself may be at fault. How often it comes again is its own affair.
func TestUpstreamsOwnRefusal(t *testing.T) {
	for _, row := range []struct {
		name     string
		refusal  *refusal
		want     failure
		requests int64
	}{
		{"no quota", spentQuota(), failure{RateLimit: true, Status: http.StatusTooManyRequests, Code: "insufficient_quota", Message: "You exceeded your current quota"}, 3},
		{"no valid key", invalidKey(), failure{Stranger: true, Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "Incorrect API key provided."}, 1},
		{"no balance", noBalance(), failure{Status: http.StatusPaymentRequired, Code: "invalid_request_error", Message: "Insufficient Balance"}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
				up := startUpstream(t, always(row.refusal))
				hop := startHop(t, base(startGateway(t, up, 2, exact)))
				f := c.chat(t, &stage{up: up, base: hop.url, retries: 2}).Failure
				checkOwnWords(t, f, row.want)
				checkOwnHeader(t, hop.seen()[0].header)
				if n := hop.requests.Load(); n != row.requests {
					t.Errorf("the client sent %d requests, want %d", n, row.requests)
				}
				checkFew(t, up.seen(), 2, int(row.requests))
			})
		})
	}
}

// checkOwnWords finds fault with an error that is not the upstream's.
func checkOwnWords(t *testing.T, f *failure, want failure) {
	t.Helper()
	if f == nil {
		t.Fatal("the client raised no error")
	}
	if f.RateLimit != want.RateLimit || f.Stranger != want.Stranger || f.Status != want.Status || f.Code != want.Code {
		t.Errorf("the client raised %+v", *f)
	}
	if !strings.HasPrefix(f.Message, want.Message) {
		t.Errorf("the message is %q", f.Message)
	}
}

// checkOwnHeader finds fault with an answer that lacks what the upstream said, or has
// advice that it did not give. A later answer may have some, for the pool's pace.
func checkOwnHeader(t *testing.T, h http.Header) {
	t.Helper()
	if h.Get("X-Request-Id") != "refused" || h.Get("X-Ratelimit-Remaining-Requests") != "0" {
		t.Errorf("the upstream's header is lost: %v", h)
	}
	for _, name := range []string{"Retry-After", "X-Should-Retry"} {
		if got := h.Get(name); got != "" {
			t.Errorf("%s: %q, which the upstream did not say", name, got)
		}
	}
}

// checkFew finds fault with requests that asked a key more than once each, and where
// the first left a key out.
func checkFew(t *testing.T, calls []call, keys, requests int) {
	t.Helper()
	if n := len(calls); n < keys || n > keys*requests {
		t.Fatalf("%d calls for %d requests, want at most one for each key and request", n, requests)
	}
	tried := make(map[string]bool)
	for _, one := range calls[:keys] {
		tried[one.key] = true
	}
	if len(tried) != keys {
		t.Errorf("the first request tried %d keys, want %d", len(tried), keys)
	}
}

// Where a key is ready soon, clients wait as long as they are told, and are
// served. This also shows that the tests above count what they say.
func TestUsefulRetry(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up := startUpstream(t, once(rateLimited(1)))
		g := startGateway(t, up, 1, exact)
		hop := startHop(t, base(g))
		got := c.chat(t, &stage{up: up, base: hop.url, retries: 2}).ok(t)
		if got.Text != reply {
			t.Errorf("the client got %q", got.Text)
		}
		if n := hop.requests.Load(); n != 2 {
			t.Errorf("the client sent %d requests, want 2", n)
		}
		if n := len(up.seen()); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}
