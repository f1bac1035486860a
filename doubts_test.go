package keycycler

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// quotas is an upstream whose keys have spent their quotas, but for those that it is
// told of.
func quotas(good map[string]bool) *fakeUpstream {
	u := new(fakeUpstream)
	u.answer = func(n int, w http.ResponseWriter, _ *http.Request) error {
		if good[u.calls[n].key] {
			return fine.write(w)
		}
		return spent.write(w)
	}
	return u
}

func TestLongCooldownsAreDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, func(c *gatewayConfig) { c.Pool = freshPool("doubted") })
		good := map[string]bool{"sk-demo-2": true}
		u := quotas(good)
		started := time.Now()
		var tried []time.Duration // when the spent key was, after the first time
		for time.Since(started) < 20*time.Hour {
			before := len(u.keys())
			w, err := serve(h, u, post("x"))
			if err != nil || w.Code != http.StatusOK {
				t.Fatalf("after %s: %d, %v", time.Since(started), w.Code, err)
			}
			if slices.Contains(u.keys()[before:], "sk-demo-1") {
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
		h := provision(t, 2, func(c *gatewayConfig) { c.Pool = "restored" })
		good := map[string]bool{"sk-demo-2": true}
		u := quotas(good)
		for h.roster.Load().pool.Census(time.Now()).Ready == 2 {
			serve(h, u, post("x"))
		}
		good["sk-demo-1"] = true
		time.Sleep(17 * time.Minute)
		serve(h, u, post("x"))
		if keys := u.keys(); keys[len(keys)-1] != "sk-demo-1" {
			t.Error("the key was not doubted to be spent")
		}
		if c := h.roster.Load().pool.Census(time.Now()); c.Ready != 2 {
			t.Errorf("%s", reasonCounts(c))
		}
		if _, due := h.doubts.take(time.Now().Add(1000*time.Hour), ""); due || len(h.doubts.of) > 0 {
			t.Error("there is a doubt left")
		}
	})
}

func TestWhatIsNotDoubted(t *testing.T) {
	for _, row := range []struct {
		sentence string
		answer   reply
		change   func(c *gatewayConfig)
		verb     string
	}{
		{"a short cooldown", limited, nil, ""},
		{"a key that an operator has disabled since", spent, nil, "disable"},
		{"a key that an operator has cleared since", spent, nil, "clear"},
		{"where there is one attempt only", spent, func(c *gatewayConfig) { c.MaxAttempts = 1 }, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, func(c *gatewayConfig) {
				c.Pool = "not-doubted"
				if row.change != nil {
					row.change(c)
				}
			})
			first := script(row.answer, fine)
			serve(h, first, post("x"))
			if row.verb != "" {
				askFor[keyStatus](t, "POST", "/keycycler/pools/not-doubted/keys/"+idOf(first.keys()[0])+"/"+row.verb, "")
			}
			time.Sleep(20 * time.Second)
			if _, due := h.doubts.take(time.Now(), ""); due {
				t.Errorf("%s: doubted at once", row.sentence)
			}
			time.Sleep(17 * time.Minute)
			u := script(fine)
			serve(h, u, post("x"))
			if row.answer.body == spent.body && row.verb != "clear" && u.keys()[0] == first.keys()[0] {
				t.Errorf("%s: the key was used", row.sentence)
			}
			time.Sleep(1000 * time.Hour)
			serve(h, u, post("x"))
			for of := range h.doubts.of {
				h.doubts.forget(of)
			}
		})
	}
}

// The model's cooldown is doubted by a request of that model.
func TestAScopeIsDoubted(t *testing.T) {
	daily := reply{status: 429, header: map[string]string{"Retry-After": "80000"}, body: limited.body}
	synctest.Test(t, func(t *testing.T) {
		h := byModel(t, 2)
		first := script(daily, fine)
		serve(h, first, asking("gpt-a"))
		time.Sleep(17 * time.Minute)
		for _, model := range []string{"gpt-b", "gpt-a"} {
			for range 3 {
				u := script(fine)
				serve(h, u, asking(model))
				time.Sleep(2 * time.Second)
			}
			pool := h.roster.Load().pool
			if c := pool.CensusIn(time.Now(), "gpt-a"); (c.Ready == 2) != (model == "gpt-a") {
				t.Errorf("after requests of %s: %s", model, reasonCounts(c))
			}
		}
	})
}

// A doubt that told nothing comes again soon, and one that met a short limit later.
func TestNoDoubtIsLost(t *testing.T) {
	gone := func(cancel context.CancelFunc) *fakeUpstream {
		return &fakeUpstream{answer: func(int, http.ResponseWriter, *http.Request) error {
			cancel()
			return context.Canceled
		}}
	}
	for _, row := range []struct {
		sentence string
		answer   reply
		again    time.Duration // at the latest
	}{
		{"a 5xx", reply{status: 500, body: "broken"}, 2 * time.Minute},
		{"an error of the proxy's", reply{err: errors.New("reset")}, 2 * time.Minute},
		{"an answer that breaks off", reply{panics: http.ErrAbortHandler}, 2 * time.Minute},
		{"a client that left", reply{}, 2 * time.Minute},
		{"a short limit", limited, 35 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 2, func(c *gatewayConfig) { c.Pool = "no-doubt-is-lost" })
			h.guard.off = true
			first := script(spent, fine)
			serve(h, first, post("x"))
			time.Sleep(17 * time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			u := script(row.answer, fine)
			if row.sentence == "a client that left" {
				u = gone(cancel)
			}
			func() {
				defer func() { _ = recover() }() // as net/http does
				_, _ = serve(h, u, post("x").WithContext(ctx))
			}()
			if u.keys()[0] != first.keys()[0] {
				t.Fatalf("%s: the key was not doubted", row.sentence)
			}
			time.Sleep(row.again)
			u = script(fine)
			if serve(h, u, post("x")); u.keys()[0] != first.keys()[0] {
				t.Errorf("%s: the key was not doubted again", row.sentence)
			}
		})
	}
}

// Pools of one name do not end each other's doubts.
func TestAnotherPoolOfTheNameLeavesADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		named := func(c *gatewayConfig) { c.Pool = "twice-named" }
		h := provision(t, 2, named)
		other := provision(t, 0, func(c *gatewayConfig) {
			named(c)
			(*c.Keys.groups)[0].texts = []string{"sk-demo-other-1", "sk-demo-other-2"}
		})
		first := script(spent, fine)
		serve(h, first, post("x"))
		time.Sleep(17 * time.Minute)
		serve(other, script(fine), post("x"))
		time.Sleep(2 * time.Second)
		u := script(fine)
		if serve(h, u, post("x")); u.keys()[0] != first.keys()[0] {
			t.Error("the key was not doubted")
		}
	})
}
