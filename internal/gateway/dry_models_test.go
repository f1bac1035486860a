package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// loggedPool is a gateway of n keys whose rate limits are their models', and what it logs.
type loggedPool struct {
	*Gateway
	t   *testing.T
	log *observer.ObservedLogs
}

func logged(t *testing.T, n int, configure func(*Config)) loggedPool {
	core, log := observer.New(zap.InfoLevel)
	h := provision(t, n, func(c *Config) {
		c.Pool, c.ByModel, c.Logger = "models-test", true, zap.New(core)
		if configure != nil {
			configure(c)
		}
	})
	log.TakeAll()
	return loggedPool{h, t, log}
}

// cool makes all keys cool for the model.
func (h loggedPool) cool(model string, d time.Duration) {
	pool := h.KeyPool()
	for s := range rotator.Slot(pool.Len()) {
		pool.Cool(time.Now(), s, rotator.Cooldown{For: d, Scope: model, Reason: rotator.Reason(ttl.RateLimited), Source: "retry-after"})
	}
}

// ask sends requests for the model that get this status.
func (h loggedPool) ask(model string, requests, status int) {
	h.t.Helper()
	for range requests {
		if w, err := testkit.Serve(h, testkit.Script(testkit.Fine), asking(model)); err != nil || w.Code != status {
			h.t.Errorf("a request for %s got %d, %v", model, w.Code, err)
		}
	}
}

// lines returns what was logged since it was last called.
func (h loggedPool) lines() (lines []string) {
	for _, e := range h.log.TakeAll() {
		f := e.ContextMap()
		line := fmt.Sprintf("%s %s: %s", e.Level, f["model"], e.Message)
		if f["class"] != nil {
			line += fmt.Sprintf(" (%v keys, %v, %v s)", f["keys"], f["class"], f["seconds"])
		}
		lines = append(lines, line)
	}
	return lines
}

func (h loggedPool) want(sentence string, want ...string) {
	h.t.Helper()
	if got := h.lines(); !slices.Equal(got, want) {
		h.t.Errorf("%s: logged %q, want %q", sentence, got, want)
	}
}

// One line when no key can serve a model, and one when one can again, however many
// requests meet it.
func TestTheLogTellsOfAModelOnce(t *testing.T) {
	out := func(model string, seconds int) string {
		return fmt.Sprintf("warn %s: no key is ready for the model (2 keys, rate_limited, %d s)", model, seconds)
	}
	back := func(model string) string { return "info " + model + ": keys are ready again for the model" }
	synctest.Test(t, func(t *testing.T) {
		h := logged(t, 2, nil)
		h.cool("gpt-a", time.Minute)
		h.ask("gpt-a", 20, http.StatusTooManyRequests)
		h.want("many requests for one model", out("gpt-a", 60))
		h.cool("gpt-b", 2*time.Minute)
		h.ask("gpt-c", 3, http.StatusOK)
		h.want("requests for a model that has keys")
		h.ask("gpt-b", 20, http.StatusTooManyRequests)
		h.ask("gpt-a", 20, http.StatusTooManyRequests)
		h.want("another model", out("gpt-b", 120))
		time.Sleep(time.Minute)
		h.ask("gpt-a", 20, http.StatusOK)
		h.want("the first has keys again", back("gpt-a"))
		h.ask("gpt-b", 5, http.StatusTooManyRequests)
		h.want("the other has not")
		time.Sleep(time.Minute)
		h.cool("gpt-a", time.Minute)
		h.ask("gpt-a", 20, http.StatusTooManyRequests)
		h.want("the first is out anew, and nobody has asked for the other since it has keys", out("gpt-a", 60), back("gpt-b"))
		h.KeyPool().Clear(time.Now(), 0)
		h.ask("gpt-a", 5, http.StatusOK)
		h.want("an operator has cleared a key", back("gpt-a"))
	})
}

func TestManyRequestsAtOnceAreToldOnce(t *testing.T) {
	h := logged(t, 3, nil)
	for round := range 20 {
		h.cool("gpt-a", time.Hour)
		for _, status := range []int{http.StatusTooManyRequests, http.StatusOK} {
			var asking sync.WaitGroup
			for range 20 {
				asking.Go(func() { h.ask("gpt-a", 1, status) })
			}
			asking.Wait()
			if lines := h.lines(); len(lines) != 1 {
				t.Errorf("round %d, %d: logged %q", round, status, lines)
			}
			for s := range rotator.Slot(3) {
				h.KeyPool().Clear(time.Now(), s)
			}
		}
	}
}

// However many names clients invent, there is an end to what is told and remembered.
func TestInventedModelsAreToldOnce(t *testing.T) {
	h := logged(t, 1, nil)
	const names = 3 * rotator.MaxScopes
	for i := range names {
		h.cool(fmt.Sprint("model-", i), time.Hour)
	}
	for i := range names {
		h.ask(fmt.Sprint("model-", i), 2, http.StatusTooManyRequests)
	}
	if lines := h.lines(); len(lines) != rotator.MaxScopes+1 {
		t.Errorf("%d lines", len(lines))
	}
	if n := len(h.dryModels.names()); n != rotator.MaxScopes+1 {
		t.Errorf("%d models are remembered", n)
	}
	h.KeyPool().Clear(time.Now(), 0)
	h.ask(fmt.Sprint("model-", names-1), 1, http.StatusOK)
	if lines := h.lines(); len(lines) != rotator.MaxScopes+1 || len(h.dryModels.names()) != 0 {
		t.Errorf("after a clearing %d lines, and %d models are remembered", len(lines), len(h.dryModels.names()))
	}
}

// A key at the config's limit comes and goes: that is no change of the model's.
func TestAModelAtTheLimitIsNotOut(t *testing.T) {
	h := logged(t, 2, func(c *Config) { c.Limit = limitOf(1, 0, 0) })
	pool := h.KeyPool()
	pool.Cool(time.Now(), 0, rotator.Cooldown{For: time.Hour, Scope: "gpt-a", Reason: rotator.Reason(ttl.RateLimited)})
	pool.Take(time.Now(), rotator.Want{Among: []rotator.Slot{1}})
	h.ask("gpt-a", 1, http.StatusTooManyRequests)
	h.want("a request", "warn gpt-a: no key is ready: some are at their limit (2 keys, rate_limited, 1 s)")
	if n := len(h.dryModels.names()); n != 0 {
		t.Errorf("%d models count as out", n)
	}
	pool.End(1)
	h.ask("gpt-a", 1, http.StatusOK)
	h.want("when a request has ended")
}

func TestTheMetricCountsModelsThatAreOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := logged(t, 3, nil)
		registry := prometheus.NewRegistry()
		if _, err := observe.NewMetrics(registry, h.seen); err != nil {
			t.Fatal(err)
		}
		want := func(sentence string, n float64) {
			t.Helper()
			if got, ok := gather(t, registry)[`caddy_keycycler_models_exhausted{pool="models-test"}`]; !ok || got != n {
				t.Errorf("%s: %v, %t, want %v", sentence, got, ok, n)
			}
		}
		want("at first", 0)
		h.cool("gpt-a", time.Minute)
		h.cool("gpt-b", 2*time.Minute)
		want("two are out, and nobody has asked for them", 2)
		time.Sleep(time.Minute)
		want("one is", 1)
		h.KeyPool().Cool(time.Now(), 0, rotator.Cooldown{For: time.Second})
		want("a key cools for all", 1)
		h.cool("", time.Second)
		want("all do: the pool is out", 0)
		time.Sleep(time.Minute)
		want("all is over", 0)
	})
}
