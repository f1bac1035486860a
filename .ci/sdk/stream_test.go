package sdk

import (
	"slices"
	"strings"
	"testing"
)

// A streamed answer after a refusal comes chunk by chunk, as the upstream sends
// it. That is proven by lock-step, not by the clock: the upstream sends no chunk
// before the client has the one before.
func TestStream(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up, g := firstKeyLimited(t, 4)
		got := c.stream(t, &stage{up: up, base: base(g)}).ok(t)
		if !slices.Equal(got.Texts, streamed) {
			t.Errorf("the client got %q", got.Texts)
		}
		calls := up.seen()
		if len(calls) != 2 || !calls[0].refused || calls[1].refused {
			t.Fatalf("%d calls, want a refused one and a good one", len(calls))
		}
		if calls[0].body != calls[1].body {
			t.Errorf("the bodies differ: %v and %v", calls[0].body, calls[1].body)
		}
		checkCalls(t, calls)
	})
}

// A client that aborts a stream is gone for the upstream too, and that is nothing
// against the key: it is the only one of the pool that is ready, and still serves.
func TestAbandonedStream(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up, g := firstKeyLimited(t, 2)
		s := &stage{up: up, base: base(g)}
		left := c.abandon(t, s).ok(t).Left
		for range 2 {
			if got := c.chat(t, s).ok(t); got.Text != reply {
				t.Errorf("the client got %q", got.Text)
			}
		}
		calls := up.seen()
		if len(calls) != 4 {
			t.Fatalf("%d calls, want a refused one, the stream, and two more", len(calls))
		}
		for _, one := range calls[1:] {
			if one.key != left {
				t.Errorf("the key of the stream was %s, then %s was used", left, one.key)
			}
		}
		checkCalls(t, calls)

		// The log is whole when the process has ended.
		g.stop(t)
		if n := strings.Count(g.log.String(), `"key is cooling"`); n != 1 {
			t.Errorf("%d keys cool, want the refused one alone", n)
		}
	})
}
