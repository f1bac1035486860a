package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

const refusedAtOne = "keys are refused at one address of reverse_proxy and serve at another: give each key its upstream"

// proxy is a next handler that does as reverse_proxy does which has several addresses: it
// takes turns, and says where it goes. Each address takes the keys that it knows.
type proxy struct {
	mu    sync.Mutex
	turn  int
	knows []string       // address → the end of the keys that it takes; "": all but sk-demo-1
	sees  map[string]int // key → calls

	refused int        // calls
	random  *rand.Rand // nil: it takes turns
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	p.mu.Lock()
	address := p.turn % len(p.knows)
	if p.turn++; p.random != nil {
		address = p.random.IntN(len(p.knows))
	}
	key := r.Header.Get("Authorization")
	p.sees[key]++
	p.mu.Unlock()
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Set("http.reverse_proxy.upstream.address", fmt.Sprintf("10.0.0.%d:443", address))
	good := p.knows[address] != "" && strings.HasSuffix(key, p.knows[address]) || p.knows[address] == "" && !strings.HasSuffix(key, "sk-demo-1")
	if good {
		return testkit.Fine.Write(w)
	}
	p.mu.Lock()
	p.refused++
	p.mu.Unlock()
	return testkit.BadKey.Write(w)
}

// disturb lets others use the proxy as well, before the i-th request: else its turns and
// those of the keys may go together for ever, or miss each other.
func (p *proxy) disturb(i int) {
	if i%7 == 0 {
		p.turn++
	}
}

// fromCaddy returns a request that has what Caddy's server gives it.
func fromCaddy(body string) *http.Request {
	r := testkit.Post(body)
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	return r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, make(map[string]any)))
}

// longestOut returns for how long the key that is out for longest still is.
func longestOut(pool *rotator.Pool) (longest time.Duration) {
	for s := range rotator.Slot(pool.Len()) {
		longest = max(longest, pool.Status(time.Now(), s).Left)
	}
	return longest
}

// watched lets the test see the gateway's log.
func watched(c *Config) *observer.ObservedLogs {
	core, logs := observer.New(zap.WarnLevel)
	c.Logger = zap.New(core)
	return logs
}

// Keys that were written without their addresses are each refused by all but one. That is
// not their fault: the log says so, once, and no key is out for a day.
func TestKeysThatBelongToOtherAddresses(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		for offset := range n {
			t.Run(fmt.Sprintf("%d keys, %d", n, offset), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var logs *observer.ObservedLogs
					h := provision(t, n, func(c *Config) { logs = watched(c) })
					next := &proxy{turn: offset, sees: make(map[string]int)}
					for i := range max(n, 2) {
						next.knows = append(next.knows, fmt.Sprint("sk-demo-", i+1))
					}
					served, worst := 0, time.Duration(0) // the worst: how long a key was out
					for i := range 400 {
						next.disturb(i)
						if w, err := testkit.Serve(h, next, fromCaddy("x")); err != nil {
							t.Fatal(err)
						} else if w.Code == 200 {
							served++
						}
						worst = max(worst, longestOut(h.KeyPool()))
						time.Sleep(time.Second)
					}
					if worst > 10*time.Minute {
						t.Errorf("a key was out for %s", worst)
					}
					if told := logs.FilterMessage(refusedAtOne).Len(); told != 1 || served == 0 || next.refused == 0 {
						t.Errorf("%d were served, %d calls refused; the log was told %d times: %v", served, next.refused, told, logs.All())
					}
				})
			})
		}
	}
}

// Where the address is drawn, a key may have been convicted before a second address was
// known. It is ready again with the next one.
func TestKeysThatBelongToAddressesThatAreDrawn(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			var logs *observer.ObservedLogs
			h := provision(t, 3, func(c *Config) { logs = watched(c) })
			next := &proxy{knows: testkit.DemoKeys(3), sees: make(map[string]int), random: rand.New(rand.NewPCG(seed, 0))}
			for i := range 400 {
				if _, err := testkit.Serve(h, next, fromCaddy("x")); err != nil {
					t.Fatal(err)
				}
				if out := longestOut(h.KeyPool()); i > 40 && out > 10*time.Minute {
					t.Fatalf("seed %d, request %d: a key is out for %s", seed, i, out)
				}
				time.Sleep(time.Second)
			}
			if told := logs.FilterMessage(refusedAtOne).Len(); told != 1 {
				t.Errorf("seed %d: the log was told %d times: %v", seed, told, logs.All())
			}
		})
	}
}

