package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
)

// quotas is an upstream whose keys have spent their quotas, but for those that it is
// told of.
func quotas(good map[string]bool) *testkit.Upstream {
	u := new(testkit.Upstream)
	u.Answer = func(n int, w http.ResponseWriter, _ *http.Request) error {
		if good[u.Calls[n].Key] {
			return testkit.Fine.Write(w)
		}
		return testkit.Spent.Write(w)
	}
	return u
}

func TestLongCooldownsAreDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, func(c *Config) { c.Pool = testkit.FreshPool("doubted") })
		good := map[string]bool{"sk-demo-2": true}
		u := quotas(good)
		started := time.Now()
		var tried []time.Duration // when the spent key was, after the first time
		for time.Since(started) < 20*time.Hour {
			before := len(u.Keys())
			w, err := testkit.Serve(h, u, testkit.Post("x"))
			if err != nil || w.Code != http.StatusOK {
				t.Fatalf("after %s: %d, %v", time.Since(started), w.Code, err)
			}
			if slices.Contains(u.Keys()[before:], "sk-demo-1") {
				tried = append(tried, time.Since(started).Round(time.Minute))
			}
			time.Sleep(10 * time.Second)
		}
		// Each distance is twice the one before, and up to a tenth more.
		want := []int{0, 15, 45, 105, 225, 465, 945} // minutes
		if len(tried) < 6 || len(tried) > len(want) {
			t.Fatalf("the spent key was tried at %v", tried)
		}
		for i, at := range tried[1:] {
			if least := time.Duration(want[i+1]) * time.Minute; at < least-time.Minute || at > least*11/10+time.Minute {
				t.Errorf("the spent key was tried at %v", tried)
			}
		}
	})
}

func TestARestoredQuotaIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, func(c *Config) { c.Pool = "restored" })
		good := map[string]bool{"sk-demo-2": true}
		u := quotas(good)
		for h.roster.Load().Pool.Census(time.Now()).Ready == 2 {
			testkit.Serve(h, u, testkit.Post("x"))
		}
		good["sk-demo-1"] = true
		time.Sleep(17 * time.Minute)
		testkit.Serve(h, u, testkit.Post("x"))
		if keys := u.Keys(); keys[len(keys)-1] != "sk-demo-1" {
			t.Error("the key was not doubted to be spent")
		}
		if c := h.roster.Load().Pool.Census(time.Now()); c.Ready != 2 {
			t.Errorf("%s", testkit.ReasonCounts(c))
		}
		if _, due := h.doubts.Take(time.Now().Add(1000*time.Hour), ""); due || len(h.doubts.Of) > 0 {
			t.Error("there is a doubt left")
		}
	})
}

func TestWhatIsNotDoubted(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		change   func(c *Config)
		verb     string
	}{
		{"a short cooldown", testkit.Limited, nil, ""},
		{"a key that an operator has disabled since", testkit.Spent, nil, "disable"},
		{"a key that an operator has cleared since", testkit.Spent, nil, "clear"},
		{"where there is one attempt only", testkit.Spent, func(c *Config) { c.MaxAttempts = 1 }, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, func(c *Config) {
				c.Pool = "not-doubted"
				if row.change != nil {
					row.change(c)
				}
			})
			first := testkit.Script(row.answer, testkit.Fine)
			testkit.Serve(h, first, testkit.Post("x"))
			if row.verb != "" {
				adminapi.AskFor[observe.KeyStatus](t, "POST", "/keycycler/pools/not-doubted/keys/"+testkit.IDOf(first.Keys()[0])+"/"+row.verb, "")
			}
			time.Sleep(20 * time.Second)
			if _, due := h.doubts.Take(time.Now(), ""); due {
				t.Errorf("%s: doubted at once", row.sentence)
			}
			time.Sleep(17 * time.Minute)
			u := testkit.Script(testkit.Fine)
			testkit.Serve(h, u, testkit.Post("x"))
			if row.answer.Body == testkit.Spent.Body && row.verb != "clear" && u.Keys()[0] == first.Keys()[0] {
				t.Errorf("%s: the key was used", row.sentence)
			}
			time.Sleep(1000 * time.Hour)
			testkit.Serve(h, u, testkit.Post("x"))
			for of := range h.doubts.Of {
				h.doubts.Forget(of)
			}
		})
	}
}

