package observe

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestSettle: what a reverse_proxy before us has set is seen until the attempt's has set
// its own, and where the attempt has none, afterwards too.
func TestSettle(t *testing.T) {
	const status = "http.reverse_proxy.status_code"
	for _, test := range []struct {
		what    string
		proxies bool
		looks   bool // a handler of the attempt asks before that
		want    any
	}{
		{"an attempt that is proxied", true, false, nil},
		{"one whose handlers look first", true, true, nil},
		{"one that is answered otherwise", false, false, 401},
		{"one that is answered otherwise, by who looks", false, true, 401},
	} {
		t.Run(test.what, func(t *testing.T) {
			repl := caddy.NewReplacer()
			repl.Set(proxied, "auth:1")
			repl.Set(status, 401)
			ctx := context.WithValue(t.Context(), caddy.ReplacerCtxKey, repl)
			r := httptest.NewRequestWithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}), "GET", "/", nil)
			var report Report
			report.Begin(r)
			var attempt AttemptContext
			attempt.Begin(r.Context(), r, &report, Place{})
			own := attempt.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			if test.looks {
				if got, _ := own.Get(proxied); got != "auth:1" {
					t.Errorf("the attempt's handlers see %v", got)
				}
			}
			if test.proxies {
				own.Set(proxied, "upstream:1")
			}
			for range 2 { // for the answer, and at the end
				report.Settle()
				if got, _ := repl.Get(status); got != test.want {
					t.Errorf("%s is %v, want %v", status, got, test.want)
				}
			}
		})
	}
}

// What dials for an attempt outlives it, and may ask for placeholders (the name in its TLS)
// when the next attempt is under way with a key of another index: it is told of its own.
func TestALateDialIsToldOfItsOwnAttempt(t *testing.T) {
	ctx := context.WithValue(t.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	r := httptest.NewRequestWithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}), "GET", "/", nil)
	var report Report
	report.Begin(r)
	report.Pool, report.Client = &Pool{Name: "demo"}, "ada"
	one, two := NewIndex(poolOf(t, 1), nil), NewIndex(poolOf(t, 2), nil)
	begin := func(key Place, n int) (*AttemptContext, func() string) {
		report.Attempt(key, n)
		c := new(AttemptContext)
		c.Begin(r.Context(), r, &report, key)
		own := c.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		const p = "{" + PlaceholderPrefix
		return c, func() string {
			return own.ReplaceAll(p+"pool} "+p+"client} "+p+"attempts} "+p+"key_id} "+p+"outcome}", "")
		}
	}
	said := func(key Place, n int) string { return fmt.Sprintf("demo ada %d %s ", n, key.ID()) }
	first := Place{one, 0}
	c, asks := begin(first, 1)
	if got := asks(); got != said(first, 1) {
		t.Errorf("during the first attempt: %q", got)
	}
	c.End()
	stop, late := make(chan struct{}), make(chan string)
	go func() {
		defer close(late)
		for got := ""; got == "" || got == said(first, 1); {
			got = asks()
			select {
			case <-stop:
				return
			case late <- got:
			}
		}
	}()
	for n := 2; n < 1000; n++ {
		report.Outcome = OutcomeCanceled
		key := Place{two, 1}
		if n%2 == 1 {
			key = first
		}
		c, asks := begin(key, n)
		report.Outcome = ""
		if got := asks(); got != said(key, n) {
			t.Fatalf("during attempt %d: %q", n, got)
		}
		c.End()
		report.Outcome = outcomeServed
		if got := <-late; got != said(first, 1) {
			t.Fatalf("what dials for the first attempt is told %q during attempt %d", got, n)
		}
	}
	close(stop)
	<-late
}
