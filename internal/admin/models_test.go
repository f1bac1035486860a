package admin_test

import (
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// site is a gateway of the demo keys from, from+1, … to-1, in one config with others.
func site(t *testing.T, from, to int, by string, together *gateway.Config) *gateway.Gateway {
	return pools.New(t, to, func(c *gateway.Config) {
		c.Pool, c.ByModel = "models-test", by == reason.ScopeModel
		(*c.Keys.Groups)[0] = keyset.Group{Rank: rotator.Rank{Tier: 1, Weight: 1}, Texts: testkit.DemoKeys(to)[from:]}
		if together.Registry == nil {
			*together = *c
		}
		c.Registry, c.Events = together.Registry, together.Events
	})
}

// cool makes keys of the site cool for the model; for all without one.
func cool(g *gateway.Gateway, model string, d time.Duration, class ttl.Class, slots ...rotator.Slot) {
	for _, s := range slots {
		g.KeyPool().Cool(time.Now(), s, rotator.Cooldown{For: d, Scope: model, Reason: rotator.Reason(class)})
	}
}

// outOf asks for the models that no key can serve, and rounds the times up.
func outOf(t *testing.T) []observe.ModelStatus {
	t.Helper()
	one := adminapi.AskFor[observe.PoolStatus](t, "GET", "/keycycler/pools/models-test", "")
	all := adminapi.AskFor[[]observe.PoolStatus](t, "GET", "/keycycler/pools", "")
	if len(all) != 1 || len(all[0].Models) != len(one.Models) {
		t.Errorf("the list has %+v, the pool %+v", all, one)
	}
	for i := range one.Models {
		one.Models[i].Remaining = math.Ceil(one.Models[i].Remaining)
	}
	return one.Models
}

func TestTheAPINamesModelsThatNoKeyCanServe(t *testing.T) {
	limited := func(model string, keys int, seconds float64) observe.ModelStatus {
		return observe.ModelStatus{Model: model, Keys: keys, Cooling: keys, Classes: map[string]int{"rate_limited": keys}, Remaining: seconds}
	}
	const minute = time.Minute
	for _, row := range []struct {
		sentence string
		do       func(first, second *gateway.Gateway)
		sites    [][2]int  // their keys
		by       [2]string // what a rate limit cools
		want     []observe.ModelStatus
	}{
		{"nothing cools", nil, [][2]int{{0, 2}}, [2]string{"model"}, []observe.ModelStatus{}},
		{"all keys cool for two models, and one for another", func(g, _ *gateway.Gateway) {
			cool(g, "b", minute, ttl.RateLimited, 0, 1)
			cool(g, "a", 2*minute, ttl.RateLimited, 0, 1)
			cool(g, "c", minute, ttl.RateLimited, 0)
		}, [][2]int{{0, 2}}, [2]string{"model"}, []observe.ModelStatus{limited("a", 2, 120), limited("b", 2, 60)}},
		{"for different reasons", func(g, _ *gateway.Gateway) {
			cool(g, "a", minute, ttl.RateLimited, 0, 1)
			cool(g, "", 2*minute, ttl.QuotaExhausted, 1)
			g.KeyPool().Disable(time.Now(), 2)
			g.KeyPool().Clear(time.Now(), 3)
			cool(g, "a", 3*minute, ttl.RateLimited, 3)
		}, [][2]int{{0, 4}}, [2]string{"model"},
			[]observe.ModelStatus{{Model: "a", Keys: 4, Cooling: 3, Disabled: 1, Classes: map[string]int{"rate_limited": 2, "quota_exhausted": 1}, Remaining: 60}}},
		{"no key is ready for any", func(g, _ *gateway.Gateway) {
			cool(g, "a", minute, ttl.RateLimited, 0, 1)
			cool(g, "", minute, ttl.QuotaExhausted, 0, 1)
		}, [][2]int{{0, 2}}, [2]string{"model"}, []observe.ModelStatus{}},
		{"names past the bound", func(g, _ *gateway.Gateway) { cool(g, "a\nb", minute, ttl.RateLimited, 0, 1) },
			[][2]int{{0, 2}}, [2]string{"model"}, []observe.ModelStatus{limited("*", 2, 60)}},
		{"two sites of the same keys", func(g, _ *gateway.Gateway) { cool(g, "a", minute, ttl.RateLimited, 0, 1) },
			[][2]int{{0, 2}, {0, 2}}, [2]string{"model", "model"}, []observe.ModelStatus{limited("a", 2, 60)}},
		{"one of which does not tell models apart", func(g, _ *gateway.Gateway) { cool(g, "a", minute, ttl.RateLimited, 0, 1) },
			[][2]int{{0, 2}, {0, 2}}, [2]string{"model", "key"}, []observe.ModelStatus{}},
		{"another site of the pool has keys for the model", func(g, _ *gateway.Gateway) { cool(g, "a", minute, ttl.RateLimited, 0, 1) },
			[][2]int{{0, 2}, {1, 3}}, [2]string{"model", "model"}, []observe.ModelStatus{}},
		{"none has: a key that both hold is one", func(g, other *gateway.Gateway) {
			cool(g, "a", minute, ttl.RateLimited, 0, 1)
			cool(other, "a", 2*minute, ttl.RateLimited, 1)
		}, [][2]int{{0, 2}, {1, 3}}, [2]string{"model", "model"}, []observe.ModelStatus{limited("a", 3, 60)}},
		{"none has, and one is out for all models", func(g, other *gateway.Gateway) {
			cool(g, "a", minute, ttl.RateLimited, 0, 1)
			cool(other, "", 2*minute, ttl.InvalidKey, 0, 1)
			cool(other, "b", minute, ttl.RateLimited, 0)
		}, [][2]int{{0, 2}, {2, 4}}, [2]string{"model", "model"},
			[]observe.ModelStatus{{Model: "a", Keys: 4, Cooling: 4, Classes: map[string]int{"rate_limited": 2, "invalid_key": 2}, Remaining: 60}}},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			var sites [2]*gateway.Gateway
			var together gateway.Config
			for i, keys := range row.sites {
				sites[i] = site(t, keys[0], keys[1], row.by[i], &together)
			}
			if row.do != nil {
				row.do(sites[0], sites[1])
			}
			if got := outOf(t); !reflect.DeepEqual(got, row.want) {
				t.Errorf("%+v, want %+v", got, row.want)
			}
		})
	}
}