// The model's cooldown is doubted by a request of that model.
func TestAScopeIsDoubted(t *testing.T) {
	daily := testkit.Reply{Status: 429, Header: map[string]string{"Retry-After": "80000"}, Body: testkit.Limited.Body}
	synctest.Test(t, func(t *testing.T) {
		h := byModel(t, 2)
		first := testkit.Script(daily, testkit.Fine)
		testkit.Serve(h, first, asking("gpt-a"))
		time.Sleep(17 * time.Minute)
		for _, model := range []string{"gpt-b", "gpt-a"} {
			for range 3 {
				u := testkit.Script(testkit.Fine)
				testkit.Serve(h, u, asking(model))
				time.Sleep(2 * time.Second)
			}
			pool := h.roster.Load().Pool
			if c := pool.CensusIn(time.Now(), "gpt-a"); (c.Ready == 2) != (model == "gpt-a") {
				t.Errorf("after requests of %s: %s", model, testkit.ReasonCounts(c))
			}
		}
	})
}

// A doubt that told nothing comes again soon, and one that met a short limit later.
func TestNoDoubtIsLost(t *testing.T) {
	gone := func(cancel context.CancelFunc) *testkit.Upstream {
		return &testkit.Upstream{Answer: func(int, http.ResponseWriter, *http.Request) error {
			cancel()
			return context.Canceled
		}}
	}
	for _, row := range []struct {
		sentence string
		answer   testkit.Reply
		again    time.Duration // at the latest
	}{
		{"a 5xx", testkit.Reply{Status: 500, Body: "broken"}, 2 * time.Minute},
		{"an error of the proxy's", testkit.Reply{Err: errors.New("reset")}, 2 * time.Minute},
		{"an answer that breaks off", testkit.Reply{Panics: http.ErrAbortHandler}, 2 * time.Minute},
		{"a client that left", testkit.Reply{}, 2 * time.Minute},
		{"a short limit", testkit.Limited, 35 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, func(c *Config) { c.Pool = "no-doubt-is-lost" })
			h.guard.Off = true
			first := testkit.Script(testkit.Spent, testkit.Fine)
			testkit.Serve(h, first, testkit.Post("x"))
			time.Sleep(17 * time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			u := testkit.Script(row.answer, testkit.Fine)
			if row.sentence == "a client that left" {
				u = gone(cancel)
			}
			func() {
				defer func() { _ = recover() }() // as net/http does
				_, _ = testkit.Serve(h, u, testkit.Post("x").WithContext(ctx))
			}()
			if u.Keys()[0] != first.Keys()[0] {
				t.Fatalf("%s: the key was not doubted", row.sentence)
			}
			time.Sleep(row.again)
			u = testkit.Script(testkit.Fine)
			if testkit.Serve(h, u, testkit.Post("x")); u.Keys()[0] != first.Keys()[0] {
				t.Errorf("%s: the key was not doubted again", row.sentence)
			}
		})
	}
}

// Pools of one name do not end each other's doubts.
func TestAnotherPoolOfTheNameLeavesADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		named := func(c *Config) { c.Pool = "twice-named" }
		h := provision(t, 2, named)
		other := provision(t, 0, func(c *Config) {
			named(c)
			(*c.Keys.Groups)[0].Texts = []string{"sk-demo-other-1", "sk-demo-other-2"}
		})
		first := testkit.Script(testkit.Spent, testkit.Fine)
		testkit.Serve(h, first, testkit.Post("x"))
		time.Sleep(17 * time.Minute)
		testkit.Serve(other, testkit.Script(testkit.Fine), testkit.Post("x"))
		time.Sleep(2 * time.Second)
		u := testkit.Script(testkit.Fine)
		if testkit.Serve(h, u, testkit.Post("x")); u.Keys()[0] != first.Keys()[0] {
			t.Error("the key was not doubted")
		}
	})
}
