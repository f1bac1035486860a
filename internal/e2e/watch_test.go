package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// A mounted secret is swapped again and again under load: no request fails, and a key
// that has made room for a newer one is used by no request that comes then. (That it
// makes room within a second is TestSwappedLinksAreSeen's.)
func TestKeysRotateUnderLoad(t *testing.T) {
	const connections = 20
	rotations := 250
	if live.Long() {
		rotations = 2000
	}
	dir := t.TempDir()
	swap := func(n int) {
		version := filepath.Join(dir, fmt.Sprint("v", n))
		if err := os.Mkdir(version, 0o700); err != nil {
			t.Fatal(err)
		}
		keys := fmt.Sprintf("sk-demo-rotated-%d\nsk-demo-rotated-%d\n", n, n+1)
		if err := os.WriteFile(filepath.Join(version, "keys"), []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(version, filepath.Join(dir, "data.new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "data.new"), filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	swap(0)
	var newest atomic.Int64 // of the keys that the upstream has seen
	var used sync.Map       // those keys
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		used.Store(key, true)
		n, _ := strconv.ParseInt(key[strings.LastIndex(key, "-")+1:], 10, 64)
		for seen := newest.Load(); n > seen && !newest.CompareAndSwap(seen, n); seen = newest.Load() {
		}
		// A key comes with the one before it, and takes the place of all others.
		if at, _ := strconv.ParseInt(r.Header.Get("X-Newest"), 10, 64); n < at-1 {
			t.Errorf("key %d was used by a request that came when key %d was in use", n, at)
		}
		io.WriteString(w, "fine")
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys_file %s\n}\nreverse_proxy %s", filepath.Join(dir, "data", "keys"), upstream.URL))
	client := live.Patient(&http.Transport{MaxIdleConnsPerHost: connections})
	defer client.CloseIdleConnections()

	stop := make(chan struct{})
	var load sync.WaitGroup
	var served, failed atomic.Int64
	for range connections {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := live.Request(t, "POST", g.plain, "x")
				r.Header.Set("X-Newest", strconv.FormatInt(newest.Load(), 10))
				res, body := live.Do(t, client, r)
				if served.Add(1); res.StatusCode != 200 || string(body) != "fine" {
					failed.Add(1)
				}
			}
		})
	}
	for n := 1; n <= rotations; n++ {
		before := served.Load()
		swap(n)
		if n%50 == 0 { // now and then one is long enough to be used
			key := fmt.Sprintf("sk-demo-rotated-%d", n)
			live.Eventually(t, "the new key is used", func() bool { _, ok := used.Load(key); return ok })
			continue
		}
		live.Eventually(t, "requests go on", func() bool { return served.Load() > before })
	}
	last := fmt.Sprintf("sk-demo-rotated-%d", rotations+1)
	live.Eventually(t, "the last key is used", func() bool { _, ok := used.Load(last); return ok })
	close(stop)
	load.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
	keys := 0
	used.Range(func(any, any) bool { keys++; return true })
	t.Logf("%d requests over %d rotations, %d keys were in use for a time", served.Load(), rotations, keys)
}
