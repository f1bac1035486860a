package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/status"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/rotator"
)

// pageRequest is a request as Caddy hands it to a handler, of this user.
func pageRequest(method, target, user string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	repl := caddy.NewReplacer()
	if user != "" {
		repl.Set("http.auth.user.id", user)
	}
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)
	ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, *r)
	return r.WithContext(ctx)
}

func TestTheStatusPageWantsAUser(t *testing.T) {
	pools.Named(t, "page-test")
	verified := pageRequest("GET", "/", "")
	verified.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	unverified := pageRequest("GET", "/", "")
	unverified.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	proxied := func(status int) *http.Request {
		r := pageRequest("GET", "/", "")
		r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.reverse_proxy.status_code", status)
		return r
	}
	failed := proxied(200)
	failed = failed.WithContext(context.WithValue(failed.Context(), caddyhttp.ErrorCtxKey, errors.New("no key is ready")))
	if err := new(StatusPage).ServeHTTP(httptest.NewRecorder(), failed, nil); err == nil {
		t.Error("a proxy that has heard yes, before an error: it is answered")
	}
	for _, row := range []struct {
		sentence string
		request  *http.Request
		allowed  bool
	}{
		{"nobody is known", pageRequest("GET", "/", ""), false},
		{"an authentication handler knows the user", pageRequest("GET", "/", "ada"), true},
		{"TLS has verified a certificate", verified, true},
		{"TLS has got one and not verified it", unverified, false},
		{"forward_auth has heard yes", proxied(204), true},
		{"forward_auth has heard no", proxied(302), false},
		{"there is no Caddy around", httptest.NewRequest("GET", "/", nil), false},
	} {
		w := httptest.NewRecorder()
		err := new(StatusPage).ServeHTTP(w, row.request, nil)
		switch {
		case row.allowed && (err != nil || !strings.Contains(w.Body.String(), "page-test")):
			t.Errorf("%s: %v, %d", row.sentence, err, w.Code)
		case !row.allowed && (err != nil || w.Code != http.StatusForbidden || w.Body.String() != unauthenticated+".\n"):
			t.Errorf("%s: %v, %s", row.sentence, err, w.Body)
		}
	}
}

// Links lead to where the browser is, whatever handle_path has stripped.
func TestTheStatusPageStandsAnywhere(t *testing.T) {
	h := pools.Named(t, "page-test")
	r := pageRequest("GET", "/ops/keys/", "ada")
	stripped := *r.URL
	stripped.Path, r.URL = "/", &stripped
	w := httptest.NewRecorder()
	if err := new(StatusPage).ServeHTTP(w, r, nil); err != nil || !strings.Contains(w.Body.String(), `"/ops/keys/`) {
		t.Errorf("%v: %.300s", err, w.Body)
	}

	// A path that begins with two slashes names another host, as a link.
	w = httptest.NewRecorder()
	r = pageRequest("GET", "/", "ada")
	r.URL.Path = "//example.com/"
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, *r))
	if err := new(StatusPage).ServeHTTP(w, r, nil); err != nil || strings.Contains(w.Body.String(), `"//`) {
		t.Errorf("%v: %.300s", err, w.Body)
	}

	id := testkit.IDOf("sk-demo-1")
	r = pageRequest("POST", "/ops/keys/", "ada")
	form := url.Values{"pool": {"page-test"}, "id": {id}, "verb": {"disable"}}
	r.Body = http.NoBody
	r.Form, r.PostForm = form, form
	w = httptest.NewRecorder()
	if err := new(StatusPage).ServeHTTP(w, r, nil); err != nil || w.Code != http.StatusSeeOther {
		t.Fatalf("%v: %d %.300s", err, w.Code, w.Body)
	}
	if n := h.KeyPool().Census(time.Now()).Disabled; n != 1 {
		t.Errorf("%d keys are disabled", n)
	}
}

