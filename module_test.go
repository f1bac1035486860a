package keycycler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/backend"
	"github.com/keycycler/keycycler/internal/testkit"
)

// config is a handler in a Caddy config of its own.
type config struct {
	*Handler
	unload func() // what Caddy does when the config goes
}

func loadConfig(t *testing.T, h *Handler) config {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	if err := h.Provision(ctx); err != nil {
		cancel()
		t.Fatal(err)
	}
	return config{h, func() {
		if err := h.Cleanup(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		cancel()
	}}
}

func TestStateOutlivesAReloadAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if n := backend.Users(); n != 0 {
			t.Fatalf("%d configs of other tests are left", n)
		}
		ready := func(c config) int { return c.gateway.KeyPool().Census(time.Now()).Ready }
		first := loadConfig(t, &Handler{Keys: testkit.DemoKeys(3)})
		if w, err := testkit.Serve(first.Handler, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post("x")); err != nil || w.Code != 200 {
			t.Fatal(w.Code, err)
		}
		if n := ready(first); n != 2 {
			t.Fatalf("%d keys are ready, want 2", n)
		}

		second := loadConfig(t, &Handler{Keys: testkit.DemoKeys(4)})
		first.unload()
		if n := ready(second); n != 3 {
			t.Errorf("after a reload %d of 4 keys are ready, want 3", n)
		}
		// A request that is still under way in the old config is heard in the new.
		if w, err := testkit.Serve(first.Handler, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post("x")); err != nil || w.Code != 200 {
			t.Fatal(w.Code, err)
		}
		if n := ready(second); n != 2 {
			t.Errorf("after the old config's last request %d of 4 keys are ready, want 2", n)
		}
		second.unload()

		if n := backend.Users(); n != 0 {
			t.Errorf("%d configs hold the state, and there is none", n)
		}
		third := loadConfig(t, &Handler{Keys: testkit.DemoKeys(3)})
		defer third.unload()
		if n := ready(third); n != 3 {
			t.Errorf("in a new life %d of 3 keys are ready", n)
		}
	})
}

func TestPoolsShareWhatIsKnownAboutAKey(t *testing.T) {
	a := provisionHandler(t, 2, func(h *Handler) { h.Pool = "a" })
	b := provisionHandler(t, 3, func(h *Handler) { h.Pool, h.Provider = "b", "generic" })
	if w, err := testkit.Serve(a, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post("x")); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	if c := b.gateway.KeyPool().Census(time.Now()); c.Ready != 2 {
		t.Errorf("%d of 3 keys are ready in the other pool, want 2", c.Ready)
	}
}

// failingState is a backend that cannot be used. Its name has a dot, so that errors
// do not list it.
type failingState struct{}

func (failingState) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.keycycler.state.test.failing", New: func() caddy.Module { return new(failingState) }}
}

func (*failingState) Provision(caddy.Context) error { return errors.New("out of order") }

// noState is a module that is no backend.
type noState struct{}

func (noState) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.keycycler.state.test.none", New: func() caddy.Module { return new(noState) }}
}

func init() {
	caddy.RegisterModule(failingState{})
	caddy.RegisterModule(noState{})
}

func TestCleanupAfterAFailedProvision(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler *Handler
		err     string
	}{
		{"an option that is out of range", &Handler{Keys: testkit.DemoKeys(1), MaxAttempts: -1}, "max_attempts: -1 is out of range: 1 to 1000"},
		{"no keys", &Handler{}, "no keys: set keys or keys_file"},
		{"a state that fails", &Handler{Keys: testkit.DemoKeys(1), StateRaw: []byte(`{"backend":"test.failing"}`)},
			"state: loading module 'test.failing': provision http.keycycler.state.test.failing: out of order"},
		{"a state that is none", &Handler{Keys: testkit.DemoKeys(1), StateRaw: []byte(`{"backend":"test.none"}`)},
			"state: module *keycycler.noState is no state backend"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
			if err := test.handler.Provision(ctx); testkit.Message(err) != test.err {
				t.Errorf("error %v, want %s", err, test.err)
			}
			if err := test.handler.Validate(); err == nil {
				t.Error("a handler that was not provisioned is valid")
			}
			for range 2 {
				if err := test.handler.Cleanup(); err != nil {
					t.Errorf("cleanup: %v", err)
				}
			}
			cancel()
			if n := backend.Users(); n != 0 {
				t.Errorf("%d configs hold the state", n)
			}
		})
	}
}

func TestCleanupTakesNothingFromOthers(t *testing.T) {
	staying := provisionHandler(t, 2, nil)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	going := &Handler{Keys: testkit.DemoKeys(2)}
	if err := going.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := going.Cleanup(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
	}
	if w, err := testkit.Serve(staying, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post("x")); err != nil || w.Code != 200 {
		t.Errorf("client got %d, %v", w.Code, err)
	}
	if c := staying.gateway.KeyPool().Census(time.Now()); c.Ready != 1 {
		t.Errorf("%d of 2 keys are ready, want 1", c.Ready)
	}
}

