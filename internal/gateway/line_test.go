package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/quota"
	"github.com/keycycler/keycycler/internal/testkit"
)

// sharing returns a pool of n keys, each for one request at a time, in whose line clients
// wait: batch, chat, and those without a token's name.
func sharing(t *testing.T, n int, configure func(*Config)) *Gateway {
	return patient(t, n, time.Hour, func(c *Config) {
		c.Limit = limitOf(1, 0, 0)
		c.Tokens = &client.Source{From: &keyset.Inputs{Texts: []string{"batch:" + tokenOf("batch"), "chat:" + tokenOf("chat")}}, Log: c.Logger}
		if configure != nil {
			configure(c)
		}
	})
}

func tokenOf(name string) string { return "demo-token-of-" + name + "-0123" }

// asked is a request of the client's.
func asked(name string) *http.Request {
	r := testkit.Post("x")
	r.Header.Set("Authorization", "Bearer "+tokenOf(name))
	return r
}

// One client sends a batch of 500 at once, another one a request each second, of a fifth of
// what the keys serve: that has about its turn each time, and not after the batch.
func TestABatchStarvesNoChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, batch, chats = 5, 500, 60
		h := sharing(t, keys, nil)
		r := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			mu.Lock()
			takes := time.Duration(500+r.IntN(1000)) * time.Millisecond
			mu.Unlock()
			time.Sleep(takes)
			return testkit.Fine.Write(w)
		})
		began, waited := time.Now(), make(chan time.Duration, batch+chats)
		var done sync.WaitGroup
		ask := func(name string, told chan<- time.Duration) {
			sent := time.Now()
			w, err := testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				told <- time.Since(sent)
				return next(w, r)
			}), asked(name))
			if err != nil || w.Code != http.StatusOK {
				t.Errorf("%s got %d, %v", name, w.Code, err)
			}
		}
		for range batch {
			done.Go(func() { ask("batch", make(chan time.Duration, 1)) })
		}
		for range chats {
			time.Sleep(time.Second)
			done.Go(func() { ask("chat", waited) })
		}
		done.Wait()
		took := time.Since(began)
		close(waited)
		var most, sum time.Duration
		for d := range waited {
			most, sum = max(most, d), sum+d
		}
		t.Logf("the chat waited for %s, at most %s, while keys came back every %s; the batch took %s", sum/chats, most, time.Second/keys, took)
		if most > 1500*time.Millisecond || sum/chats > 500*time.Millisecond {
			t.Error("the chat did not have its turn")
		}
		if took > (batch+chats+25)*time.Second/keys {
			t.Error("keys were idle while somebody waited")
		}
	})
}

// weigh gives clients their weights, by the names of their tokens.
func weigh(h *Gateway, by map[string]int) {
	named := make(map[string]*quota.Terms)
	for name, weight := range by {
		named[name] = &quota.Terms{Weight: weight}
	}
	h.Desk = client.NewDesk(h.Pool, quota.NewPlan(named, nil), client.UserPlaceholder)
}

// Clients that wait have turns in proportion to what they weigh, and each client's requests
// are served in the order in which they came.
func TestClientsHaveTurnsByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := sharing(t, 1, nil)
		weigh(h, map[string]int{"batch": 3})
		var order []string // of a key that serves one at a time
		var done sync.WaitGroup
		for i := range 60 {
			for _, name := range []string{"chat", "batch"} {
				done.Go(func() {
					testkit.Serve(h, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
						order = append(order, fmt.Sprint(name, " ", i))
						time.Sleep(time.Second)
						return testkit.Fine.Write(w)
					}), asked(name))
				})
				synctest.Wait()
			}
		}
		done.Wait()
		next := map[string]int{}
		for turn, who := range order {
			name, _, _ := strings.Cut(who, " ")
			if want := fmt.Sprint(name, " ", next[name]); who != want {
				t.Fatalf("%s was served before %s", who, want)
			}
			next[name]++
			if share := float64(turn+1) * 3 / 4; next["chat"] < 60 && next["batch"] < 60 && (float64(next["batch"]) < share-2 || float64(next["batch"]) > share+2) {
				t.Errorf("of %d turns who weighs 3 had %d", turn+1, next["batch"])
			}
		}
	})
}

// A batch that fills the room makes some for others. What has made room is answered like what
// came to a full one.
func TestABatchMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := sharing(t, 1, func(c *Config) { c.Pool, c.MaxWaiting = testkit.FreshPool("room-test"), 10 })
		registry := prometheus.NewRegistry()
		if _, err := observe.NewMetrics(registry, h.seen); err != nil {
			t.Fatal(err)
		}
		coolAll(h, time.Minute, 0)
		var mu sync.Mutex
		got := make(map[string]int)
		var done sync.WaitGroup
		ask := func(name string) {
			done.Go(func() {
				w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), asked(name))
				mu.Lock()
				defer mu.Unlock()
				got[fmt.Sprint(name, " ", w.Code)]++
			})
			synctest.Wait()
		}
		count := func(what string) int {
			mu.Lock()
			defer mu.Unlock()
			return got[what]
		}
		began := time.Now()
		for range 12 {
			ask("batch")
		}
		if n := count("batch 429"); n != 2 || h.room.Waiting() != 10 {
			t.Errorf("%d of 12 were too many, and %d wait", n, h.room.Waiting())
		}
		for i := range 7 {
			ask("chat")
			if full, sent := count("chat 429"), count("batch 429")-2; full != max(0, i-4) || sent != min(i+1, 5) || h.room.Waiting() != 10 {
				t.Errorf("after %d others %d of them were too many, %d have made room, %d wait", i+1, full, sent, h.room.Waiting())
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("it took %s to be told", time.Since(began))
		}
		if n := gather(t, registry)[fmt.Sprintf("caddy_keycycler_waits_total{outcome=%q,pool=%q}", waitFull, h.Pool)]; n != 9 {
			t.Errorf("%v were counted as too many, want 9", n)
		}
		done.Wait()
		if count("batch 200") != 5 || count("chat 200") != 5 {
			t.Errorf("clients got %v", got)
		}
	})
}
