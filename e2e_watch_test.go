package keycycler_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A mounted secret is swapped a thousand times under load: no request fails, and a
// second after a key was removed nobody uses it.
func TestKeysRotateUnderLoad(t *testing.T) {
	const rotations, connections = 1000, 50
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
	// used notes when each key was seen last.
	var used sync.Map
	upstream := startProvider(t, func(w http.ResponseWriter, r *http.Request) {
		used.Store(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), time.Now())
		io.WriteString(w, "fine")
	})
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys_file %s\n}\nreverse_proxy %s", filepath.Join(dir, "data", "keys"), upstream.URL))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
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
				res, body := do(t, client, request(t, "POST", g.plain, "x"))
				if served.Add(1); res.StatusCode != 200 || string(body) != "fine" {
					failed.Add(1)
				}
			}
		})
	}
	removed := make([]time.Time, rotations+2) // when each key was removed
	for n := 1; n <= rotations; n++ {
		before := served.Load()
		swap(n)
		removed[n-1] = time.Now()
		if n%100 == 0 { // now and then one is long enough to be used
			key := fmt.Sprintf("sk-demo-rotated-%d", n)
			eventually(t, "the new key is used", func() bool { _, ok := used.Load(key); return ok })
			continue
		}
		eventually(t, "requests go on", func() bool { return served.Load() > before })
	}
	last := fmt.Sprintf("sk-demo-rotated-%d", rotations+1)
	eventually(t, "the last key is used", func() bool { _, ok := used.Load(last); return ok })
	close(stop)
	load.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
	keys := 0
	for n := range rotations {
		at, ok := used.Load(fmt.Sprintf("sk-demo-rotated-%d", n))
		if !ok {
			continue
		}
		keys++
		if late := at.(time.Time).Sub(removed[n]); late > time.Second {
			t.Errorf("key %d was used %s after it was removed", n, late)
		}
	}
	t.Logf("%d requests over %d rotations, %d keys were in use for a time", served.Load(), rotations, keys)
}