// Tools iterate over it: it is never null.
func TestModelsAreAList(t *testing.T) {
	pools.Named(t, "models-test")
	for _, path := range []string{"/keycycler/pools", "/keycycler/pools/models-test"} {
		if _, body := adminapi.Ask("GET", path, ""); !strings.Contains(body, `"models":[]`) {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// A key that waits for its limit may be ready at any moment, whatever the others state.
func TestAModelsKeyAtItsLimit(t *testing.T) {
	g := pools.New(t, 2, func(c *gateway.Config) {
		c.Pool, c.ByModel, c.Limit = "models-test", true, &rotator.Limit{Concurrency: 1, Reason: reason.Limit}
	})
	cool(g, "a", time.Hour, ttl.RateLimited, 0)
	g.KeyPool().Take(time.Now(), rotator.Want{Among: []rotator.Slot{1}})
	want := []observe.ModelStatus{{Model: "a", Keys: 2, Cooling: 2, Classes: map[string]int{"rate_limited": 1, "limit": 1}}}
	if got := outOf(t); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	g.KeyPool().End(1)
	if got := outOf(t); len(got) > 0 {
		t.Errorf("when its request has ended: %+v", got)
	}
}

// The page is red, though all keys are ready for other models.
func TestThePageNamesModelsThatNoKeyCanServe(t *testing.T) {
	var together gateway.Config
	g := site(t, 0, 2, "model", &together)
	cool(g, "gpt-<b>", 41*time.Second, ttl.RateLimited, 0, 1)
	status, page := adminapi.Ask("GET", "/keycycler/", "")
	for _, want := range []string{
		">⚠ 1 pool, 2 of 2 keys ready, none for 1 model", ">models-test</a> has no ready key for gpt-&lt;b&gt;. The first is back in 41 s.",
		`No key for <b>gpt-&lt;b&gt;</b>: back in <span data-seconds="41">`,
	} {
		if status != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("%d: the page lacks %s", status, want)
		}
	}
}
