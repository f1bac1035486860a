package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// Reloads under load fail no request, forget no cooldown and leave nothing behind.
func TestReloadUnderLoad(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	})
	upstream.Wait = "3600" // longer than all reloads take
	const keys, limited, connections, reloads = 10, 5, 200, 20
	limitedKeys := strings.Fields(demoKeys(limited))
	for _, key := range limitedKeys {
		upstream.Limit(key)
	}
	directives := func(maxAttempts int) string {
		return fmt.Sprintf("keycycler {\n keys %s\n max_attempts %d\n replay {\n memory 2KiB\n }\n}\nreverse_proxy %s",
			demoKeys(keys), maxAttempts, upstream.URL)
	}
	g := startGateway(t, directives(keys))
	clients := g.protocolClients()
	// Every limited key meets its limit once …
	rejected := func() (n int) {
		for _, c := range upstream.Seen() {
			if slices.Contains(limitedKeys, c.Key) {
				n++
			}
		}
		return n
	}
	live.Eventually(t, "every limited key has met its limit", func() bool {
		live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain, "x"))
		return rejected() == limited
	})
	http.DefaultClient.CloseIdleConnections()

	var reached sync.Map // ids of the requests that came through to the upstream
	upstream.Serve = func(w http.ResponseWriter, r *http.Request) {
		reached.Store(r.Header.Get("X-Request-Id"), true)
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	}
	var failed, served, refused atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	body := strings.Repeat("x", 5000)
	// send reports whether the gateway took the request. Whoever closes a listener
	// resets the connections that it has not accepted, and whoever closes an idle
	// connection may cross a request on its way: Caddy without keycycler does so at
	// a reload, too, and clients try again. What went upstream must be answered.
	send := func(target struct {
		client *http.Client
		url    string
	}, id string, streams bool) bool {
		r := live.Request(t, "POST", target.url, body)
		r.Header.Set("X-Request-Id", id)
		if streams {
			r.ContentLength = -1 // and spills to disk
		}
		res, err := target.client.Do(r)
		if err != nil {
			if _, did := reached.Load(id); !did {
				return false
			}
			failed.Add(1)
			t.Logf("%s: %v", target.url, err)
			return true
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || string(answer) != "5000 <nil>" {
			failed.Add(1)
			t.Logf("%s: %s %q %v", target.url, res.Status, answer, err)
		}
		served.Add(1)
		return true
	}
	for i := range connections {
		target := clients[[]string{"HTTP/1.1", "HTTP/2.0"}[i%2]]
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if !send(target, fmt.Sprintf("%d-%d", i, n), i%4 < 2) {
					refused.Add(1)
				}
			}
		})
	}
	for i := range reloads {
		before := served.Load()
		g.load(directives(keys + 1 + i%2))
		live.Eventually(t, "the new config serves", func() bool { return served.Load() > before+connections })
	}
	close(stop)
	load.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
	// … and is left alone ever after.
	if n := rejected(); n != limited {
		t.Errorf("the %d limited keys were called %d times in %d requests over %d reloads", limited, n, served.Load(), reloads)
	}
	for _, target := range clients {
		target.client.CloseIdleConnections()
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
	live.Eventually(t, "no goroutine is in keycycler", func() bool { return !strings.Contains(live.Stacks(), "keycycler.(*") })
	t.Logf("%d requests over %d reloads; %d connections were closed before a request came through",
		served.Load(), reloads, refused.Load())
}
