package sdk

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// exhaustedMessage is how the gateway's message begins when every key has met its
// rate limit.
const exhaustedMessage = "Rate limit reached for every API key of this gateway."

// Each provider's own package is served by the second key when the first has met
// its limit, and sees nothing of it. The key that the package sends stays behind.
func TestVendorAsk(t *testing.T) {
	eachVendor(t, func(t *testing.T, v vendor) {
		up := startUpstream(t, inOrder(v.limited(40)))
		_, hop := v.start(t, up, 3)
		got := v.ask(t, &stage{up: up, base: hop.url}).ok(t)
		if got.Text != reply {
			t.Errorf("the client got %q", got.Text)
		}
		checkCleanHeader(t, got.Header)
		v.checkKeys(t, hop, checkMovedOn(t, up))
	})
}

// So it is with a stream, whose texts come as the upstream sends them.
func TestVendorStream(t *testing.T) {
	eachVendor(t, func(t *testing.T, v vendor) {
		up := startUpstream(t, inOrder(v.limited(40)))
		_, hop := v.start(t, up, 3)
		got := v.stream(t, &stage{up: up, base: hop.url}).ok(t)
		if !slices.Equal(got.Texts, streamed) {
			t.Errorf("the client got %q", got.Texts)
		}
		v.checkKeys(t, hop, checkMovedOn(t, up))
	})
}

// A stream of status 200 that opens with the error is a refusal like any other: the
// package gets the healthy stream of the next key, and the first key cools.
func TestVendorStreamOpensWithError(t *testing.T) {
	eachVendor(t, func(t *testing.T, v vendor) {
		up := startUpstream(t, inOrder(&refusal{status: http.StatusOK, event: v.event, retryAfter: 40}))
		g, hop := v.start(t, up, 2)
		got := v.stream(t, &stage{up: up, base: hop.url}).ok(t)
		if !slices.Equal(got.Texts, streamed) {
			t.Errorf("the client got %q", got.Texts)
		}
		v.checkKeys(t, hop, checkMovedOn(t, up))
		if n := len(hop.seen()); n != 1 {
			t.Errorf("the client sent %d requests, want 1", n)
		}

		// The log is whole when the process has ended.
		g.stop(t)
		if n := strings.Count(g.log.String(), `"key is cooling"`); n != 1 {
			t.Errorf("%d keys cool, want the first alone", n)
		}
	})
}

// checkMovedOn returns the calls: a refused one, and with another key a good one that
// sends the same.
func checkMovedOn(t *testing.T, up *upstream) []call {
	t.Helper()
	calls := up.seen()
	if len(calls) != 2 || !calls[0].refused || calls[1].refused {
		t.Fatalf("%d calls, want a refused one and a good one", len(calls))
	}
	first, second := calls[0], calls[1]
	if first.key == second.key {
		t.Errorf("%s was tried twice", first.key)
	}
	if first.body.Length == 0 || first.body != second.body || first.path != second.path || first.query != second.query {
		t.Error("the next key got another request")
	}
	return calls
}

// When every key has met its limit, each package raises the error that it has for
// rate limits, with the gateway's message in it. Until a key is ready, an upstream
// that has proven its limits is left alone.
func TestVendorEveryKeyLimited(t *testing.T) {
	eachVendor(t, func(t *testing.T, v vendor) {
		up := startUpstream(t, always(v.limited(40).proven(v.proof)))
		_, hop := v.start(t, up, 2)
		s := &stage{up: up, base: hop.url}
		f := v.ask(t, s).Failure
		checkRefused(t, f, v.code, exhaustedMessage)
		f = v.stream(t, s).Failure
		checkRefused(t, f, v.code, exhaustedMessage)

		seen := hop.seen()
		if len(seen) != 2 {
			t.Fatalf("the client sent %d requests, want one for each question", len(seen))
		}
		for _, one := range seen {
			if seconds := one.retryAfter(t); seconds > 40*time.Second || one.header.Get("X-Should-Retry") != "" {
				t.Errorf("the client got %v", one.header)
			}
		}
		if v.provider == "gemini" && f.RetryDelay != seen[1].header.Get("Retry-After")+"s" {
			t.Errorf("the error says to wait %q", f.RetryDelay)
		}
		v.checkSpared(t, up, 2, len(seen))
	})
}