func TestPageSource(t *testing.T) {
	h := pools.Named(t, "page-test")
	testkit.Serve(h, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post("x"))
	named := pageSource{}.Pools()
	if len(named) != 1 || named[0].Keys != 20 || named[0].Cooling != 1 || named[0].Soonest < 39*time.Second || len(named[0].Minutes) != 60 || !named[0].Healthy {
		t.Errorf("pools: %+v", named)
	}
	var cooling status.Key
	count := 0
	for k := range (pageSource{}).Keys("page-test") {
		count++
		if k.State == status.Cooling {
			cooling = k
		}
	}
	if count != 20 || cooling.Class != "rate_limited" || cooling.Source != "retry-after" || cooling.Rejections != 1 || cooling.Attempts != 1 {
		t.Errorf("%d keys, %+v", count, cooling)
	}
	for range (pageSource{}).Keys("none") {
		t.Error("an unknown pool has keys")
	}
	for _, row := range []struct {
		sentence, pool, id string
		verb               status.Verb
		changed            int
		unknown            bool
	}{
		{"a key is cleared", "page-test", cooling.ID, status.Clear, 1, false},
		{"twice is once", "page-test", cooling.ID, status.Clear, 0, false},
		{"all are disabled", "page-test", "", status.Disable, 20, false},
		{"one is enabled", "page-test", cooling.ID, status.Enable, 1, false},
		{"one cools", "page-test", cooling.ID, status.Cool, 1, false},
		{"no such pool", "none", cooling.ID, status.Clear, 0, true},
		{"no such key", "page-test", "0123456789ab", status.Clear, 0, true},
		{"no key's id", "page-test", "sk-demo-1", status.Clear, 0, true},
	} {
		n, err := pageSource{}.Do(row.pool, row.id, status.Action{Verb: row.verb, For: time.Minute})
		if n != row.changed || errors.Is(err, status.ErrNotFound) != row.unknown || err != nil && strings.Contains(err.Error(), "sk-demo") {
			t.Errorf("%s: %d, %v", row.sentence, n, err)
		}
	}
}

func TestStatusPageDirective(t *testing.T) {
	for input, want := range map[string]string{
		"keycycler_status":                 "",
		"keycycler_status now":             "surplus argument",
		"keycycler_status {\n user ada\n}": "unknown option 'user'",
	} {
		err := new(StatusPage).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", input, err, want)
		}
	}
}

// A request that every key refuses makes all of them suspects: they show, and an operator
// can clear them.
func TestThePageShowsSuspects(t *testing.T) {
	h := pools.New(t, 3, func(c *gateway.Config) { c.Pool = "suspects" })
	suspects := func() (ids []string) {
		for k := range (pageSource{}).Keys("suspects") {
			if k.State == status.Ready && k.Suspect && k.Class == "invalid_key" && k.Remaining == 0 {
				ids = append(ids, k.ID)
			}
		}
		return ids
	}
	testkit.Serve(h, testkit.Script(testkit.BadKey), testkit.Post("x"))
	ids := suspects()
	if len(ids) != 3 {
		t.Fatalf("the page shows %d suspects", len(ids))
	}
	if n, err := (pageSource{}).Do("suspects", ids[0], status.Action{Verb: status.Clear}); n != 1 || err != nil || len(suspects()) != 2 {
		t.Errorf("cleared %d, %v", n, err)
	}
}

// Who points at a key is told what its upstream has stated of its limits.
func TestThePageTellsAllowances(t *testing.T) {
	h := pools.Named(t, "page-allowances-test")
	now := time.Now()
	h.KeyPool().Learn(now, 0, "gpt-demo", []rotator.Stated{{Of: "tokens", Limit: 90_000, Remaining: 812, Left: time.Hour}})
	told := 0
	for k := range (pageSource{}).Keys("page-allowances-test") {
		if strings.HasSuffix(k.About.String(), "812 of 90000 tokens left for gpt-demo") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("it is told of %d keys", told)
	}
}
