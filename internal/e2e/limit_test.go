package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// The upstream never sees more at a time of a key than are allowed: those that find
// none are refused at once, with the least wait there is.
func TestEndToEndConcurrency(t *testing.T) {
	var mu sync.Mutex
	open, most := make(map[string]int), 0
	full, release := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Authorization")
		mu.Lock()
		open[key]++
		most = max(most, open[key])
		total := 0
		for _, n := range open {
			total += n
		}
		mu.Unlock()
		if total == 6 {
			close(full)
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() // it streams from here on
		<-release
		mu.Lock()
		open[key]--
		mu.Unlock()
	}))
	defer live.CloseServer(t, upstream)
	end := sync.OnceFunc(func() { close(release) })
	defer end()
	g := startGateway(t, `
		keycycler {
			keys sk-demo-1 sk-demo-2 sk-demo-3
			limit {
				concurrency 2
			}
		}
		reverse_proxy `+strings.TrimPrefix(upstream.URL, "http://"))
	post := func() *http.Response {
		resp, err := http.DefaultClient.Post(g.plain+"/v1/responses", "application/json", strings.NewReader(`{"model":"demo-model"}`))
		if err != nil {
			t.Error(err)
			return &http.Response{Body: http.NoBody}
		}
		return resp
	}
	var served sync.WaitGroup
	for range 6 {
		served.Go(func() {
			resp := post()
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusOK {
				t.Errorf("status %d, though there is room", resp.StatusCode)
			}
		})
	}
	live.Receive(t, "the upstream has all that it may have", full)
	var refused sync.WaitGroup
	for range 4 {
		refused.Go(func() {
			resp := post()
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1" {
				t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
		})
	}
	refused.Wait()
	end()
	served.Wait()
	if most != 2 {
		t.Errorf("%d requests with one key at a time, want 2", most)
	}
	resp := post()
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d when all have ended", resp.StatusCode)
	}
	if !strings.Contains(g.log(), `"msg":"no key is ready: some are at their limit"`) {
		t.Error("the log does not tell")
	}
}