// checkSpared finds fault with an upstream that was asked more than once for each key,
// and, where its limits are not proven, once for each request that came later.
func (v vendor) checkSpared(t *testing.T, up *upstream, keys, requests int) {
	t.Helper()
	want := keys
	if v.proof == nil {
		want += requests - 1
	}
	if n := len(up.seen()); n != want {
		t.Errorf("%d calls for %d requests, want %d", n, requests, want)
	}
}

// stated is how long the only key cools in the tests below.
const stated = 2 * time.Second

// A package that tries again by itself waits until the key is ready, and is served
// at its second request.
func TestVendorWaits(t *testing.T) {
	eachVendorOf(t, vendorsThat(true), func(t *testing.T, v vendor) {
		up, seen := askPatiently(t, v, exact, 2)
		if len(seen) != 2 {
			t.Fatalf("the client sent %d requests, want 2", len(seen))
		}
		wait := seen[0].retryAfter(t)
		if wait != stated {
			t.Errorf("Retry-After: %v", wait)
		}
		// Node's timers count whole milliseconds.
		if waited := seen[1].asked.Sub(seen[0].answered); waited < wait-time.Millisecond {
			t.Errorf("the client waited %v, told to wait %v", waited, wait)
		}
		if again := seen[1].client.Get("X-Stainless-Retry-Count"); again != "1" {
			t.Errorf("the second request is retry %q", again)
		}
		checkCooled(t, up)
	})
}

// Google's package takes no notice of Retry-After: where it is told to try again, it
// comes at its own pace. A gateway that takes limits to the letter, as Google's answers
// prove none, answers what comes too early, and the upstream learns nothing of it.
func TestVendorThatDoesNotWait(t *testing.T) {
	eachVendorOf(t, vendorsThat(false), func(t *testing.T, v vendor) {
		up, seen := askPatiently(t, v, toTheLetter, 5) // after 0.2, 0.6, 1.4, 3 and 6.2 seconds
		if len(seen) < 3 {
			t.Fatalf("the client sent %d requests, want some that come too early", len(seen))
		}
		if waited := seen[1].asked.Sub(seen[0].answered); waited >= seen[0].retryAfter(t) {
			t.Errorf("the client waited %v: it has learned to", waited)
		}
		for _, one := range seen[:len(seen)-1] {
			if one.status != http.StatusTooManyRequests || one.retryAfter(t) > stated {
				t.Errorf("too early, the client got %d %v", one.status, one.header)
			}
		}
		checkCooled(t, up)
	})
}

// askPatiently asks while the only key cools, and returns what passed until the
// client was served.
func askPatiently(t *testing.T, v vendor, options string, retries int) (*upstream, []exchange) {
	t.Helper()
	up := startUpstream(t, once(v.limited(int(stated/time.Second))))
	_, hop := v.startWith(t, up, 1, options)
	if got := v.ask(t, &stage{up: up, base: hop.url, retries: retries}).ok(t); got.Text != reply {
		t.Errorf("the client got %q", got.Text)
	}
	seen := hop.seen()
	if first, last := seen[0].status, seen[len(seen)-1].status; first != http.StatusTooManyRequests || last != http.StatusOK {
		t.Errorf("the client got %d first and %d last", first, last)
	}
	return up, seen
}

// checkCooled finds fault with an upstream that was called again before the key's
// cooldown was over.
func checkCooled(t *testing.T, up *upstream) {
	t.Helper()
	calls := up.seen()
	if len(calls) != 2 {
		t.Fatalf("%d calls, want the refused one and the served one", len(calls))
	}
	if after := calls[1].at.Sub(calls[0].at); after < stated {
		t.Errorf("the upstream was called again after %v", after)
	}
}

// Where the wait is over a minute, the packages that can be told so give up at once.
// Google's cannot, and stops at the gateway.
func TestVendorGivesUp(t *testing.T) {
	eachVendor(t, func(t *testing.T, v vendor) {
		const retries = 2
		up := startUpstream(t, always(v.limited(90).proven(v.proof)))
		_, hop := v.start(t, up, 2)
		f := v.ask(t, &stage{up: up, base: hop.url, retries: retries}).Failure
		checkRefused(t, f, v.code, exhaustedMessage)

		seen, want := hop.seen(), 1
		if !v.obeys {
			want += retries
		}
		if len(seen) != want {
			t.Errorf("the client sent %d requests, want %d", len(seen), want)
		}
		for _, one := range seen {
			if one.retryAfter(t) <= time.Minute || one.header.Get("X-Should-Retry") != "false" {
				t.Errorf("the client got %v", one.header)
			}
		}
		v.checkSpared(t, up, 2, len(seen))
	})
}
