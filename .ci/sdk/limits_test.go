package sdk

import (
	"testing"
	"time"
)

// limitMessage is how the gateway's message begins to a client at a limit of its own.
const limitMessage = "You are at the limit that this gateway has for you: 1 requests."

func onePer(per string) string { return exact + "\nclients {\n * {\n requests 1 " + per + "\n }\n }" }

// Over its own limit, each provider's package raises the error that it has for rate limits,
// with the gateway's message in it, and the upstream hears nothing.
func TestVendorOverItsOwnLimit(t *testing.T) {
	eachVendor(t, func(t *testing.T, v vendor) {
		up := startUpstream(t, never)
		_, hop := v.startWith(t, up, 2, onePer("1m"))
		s := &stage{up: up, base: hop.url}
		if got := v.ask(t, s).ok(t); got.Text != reply {
			t.Errorf("the client got %q", got.Text)
		}
		checkRefused(t, v.ask(t, s).Failure, v.code, limitMessage)
		checkRefused(t, v.stream(t, s).Failure, v.code, limitMessage)
		for _, one := range hop.seen()[1:] {
			if wait := one.retryAfter(t); wait > 62*time.Second || one.header.Get("X-Ratelimit-Remaining-Requests") != "0" {
				t.Errorf("the client got %v", one.header)
			}
		}
		if n := len(up.seen()); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

// OpenAI's clients wait for as long as they are told, and are served.
func TestOwnLimitIsWaitedFor(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up := startUpstream(t, never)
		hop := startHop(t, base(startGateway(t, up, 1, onePer("2s"))))
		s := &stage{up: up, base: hop.url, retries: 2}
		for range 2 {
			if got := c.chat(t, s).ok(t); got.Text != reply {
				t.Errorf("the client got %q", got.Text)
			}
		}
		if n := len(up.seen()); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
		if n := hop.requests.Load(); n < 2 || n > 3 {
			t.Errorf("the client sent %d requests, want 3, or 2 if it took its time", n)
		}
	})
}
