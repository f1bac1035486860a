package sdk

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// exact makes the gateway add nothing to what the upstream states.
const exact = "cooldown {\n min 1s\n jitter 0\n }"

// When every key is limited, a client raises its own error for rate limits, with
// what the gateway says. Until a key is ready, the upstream is left alone.
func TestEveryKeyLimited(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up := startUpstream(t, always(rateLimited(40)))
		g := startGateway(t, up, 3, exact)
		for range 2 {
			f := c.chat(t, &stage{up: up, base: base(g)}).Failure
			checkRefused(t, f, "rate_limit_exceeded", "Rate limit reached for every API key of this gateway.")
			if seconds := checkRetryAfter(t, f); seconds > 40 {
				t.Errorf("Retry-After: %d", seconds)
			}
			if f.Header["x-should-retry"] != "" {
				t.Error("the gateway keeps clients from waiting")
			}
			if n := len(up.seen()); n != 3 {
				t.Errorf("%d calls so far, want one for each key", n)
			}
		}
		checkCalls(t, up.seen())
	})
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
	for _, row := range []struct {
		name    string
		refusal *refusal
		code    string
		message string
	}{
		{"a long limit", rateLimited(90), "rate_limit_exceeded", "Rate limit reached for every API key of this gateway."},
		{"no quota", spentQuota(), "insufficient_quota", "The quota of every API key of this gateway is spent."},
		{"no valid key", invalidKey(), "invalid_api_key", "The upstream refused every API key of this gateway as invalid."},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
				up := startUpstream(t, always(row.refusal))
				g := startGateway(t, up, 2, exact)
				hop := startHop(t, base(g))
				f := c.chat(t, &stage{up: up, base: hop.url, retries: 2}).Failure
				checkRefused(t, f, row.code, row.message)
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
		})
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
