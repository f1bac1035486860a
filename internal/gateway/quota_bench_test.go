//go:build !race

package gateway

import (
	"net/http"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/quota"
)

// quotaRequests returns a function that sends a request of a client with limits, where answers
// have prices, or neither.
func quotaRequests(t testing.TB, limited bool) func() {
	g := counting(t, func(c *Config) {
		if limited {
			c.Prices = pricesFile(t, `{"gpt-*": {"input": 2.5, "output": 10}}`)
			c.Desk = client.NewDesk(c.Pool, quota.NewPlan(nil, &quota.Terms{Limits: []quota.Limit{
				perMinute(quota.Requests, 1_000_000), perMinute(quota.Tokens, 1_000_000_000), {Kind: quota.Concurrency, Most: 100},
			}}), client.UserPlaceholder)
		}
	})
	silence(g)
	content := []byte(`{"model":"gpt-demo","max_tokens":100,"messages":[{"role":"user","content":"` + strings.Repeat("x", 900) + `"}]}`)
	r, body := benchRequest(content)
	r.Header.Set("Content-Type", "application/json")
	next := inPieces("application/json", [][]byte{[]byte(saidOnce)})
	w := &discard{header: http.Header{}}
	return func() {
		body.Reset(content)
		clear(w.header) // what it was told before is no upstream's limit
		if err := g.ServeHTTP(w, r, next); err != nil {
			t.Fatal(err)
		}
	}
}

// TestQuotaAllocations pins what a client's limits and prices cost, in allocations.
func TestQuotaAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection in between would empty the pools
	off, on := testing.AllocsPerRun(200, quotaRequests(t, false)), testing.AllocsPerRun(200, quotaRequests(t, true))
	if on-off > 1 {
		t.Errorf("%v allocations more than %v, want at most 1", on-off, off)
	}
}

// BenchmarkQuota measures a request of a client with limits and prices, and without.
func BenchmarkQuota(b *testing.B) {
	for _, row := range []struct {
		name string
		on   bool
	}{{"off", false}, {"on", true}} {
		b.Run(row.name, func(b *testing.B) {
			f := quotaRequests(b, row.on)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
