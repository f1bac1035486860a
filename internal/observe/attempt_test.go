package observe

import (
	"context"
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