func TestReloadsLeaveNoGoroutines(t *testing.T) {
	// The bubble ends with an error if a goroutine is left in it.
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		current := loadConfig(t, &Handler{Keys: testkit.DemoKeys(5)})
		for range 50 {
			next := loadConfig(t, &Handler{Keys: testkit.DemoKeys(5)})
			current.unload()
			current = next
			if w, err := testkit.Serve(current.Handler, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post("x")); err != nil || w.Code != http.StatusOK {
				t.Fatal(w.Code, err)
			}
			time.Sleep(time.Hour)
		}
		current.unload()
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before {
			t.Errorf("%d goroutines, %d before", after, before)
		}
	})
	if n := backend.Users(); n != 0 {
		t.Errorf("%d configs hold the state", n)
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	h := provisionHandler(t, 1, nil)
	got := fmt.Sprint(h.Pool, h.Provider, h.MaxAttempts, time.Duration(h.TryDuration), h.gateway.Memory, h.gateway.Total, h.gateway.Disk)
	if want := fmt.Sprint("default", "openai", 15, time.Duration(0), 16<<20, 256<<20, 64<<20); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if mod := new(Handler).CaddyModule(); mod.ID != "http.handlers.keycycler" || mod.New() == nil {
		t.Errorf("module %v", mod)
	}
}

// provisionHandler returns a handler with n demo keys, cleaned up when the test ends.
func provisionHandler(t testing.TB, n int, configure func(*Handler)) *Handler {
	t.Helper()
	h := &Handler{Keys: testkit.DemoKeys(n)}
	if configure != nil {
		configure(h)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	if err := h.Provision(ctx); err != nil {
		cancel()
		t.Fatalf("provision: %v", err)
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		cancel() // cleans up the state module
	})
	if err := h.Validate(); err != nil {
		t.Fatalf("validate: %v", err)
	}
	return h
}

// What operators write about the draw reaches the gateway.
func TestSelectReachesTheGateway(t *testing.T) {
	const keys, rounds = 5, 8
	for name, row := range map[string]struct {
		choice *Select
		even   bool
	}{
		"nothing":         {nil, true},
		"even":            {&Select{Policy: "even"}, true},
		"random":          {&Select{Policy: "random"}, false},
		"a hash of none":  {&Select{Policy: "hash", Value: "{http.request.header.X-None}"}, true},
		"no conversation": {&Select{Policy: "session"}, true},
		"first":           {&Select{Policy: "first"}, false},
		"an empty policy": {&Select{}, true},
	} {
		h := provisionHandler(t, keys, func(h *Handler) { h.Select = row.choice })
		u := testkit.Script(testkit.Fine)
		for range keys * rounds {
			testkit.Serve(h, u, testkit.Post("x"))
		}
		even := true
		for used := range slices.Chunk(u.Keys(), keys) {
			slices.Sort(used)
			even = even && len(slices.Compact(used)) == keys
		}
		if even != row.even {
			t.Errorf("%s: keys take turns: %t", name, even)
		}
	}
}

// first uses the first key of the config, session one key for each conversation.
func TestSelectOfOneKey(t *testing.T) {
	for policy, most := range map[string]int{"first": 1, "session": 20} {
		h := provisionHandler(t, 20, func(h *Handler) { h.Select = &Select{Policy: policy} })
		used := make(map[string]bool)
		for i := range 100 {
			r, u := testkit.Post("x"), testkit.Script(testkit.Fine)
			r.Header.Set("X-Session-Id", string('a'+rune(i/5)))
			testkit.Serve(h, u, r)
			if used[u.Keys()[0]] = true; policy == "first" && u.Keys()[0] != testkit.DemoKeys(1)[0] {
				t.Errorf("%s: request %d went out with %v", policy, i, u.Keys())
			}
		}
		if len(used) > most || policy == "session" && len(used) < 6 {
			t.Errorf("%s: 20 conversations used %d keys", policy, len(used))
		}
	}
}

// With probe off a refusal cools its key at once, though nothing proves that it is the
// key's fault; without, the next request asks again.
func TestProbeReachesTheGateway(t *testing.T) {
	for _, row := range []struct {
		cooldown *Cooldown
		calls    int
	}{{nil, 3}, {&Cooldown{}, 3}, {&Cooldown{Probe: new(true)}, 3}, {&Cooldown{Probe: new(false)}, 1}} {
		h := provisionHandler(t, 1, func(h *Handler) { h.Cooldown = row.cooldown })
		u := testkit.Script(testkit.BadKey)
		for range 3 {
			testkit.Serve(h, u, testkit.Post("x"))
		}
		if got := len(u.Keys()); got != row.calls {
			t.Errorf("%+v: %d calls, want %d", row.cooldown, got, row.calls)
		}
	}
}