// A key that is revoked is convicted though the upstream has several addresses, and the log
// says nothing of them.
func TestARevokedKeyAtSeveralAddresses(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logs *observer.ObservedLogs
				h := provision(t, 5, func(c *Config) { logs = watched(c) })
				next := &proxy{knows: make([]string, n), sees: make(map[string]int)}
				for i := range 400 {
					next.disturb(i)
					if w, err := testkit.Serve(h, next, fromCaddy("x")); err != nil || w.Code != 200 {
						t.Fatalf("request %d: %d, %v", i, w.Code, err)
					}
					time.Sleep(time.Second)
				}
				if out := longestOut(h.KeyPool()); out < 23*time.Hour {
					t.Errorf("it is out for %s", out)
				}
				if calls := next.sees["Bearer sk-demo-1"]; calls > 12+patienceFor(n) {
					t.Errorf("it was asked %d times", calls)
				}
				if logs.FilterMessage(refusedAtOne).Len() > 0 {
					t.Errorf("the log was told: %v", logs.All())
				}
			})
		})
	}
}

// patienceFor is how often a revoked key may be asked, at the most, until it is convicted.
func patienceFor(addresses int) int { return 8 * addresses * min(addresses-1, 1) }

// Where each key has an upstream of its own, a key is only ever sent there: it is convicted
// as ever.
func TestKeysWithUpstreamsAreConvicted(t *testing.T) {
	h := provision(t, 2, func(c *Config) {
		groups := (*c.Keys.Groups)[:0:0]
		for i, key := range testkit.DemoKeys(2) {
			site := upstream.Site{Scheme: "https", Host: fmt.Sprint("host", i), Dial: fmt.Sprintf("10.0.0.%d:443", i)}
			groups = append(groups, keyset.Group{Rank: plainRank, Texts: []string{key}, Place: &keyset.Place{Site: site}})
		}
		c.Keys.Groups = &groups
	})
	next := &proxy{knows: []string{"sk-demo-2", "sk-demo-2"}, sees: make(map[string]int)}
	for range 4 {
		testkit.Serve(h, next, fromCaddy("x"))
	}
	if out := longestOut(h.KeyPool()); out < 23*time.Hour {
		t.Errorf("the revoked key is out for %s", out)
	}
}

// A keycycler behind another one works, and the outer one's keys are not blamed for what
// the inner one's are refused for.
func TestAKeycyclerBehindAnother(t *testing.T) {
	var outerLogs, innerLogs *observer.ObservedLogs
	outer := provision(t, 3, func(c *Config) { c.Pool = "outer"; outerLogs = watched(c) })
	inner := provision(t, 1, func(c *Config) {
		c.Pool = "inner"
		c.Keys = &keyset.Source{Groups: &[]keyset.Group{{Rank: plainRank, Texts: []string{"sk-inner-1"}}}, Log: zap.NewNop()}
		innerLogs = watched(c)
	})
	answers := []testkit.Reply{testkit.BadKey, used, testkit.Fine, testkit.Fine, testkit.Fine}
	up := testkit.Script(answers...)
	next := handlerFunc(func(w http.ResponseWriter, r *http.Request) error { return inner.ServeHTTP(w, r, up) })
	var codes []int
	for range 4 {
		w, err := testkit.Serve(outer, next, fromCaddy("x"))
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, w.Code)
	}
	if want := []int{401, 429, 429, 429}; !slices.Equal(codes, want) {
		t.Errorf("clients got %v, want %v", codes, want)
	}
	if keys := up.Keys(); !slices.Equal(keys, []string{"sk-inner-1", "sk-inner-1"}) {
		t.Errorf("%v went out", keys)
	}
	for s := range rotator.Slot(3) {
		if status := outer.KeyPool().Status(time.Now(), s); status.Left > 0 || status.Suspect != nil {
			t.Errorf("a key of the outer pool is blamed: %+v", status)
		}
	}
	told := innerLogs.FilterMessageSnippet("keycycler stands behind another keycycler").All()
	if len(told) != 1 || told[0].ContextMap()["other_pool"] != "outer" || outerLogs.Len() > 0 {
		t.Errorf("the log was told %v, %v", told, outerLogs.All())
	}
}

// Metrics and lists go by names: two providers under one are mixed up.
func TestPoolsOfOneNameAndTwoProviders(t *testing.T) {
	const clash = "pools of one name have different providers"
	name := testkit.FreshPool("clash")
	first := func(c *Config) { c.Pool = name }
	registry := configOf(t, 1).Registry
	same := func(c *Config) { c.Pool, c.Registry = name, registry }
	provision(t, 1, same)
	for _, test := range []struct {
		sentence  string
		configure func(*Config)
		told      int
	}{
		{"the same provider", same, 0},
		{"another name", func(c *Config) { same(c); c.Pool += "-2"; c.Provider = provider.Presets["azure"] }, 0},
		{"another config, as across a reload", func(c *Config) { first(c); c.Provider = provider.Presets["azure"] }, 0},
		{"another provider", func(c *Config) { same(c); c.Provider = provider.Presets["azure"] }, 1},
	} {
		var logs *observer.ObservedLogs
		provision(t, 1, func(c *Config) { test.configure(c); logs = watched(c) })
		if told := logs.FilterMessageSnippet(clash).Len(); told != test.told {
			t.Errorf("%s: told %d times, %v", test.sentence, told, logs.All())
		}
	}
}
