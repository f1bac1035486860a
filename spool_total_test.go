package keycycler

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestTheProcessKeepsNoMoreThanTotal(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	before := keptMemory.Load()
	limits := replayLimits{memory: 1 << 20, disk: 1 << 20, total: before + 2*largeChunk}
	first, second := &spool{limits: limits}, &spool{limits: limits}
	for _, test := range []struct {
		what  string
		spool *spool
		file  bool
	}{
		{"one request has both chunks", first, false},
		{"the other goes to disk", second, true},
	} {
		want := pattern(0, 50_000)
		if !test.spool.write(want) || !bytes.Equal(test.spool.content(t, 999), want) || (test.spool.file != nil) != test.file {
			t.Errorf("%s: file %t", test.what, test.spool.file != nil)
		}
	}
	if kept := keptMemory.Load() - before; kept != 2*largeChunk {
		t.Errorf("%d bytes are kept", kept)
	}
	first.release()
	second.release()
	if !second.write(pattern(0, 50_000)) || second.file != nil {
		t.Error("what was given back is not there for others")
	}
	second.release()
	if kept := keptMemory.Load() - before; kept != 0 {
		t.Errorf("%d bytes are kept for nobody", kept)
	}
}

func TestWithoutMemoryAndDiskNothingIsKept(t *testing.T) {
	s := &spool{limits: replayLimits{memory: 1 << 20, total: keptMemory.Load() + largeChunk}}
	defer s.release()
	if !s.write(pattern(0, largeChunk)) || s.write([]byte{1}) {
		t.Error("a copy that fits nowhere is taken for whole")
	}
}

// Many requests at once, together with more than the process may keep: all are
// replayed, from memory or from disk.
func TestManyLargeRequestsAreReplayedWithinTotal(t *testing.T) {
	for _, size := range []int{2000, 60_000, 300_000} { // read before the attempt, likewise, while it runs
		const requests = 40
		t.Setenv("TMPDIR", t.TempDir())
		before := keptMemory.Load()
		const total = 10 * largeChunk
		h := provision(t, 2, func(h *Handler) {
			h.Replay = &Replay{Total: new(before + total)}
			h.On = []Rule{{Status: []int{503}, Action: "retry"}}
		})
		var most atomic.Int64
		var arrived sync.WaitGroup
		arrived.Add(requests)
		want := pattern(size, size)
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			var got bytes.Buffer
			if _, err := got.ReadFrom(r.Body); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("an attempt got %d bytes of %d, %v", got.Len(), size, err)
			}
			if r.Header.Get("X-Second") == "" { // the first attempt: all copies are held at once
				arrived.Done()
				arrived.Wait()
				most.Store(max(most.Load(), keptMemory.Load()-before))
				return reply{status: 503}.write(w)
			}
			return fine.write(w)
		})
		var done sync.WaitGroup
		for range requests {
			done.Go(func() {
				r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(want))
				calls := 0
				w, err := serve(h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
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
		if kept := keptMemory.Load() - before; kept != 0 {
			t.Errorf("bodies of %d bytes: %d bytes are kept for nobody", size, kept)
		}
	}
}
