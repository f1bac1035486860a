package sdk

import (
	"strings"
	"testing"
)

// firstKeyLimited is the scene of most tests: the key that arrives first, whichever
// it is, has met its rate limit.
func firstKeyLimited(t *testing.T, keys int) (*upstream, *gateway) {
	t.Helper()
	up := startUpstream(t, inOrder(rateLimited(40)))
	return up, startGateway(t, up, keys, "")
}

// A chat completion whose first key meets its limit: the gateway tries the next
// key, not the client, and the client sees the one answer that counts.
func TestChat(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up, g := firstKeyLimited(t, 4)
		got := c.chat(t, &stage{up: up, base: base(g)}).ok(t)
		if got.Text != reply {
			t.Errorf("the client got %q", got.Text)
		}
		checkCleanHeader(t, got.Header)

		calls := up.seen()
		if len(calls) != 2 {
			t.Fatalf("%d calls, want 2", len(calls))
		}
		first, second := calls[0], calls[1]
		if first.key == second.key {
			t.Errorf("%s was tried twice", first.key)
		}
		if first.body.Length == 0 || first.body != second.body {
			t.Errorf("the bodies differ: %v and %v", first.body, second.body)
		}
		checkCalls(t, calls)
	})
}

// checkCleanHeader finds fault with an answer that shows anything of a refusal.
func checkCleanHeader(t *testing.T, h map[string]string) {
	t.Helper()
	if h["x-request-id"] != "served" {
		t.Errorf("X-Request-Id: %s", h["x-request-id"])
	}
	// Caddy's and the upstream's, each once, as without keycycler.
	if h["via"] != "1.1 Caddy, 1.1 upstream" {
		t.Errorf("Via: %s", h["via"])
	}
	for _, name := range []string{"retry-after", "x-ratelimit-remaining-requests", "x-should-retry"} {
		if value, ok := h[name]; ok {
			t.Errorf("%s: %s", name, value)
		}
	}
	if strings.Contains(h["content-length"], ",") || strings.Contains(h["content-type"], ",") {
		t.Errorf("doubled: %v", h)
	}
}

// checkCalls finds fault with calls that show the upstream who the client is, or
// that the client had to send again.
func checkCalls(t *testing.T, calls []call) {
	t.Helper()
	for _, c := range calls {
		if !strings.HasPrefix(c.key, keyPrefix) {
			t.Errorf("the upstream got no key of the pool: %q", c.key)
		}
		if c.mentions(clientKey) {
			t.Error("the client's own key reached the upstream")
		}
		for _, name := range []string{"Openai-Organization", "Openai-Project"} {
			if value := c.header.Get(name); value != "" {
				t.Errorf("%s: %s reached the upstream", name, value)
			}
		}
		if again := c.header.Get("X-Stainless-Retry-Count"); again != "" && again != "0" {
			t.Errorf("the client tried again by itself: %s", again)
		}
		if len(c.trailer) > 0 {
			t.Errorf("trailers that no client sent: %v", c.trailer)
		}
	}
}
