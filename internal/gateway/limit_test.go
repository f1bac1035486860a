package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// serveAll sends n requests at once and returns how many had each status.
func serveAll(h *Gateway, up *testkit.Upstream, n int) map[int]int {
	var mu sync.Mutex
	statuses := make(map[int]int)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			w, _ := testkit.Serve(h, up, testkit.Post("x"))
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
		})
	}
	wg.Wait()
	return statuses
}

// In no minute are there more requests with a key than are allowed; all that are
// allowed are served, and who gets none is told when there will be some again.
func TestLimitOfRequests(t *testing.T) {
	const keys, most, per = 3, 5, time.Minute
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, keys, func(c *Config) { c.Limit = limitOf(0, most, per) })
		begun := make(map[string][]time.Time)
		up := testkit.Script(testkit.Fine)
		for range 400 {
			before := len(up.Keys())
			w, err := testkit.Serve(h, up, testkit.Post("x"))
			if err != nil {
				t.Fatal(err)
			}
			if w.Code == http.StatusOK {
				key := up.Keys()[before]
				begun[key] = append(begun[key], time.Now())
			} else if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "at the limit that is configured") || len(up.Keys()) != before {
				t.Fatalf("status %d, %s", w.Code, w.Body)
			}
			time.Sleep(time.Second)
		}
		for key, times := range begun {
			for i := most; i < len(times); i++ {
				if d := times[i].Sub(times[i-most]); d < per {
					t.Errorf("%s: %d requests within %s", key, most+1, d)
				}
			}
			// 400 seconds are six and more windows, each of them two seconds late.
			if len(times) < 6*most {
				t.Errorf("%s served no more than %d requests", key, len(times))
			}
		}
		if len(begun) != keys {
			t.Errorf("%d keys were used, want %d", len(begun), keys)
		}
	})
}

// A key that was rejected gives its place back; one that streams keeps it.
func TestLimitOfConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, func(c *Config) { c.Limit = limitOf(2, 0, 0) })
		release := make(chan struct{})
		up := &testkit.Upstream{Answer: func(n int, w http.ResponseWriter, _ *http.Request) error {
			if n == 0 {
				return testkit.Limited.Write(w)
			}
			w.WriteHeader(http.StatusOK)
			<-release
			return nil
		}}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { testkit.Serve(h, up, testkit.Post("x")) })
			synctest.Wait()
		}
		// One key cools, the other has two streams.
		w, _ := testkit.Serve(h, up, testkit.Post("x"))
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
			t.Errorf("status %d, Retry-After %q: a stream may end at any time", w.Code, w.Header().Get("Retry-After"))
		}
		pool := h.roster.Load().Pool
		if c := pool.Census(time.Now()); c.Busy != 1 || c.Cooling[reason.Limit] != 1 || c.Ready != 0 {
			t.Errorf("census %+v", c)
		}
		busy := pool.Status(time.Now(), 0)
		if !busy.Busy {
			busy = pool.Status(time.Now(), 1)
		}
		if s := observe.KeyStatusOf(time.Now(), rotator.ID{}, busy); s.State != "cooling" || s.Class != "limit" || s.Source != "config" || s.Until != nil || s.Remaining != 0 {
			t.Errorf("operators are told %+v", s)
		}
		close(release)
		wg.Wait()
		if w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x")); w.Code != http.StatusOK {
			t.Errorf("status %d after the streams have ended", w.Code)
		}
	})
}

// A handler that panics gives the key back.
func TestAPanicEndsTheRequest(t *testing.T) {
	h := provision(t, 1, func(c *Config) { c.Limit = limitOf(1, 0, 0) })
	for range 3 {
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Fatal("the handler did not panic: the key was not given back")
				}
			}()
			testkit.Serve(h, testkit.Script(testkit.Reply{Status: 200, Panics: http.ErrAbortHandler}), testkit.Post("x"))
		}()
	}
}

// Who finds out about a key makes one request more: not while the key is at its limit.
func TestExploringHeedsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, func(c *Config) { c.Limit = limitOf(1, 0, 0) })
		pool := h.roster.Load().Pool
		const cooling = rotator.Slot(0)
		pool.Take(time.Now(), rotator.Want{Among: []rotator.Slot{cooling}}) // as a stream that has begun before
		pool.Cool(time.Now(), cooling, rotator.Cooldown{For: 24 * time.Hour, Spare: 17 * time.Minute})
		time.Sleep(17 * time.Minute)
		for range 3 {
			up := testkit.Script(testkit.Fine)
			testkit.Serve(h, up, testkit.Post("x"))
			if n := pool.Status(time.Now(), cooling).InFlight; n != 1 || up.Keys()[0] == testkit.DemoKeys(2)[cooling] {
				t.Fatalf("%d requests with the key, keys %v", n, up.Keys())
			}
			time.Sleep(2 * time.Second)
		}
		pool.End(cooling)
		time.Sleep(2 * time.Second)
		up := testkit.Script(testkit.Fine)
		testkit.Serve(h, up, testkit.Post("x"))
		if up.Keys()[0] != testkit.DemoKeys(2)[cooling] {
			t.Errorf("keys %v: nobody found out about the key", up.Keys())
		}
		if c := pool.Census(time.Now()); c.Ready != 2 {
			t.Errorf("census %+v, want both keys ready", c)
		}
	})
}

// Refusals by the limit may come many times a second: no pair of lines for each.
func TestRefusalsByTheLimitAreNotTheEndOfThePool(t *testing.T) {
	h := provision(t, 1, func(c *Config) { c.Limit = limitOf(0, 1, time.Hour) })
	serveAll(h, testkit.Script(testkit.Fine), 5)
	if h.dry.Load() {
		t.Error("the pool counts as dry")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, testkit.Post("x"), testkit.Script(testkit.Fine))
	if after := w.Header().Get("Retry-After"); len(after) != 4 || w.Header().Get("X-Should-Retry") != "false" {
		t.Errorf("Retry-After %s, want about an hour", after)
	}
}
