package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// A pool tells when the next of its keys may be back, and which models some of them cool for,
// as one site or as several.
func TestTheAPITellsWhatCoolsForSome(t *testing.T) {
	for _, sites := range [][][2]int{{{0, 4}}, {{0, 2}, {2, 4}}} {
		together := new(gateway.Config)
		var all []*gateway.Gateway
		for _, s := range sites {
			all = append(all, site(t, s[0], s[1], "model", together))
		}
		ask := func() observe.PoolStatus {
			return adminapi.AskFor[observe.PoolStatus](t, "GET", "/keycycler/pools/models-test", "")
		}
		if p := ask(); p.Remaining != 0 || len(p.Limited) > 0 {
			t.Errorf("%d sites: nothing cools: %+v", len(sites), p)
		}
		cool(all[0], "gpt-a", time.Minute, ttl.RateLimited, 0)
		cool(all[0], "gpt-b", time.Hour, ttl.QuotaExhausted, 0, 1)
		p := ask()
		if p.Remaining != 0 || p.Ready != 4 || len(p.Models) > 0 || len(p.Limited) != 2 {
			t.Fatalf("%d sites: two models are limited: %+v", len(sites), p)
		}
		a, b := p.Limited[0], p.Limited[1]
		if a.Model != "gpt-a" || a.Keys != 4 || a.Cooling != 1 || a.Classes["rate_limited"] != 1 || a.Remaining <= 0 || a.Remaining > 60 {
			t.Errorf("%d sites: gpt-a: %+v", len(sites), a)
		}
		if b.Model != "gpt-b" || b.Cooling != 2 || b.Classes["quota_exhausted"] != 2 || b.Remaining <= 60 {
			t.Errorf("%d sites: gpt-b: %+v", len(sites), b)
		}
		cool(all[0], "", 30*time.Second, ttl.RateLimited, 1)
		if p := ask(); p.Remaining <= 0 || p.Remaining > 30 || p.Limited[0].Cooling != 2 {
			t.Errorf("%d sites: one cools for all: %+v", len(sites), p)
		}
		for _, g := range all {
			for s := range g.KeyPool().Len() {
				g.KeyPool().Clear(time.Now(), rotator.Slot(s))
			}
			g.Close()
		}
	}
}

// An id may be in upper case, and is answered in lower case.
func TestTheAPITakesUpperCase(t *testing.T) {
	site(t, 0, 1, "key", new(gateway.Config))
	id := testkit.IDOf(testkit.DemoKeys(1)[0])
	key := adminapi.AskFor[observe.KeyStatus](t, "POST", "/keycycler/pools/models-test/keys/"+strings.ToUpper(id)+"/disable", "")
	if key.ID != id || key.State != "disabled" {
		t.Errorf("%+v", key)
	}
	if page := adminapi.AskFor[observe.KeysPage](t, "GET", "/keycycler/pools/models-test/keys?after="+strings.ToUpper(id), ""); len(page.Keys) > 0 {
		t.Errorf("after it comes %+v", page)
	}
}

// Browsers that another site has sent change nothing; all else may.
func TestTheAPIRefusesOtherSites(t *testing.T) {
	g := site(t, 0, 1, "key", new(gateway.Config))
	for headers, status := range map[string]int{
		"": 200, "Sec-Fetch-Site: same-origin": 200, "Sec-Fetch-Site: none": 200, "Origin: http://example.com": 200,
		"Sec-Fetch-Site: cross-site": 403, "Sec-Fetch-Site: same-site": 403, "Origin: http://evil.test": 403, "Origin: null": 403,
	} {
		for _, path := range []string{"keys/disable", "keys/" + testkit.IDOf(testkit.DemoKeys(1)[0]) + "/disable"} {
			r := httptest.NewRequest(http.MethodPost, "http://example.com/keycycler/pools/models-test/"+path, nil)
			if name, value, ok := strings.Cut(headers, ": "); ok {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			adminapi.Mux().ServeHTTP(w, r)
			disabled := g.KeyPool().Status(time.Now(), 0).Condition.String() == "disabled"
			if w.Code != status || disabled != (status == 200) {
				t.Errorf("%s, %s: %d %s, disabled %t", path, headers, w.Code, w.Body, disabled)
			}
			g.KeyPool().Enable(time.Now(), 0)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "http://example.com/keycycler/pools", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	if adminapi.Mux().ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("a link from elsewhere: %d", w.Code)
	}
}
