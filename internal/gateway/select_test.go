package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/testkit"
)

// withReplacer gives a request Caddy's placeholders, as its server does.
func withReplacer(r *http.Request) *http.Request {
	repl := caddyhttp.NewTestReplacer(r)
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)
	return r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
}

// keysOf returns the keys that requests of one session go out with.
func keysOf(t *testing.T, h *Gateway, session string, n int, replies ...testkit.Reply) []string {
	t.Helper()
	var keys []string
	for range n {
		r := testkit.Post(`{"model":"` + session + `"}`)
		r.Header.Set("X-Session", session)
		r.Header.Set("Content-Type", "application/json")
		up := testkit.Script(replies...)
		if w, err := testkit.Serve(h, up, withReplacer(r)); err != nil || w.Code != http.StatusOK {
			t.Fatalf("status %d, error %v", w.Code, err)
		}
		keys = append(keys, up.Keys()...)
	}
	return keys
}

func unique(keys []string) int {
	return len(slices.Compact(slices.Sorted(slices.Values(keys))))
}

// Requests of one session keep to one key, whichever placeholder tells the session; a
// rejection moves them on to one other, and not away from that.
func TestSelectHash(t *testing.T) {
	for _, value := range []string{"{http.request.header.X-Session}", "{http.keycycler.model}"} {
		h := provision(t, 20, func(c *Config) { c.Hash = strings.Trim(value, "{}") })
		var all []string
		for i := range 40 {
			keys := keysOf(t, h, fmt.Sprint("session-", i), 5, testkit.Fine)
			if unique(keys) != 1 {
				t.Fatalf("%s: one session went out with %v", value, keys)
			}
			all = append(all, keys[0])
		}
		if n := unique(all); n < 10 {
			t.Errorf("%s: 40 sessions use no more than %d of 20 keys", value, n)
		}
		moved := keysOf(t, h, "session-0", 1, testkit.Limited, testkit.Fine)
		if moved[0] != all[0] || moved[1] == all[0] {
			t.Errorf("%s: the session's keys were %v, want its own, %s, and another", value, moved, all[0])
		}
		if later := keysOf(t, h, "session-0", 5, testkit.Fine); unique(later) != 1 || later[0] != moved[1] {
			t.Errorf("%s: while its key cools, the session's keys are %v, want %s", value, later, moved[1])
		}
	}
}

// The model is known in time of a body that is not read whole, too.
func TestSelectHashOfALargeBodysModel(t *testing.T) {
	h := provision(t, 20, func(c *Config) { c.Hash = "http.keycycler.model" })
	var keys []string
	for range 10 {
		r := testkit.Post(`{"model":"gpt-x","input":"` + strings.Repeat("a", 2*replay.MaxEager) + `"}`)
		r.Header.Set("Content-Type", "application/json")
		up := testkit.Script(testkit.Fine)
		if w, err := testkit.Serve(h, up, withReplacer(r)); err != nil || w.Code != http.StatusOK {
			t.Fatalf("status %d, error %v", w.Code, err)
		}
		keys = append(keys, up.Keys()...)
	}
	if unique(keys) != 1 {
		t.Errorf("the requests for one model went out with %v", keys)
	}
}

// Where nobody says what the value is, keys are drawn.
func TestSelectHashOfNothing(t *testing.T) {
	for _, value := range []string{"{http.request.header.X-Other}", "{http.auth.user.id}", "{nobody.knows}"} {
		h := provision(t, 20, func(c *Config) { c.Hash = strings.Trim(value, "{}") })
		if keys := keysOf(t, h, "one", 40, testkit.Fine); unique(keys) < 10 {
			t.Errorf("%s: 40 requests went out with %d keys of 20", value, unique(keys))
		}
	}
	h := provision(t, 2, func(c *Config) { c.Hash = "http.request.host" })
	if w, err := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x")); err != nil || w.Code != http.StatusOK {
		t.Errorf("without any placeholders: status %d, error %v", w.Code, err)
	}
}
