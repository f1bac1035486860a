package gateway

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/testkit"
)

// Many requests at once, together with more than the process may keep: all are
// replayed, from memory or from disk.
func TestManyLargeRequestsAreReplayedWithinTotal(t *testing.T) {
	for _, size := range []int{2000, 60_000, 300_000} { // read before the attempt, likewise, while it runs
		const requests = 40
		t.Setenv("TMPDIR", t.TempDir())
		before := replay.KeptMemory.Load()
		const total = 10 * replay.LargeChunk
		h := provision(t, 2, func(c *Config) {
			c.Total = before + total
			c.Rules = []blame.Rule{{Status: []int{503}, Action: "retry"}}
		})
		var most atomic.Int64
		var arrived sync.WaitGroup
		arrived.Add(requests)
		want := testkit.Pattern(size, size)
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			var got bytes.Buffer
			if _, err := got.ReadFrom(r.Body); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("an attempt got %d bytes of %d, %v", got.Len(), size, err)
			}
			if r.Header.Get("X-Second") == "" { // the first attempt: all copies are held at once
				arrived.Done()
				arrived.Wait()
				most.Store(max(most.Load(), replay.KeptMemory.Load()-before))
				return testkit.Reply{Status: 503}.Write(w)
			}
			return testkit.Fine.Write(w)
		})
		var done sync.WaitGroup
		for range requests {
			done.Go(func() {
				r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(want))
				calls := 0
				w, err := testkit.Serve(h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					if calls++; calls > 1 {
						r.Header.Set("X-Second", "yes")
					}
					return next(w, r)
				}), r)
				if err != nil || w.Code != http.StatusOK || calls != 2 {
					t.Errorf("client got %d after %d attempts, %v", w.Code, calls, err)
				}
			})
		}
		done.Wait()
		if m := most.Load(); m == 0 || m > total {
			t.Errorf("bodies of %d bytes: up to %d bytes were kept, %d are allowed", size, m, total)
		}
		if kept := replay.KeptMemory.Load() - before; kept != 0 {
			t.Errorf("bodies of %d bytes: %d bytes are kept for nobody", size, kept)
		}
	}
}
