package admin_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/admin"
	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

func TestAdminAPI(t *testing.T) {
	name := testkit.FreshPool("admin-test")
	pool := "/keycycler/pools/" + name
	h := pools.Named(t, name)
	if got := adminapi.AskFor[[]observe.PoolStatus](t, "GET", "/keycycler/pools", ""); len(got) != 1 || !reflect.DeepEqual(got[0], observe.PoolStatus{
		Pool: name, Provider: "openai", Keys: 20, Ready: 20, State: observe.StateStatus{Backend: "memory", Healthy: true}, Models: []observe.ModelStatus{}, UsageOff: true,
	}) {
		t.Fatalf("pools: %+v", got)
	}
	u := testkit.Script(testkit.Limited, testkit.Spent, testkit.Fine)
	testkit.Serve(h, u, testkit.Post("x"))
	hit := []string{testkit.IDOf(u.Keys()[0]), testkit.IDOf(u.Keys()[1]), testkit.IDOf(u.Keys()[2])}

	key := adminapi.AskFor[observe.KeyStatus](t, "GET", pool+"/keys/"+hit[0], "")
	if key.State != "cooling" || key.Class != "rate_limited" || key.Source != "retry-after" || key.Scope != "key" ||
		key.Remaining < 39 || key.Remaining > 44 || time.Until(*key.Until) > 44*time.Second ||
		key.Attempts != 1 || key.Rejected["rate_limited"] != 1 || key.InFlight != 0 || time.Since(*key.LastUsed) > time.Minute {
		t.Errorf("limited key: %+v", key)
	}
	if key := adminapi.AskFor[observe.KeyStatus](t, "GET", pool+"/keys/"+hit[1], ""); key.Class != "quota_exhausted" || key.Source != "default" {
		t.Errorf("spent key: %+v", key)
	}
	if key := adminapi.AskFor[observe.KeyStatus](t, "GET", pool+"/keys/"+hit[2], ""); key.State != "ready" || key.Class != "" || key.Until != nil || key.Attempts != 1 || len(key.Rejected) != 0 {
		t.Errorf("ready key: %+v", key)
	}
	minutes := adminapi.AskFor[[]observe.MinuteStatus](t, "GET", pool+"/rejections", "")
	total := 0
	for _, m := range minutes {
		for _, n := range m.Rejections {
			total += n
		}
	}
	if total != 2 {
		t.Errorf("rejections: %+v", minutes)
	}

	for _, step := range []struct {
		sentence, path, body string
		state                string // of the first key
		pool                 observe.PoolStatus
	}{
		{"a key is cleared", "/keys/" + hit[0] + "/clear", "", "ready", observe.PoolStatus{Ready: 19, Cooling: 1}},
		{"a key is disabled", "/keys/" + hit[0] + "/disable", "", "disabled", observe.PoolStatus{Ready: 18, Cooling: 1, Disabled: 1}},
		{"it cools, and stays disabled", "/keys/" + hit[0] + "/cool", `{"seconds":600}`, "disabled", observe.PoolStatus{Ready: 18, Cooling: 1, Disabled: 1}},
		{"enabled, it cools on", "/keys/" + hit[0] + "/enable", "", "cooling", observe.PoolStatus{Ready: 18, Cooling: 2}},
		{"all are disabled", "/keys/disable", "", "disabled", observe.PoolStatus{Disabled: 20}},
		{"all are enabled", "/keys/enable", "", "cooling", observe.PoolStatus{Ready: 18, Cooling: 2}},
		{"all that cool for their quota are cleared", "/keys/clear?class=quota_exhausted", "", "cooling", observe.PoolStatus{Ready: 19, Cooling: 1}},
		{"all that are ready cool", "/keys/cool?state=ready", `{"seconds":0.5e1}`, "cooling", observe.PoolStatus{Cooling: 20}},
		{"all are cleared", "/keys/clear", "", "ready", observe.PoolStatus{Ready: 20}},
	} {
		if status, body := adminapi.Ask("POST", pool+step.path, step.body); status != http.StatusOK {
			t.Fatalf("%s: %d %s", step.sentence, status, body)
		}
		got := adminapi.AskFor[observe.PoolStatus](t, "GET", pool, "")
		if got.Ready != step.pool.Ready || got.Cooling != step.pool.Cooling || got.Disabled != step.pool.Disabled {
			t.Errorf("%s: %+v", step.sentence, got)
		}
		if key := adminapi.AskFor[observe.KeyStatus](t, "GET", pool+"/keys/"+hit[0], ""); key.State != step.state {
			t.Errorf("%s: the key is %s", step.sentence, key.State)
		}
	}
	key = adminapi.AskFor[observe.KeyStatus](t, "POST", pool+"/keys/"+hit[0]+"/cool", `{"seconds":600}`)
	if key.Class != "operator" || key.Source != "operator" || key.Remaining < 599 {
		t.Errorf("cooled by an operator: %+v", key)
	}
	if got := adminapi.AskFor[observe.Changed](t, "POST", pool+"/keys/clear?state=cooling", ""); got != (observe.Changed{Keys: 1, Changed: 1}) {
		t.Errorf("cleared %+v", got)
	}
	if got := adminapi.AskFor[observe.Changed](t, "POST", pool+"/keys/enable", ""); got != (observe.Changed{Keys: 20, Changed: 0}) {
		t.Errorf("enabled %+v", got)
	}
}

func TestAdminPaging(t *testing.T) {
	h := pools.New(t, 250, func(c *gateway.Config) { c.Pool = "paging" })
	now := time.Now()
	for s := range 30 {
		h.KeyPool().Disable(now, rotator.Slot(s))
	}
	for query, want := range map[string]int{"": 250, "limit=7": 250, "limit=1000": 250, "state=disabled&limit=9": 30, "state=cooling": 0, "class=rate_limited": 0} {
		var ids []string
		for after := ""; ; {
			page := adminapi.AskFor[observe.KeysPage](t, "GET", "/keycycler/pools/paging/keys?"+query+"&after="+after, "")
			for _, k := range page.Keys {
				ids = append(ids, k.ID)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if len(ids) != want || !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != want {
			t.Errorf("%q: %d keys, want %d, each once and in order", query, len(ids), want)
		}
	}
	// A page goes on behind a key that has left meanwhile.
	page := adminapi.AskFor[observe.KeysPage](t, "GET", "/keycycler/pools/paging/keys?after=800000000000", "")
	if len(page.Keys) == 0 || page.Keys[0].ID <= "800000000000" {
		t.Errorf("the page begins with %v", page.Keys)
	}
}

func TestAdminErrors(t *testing.T) {
	pools.Named(t, "errors-test")
	id := testkit.IDOf("sk-demo-1")
	const pool = "/keycycler/pools/errors-test"
	for _, row := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/keycycler/pool", "", 404, "nothing is at /keycycler/pool"},
		{"GET", "/keycycler/pools/none", "", 404, "no pool is named 'none'"},
		{"GET", "/keycycler/pools/sk-demo-secret", "", 404, "no pool is named (not shown"},
		{"POST", "/keycycler/pools", "", 405, "method POST is not allowed here: GET, HEAD"},
		{"PUT", pool + "/keys/" + id, "", 405, "DELETE, GET, HEAD, POST"},
		{"DELETE", pool + "/keys/" + id, "", 409, "key " + id + " stands at keys: key 1, which is not managed: take it away there"},
		{"DELETE", pool + "/keys/0123456789ab", "", 404, "has no key 0123456789ab"},
		{"DELETE", pool + "/keys/sk-demo-1", "", 400, "12 hex digits"},
		{"POST", pool + "/keys", `{"keys":[{"key":"sk-demo-99"}]}`, 409, "pool errors-test has no file that keycycler may write: add 'managed' to the block of a keys_file"},
		{"GET", pool + "/keys/" + id + "/clear", "", 405, "POST"},
		{"GET", pool + "/keys/sk-demo-1", "", 400, "12 hex digits"},
		{"GET", pool + "/keys/0123456789ab", "", 404, "has no key 0123456789ab"},
		{"POST", pool + "/keys/" + id + "/delete", "", 404, "unknown verb 'delete': one of clear, cool, disable, enable"},
		{"POST", pool + "/keys/delete", "", 404, "unknown verb"},
		{"POST", pool + "/keys/" + id + "/cool", "", 400, "seconds: 0 is out of range"},
		{"POST", pool + "/keys/" + id + "/cool", `{"seconds":-1}`, 400, "out of range"},
		{"POST", pool + "/keys/" + id + "/cool", `{"seconds":31536001}`, 400, "at most 31536000"},
		{"POST", pool + "/keys/" + id + "/cool", `{"seconds":"10"}`, 400, "the body must be"},
		{"POST", pool + "/keys/" + id + "/cool", `{"minutes":1}`, 400, "the body must be"},
		{"POST", pool + "/keys/cool", strings.Repeat(" ", 5000) + `{"seconds":1}`, 400, "out of range"},
		{"POST", pool + "/keys/clear?state=tired", "", 400, "unknown state 'tired'"},
		{"GET", pool + "/keys?state=tired", "", 400, "unknown state 'tired'"},
		{"GET", pool + "/keys?class=tired", "", 400, "unknown class 'tired'"},
		{"GET", pool + "/keys?limit=0", "", 400, "1 to 1000"},
		{"GET", pool + "/keys?limit=1001", "", 400, "1 to 1000"},
		{"GET", pool + "/keys?limit=x", "", 400, "1 to 1000"},
		{"GET", pool + "/keys?after=x", "", 400, "no key's id"},
	} {
		status, body := adminapi.Ask(row.method, row.path, row.body)
		if status != row.status || !strings.Contains(body, row.says) {
			t.Errorf("%s %s %.40s: %d %s, want %d with %q", row.method, row.path, row.body, status, body, row.status, row.says)
		}
		if strings.Contains(body, "sk-demo") {
			t.Errorf("%s %s: %s", row.method, row.path, body)
		}
	}
	if got := adminapi.AskFor[observe.PoolStatus](t, "GET", pool, ""); got.Ready != 20 {
		t.Errorf("a refused call has changed something: %+v", got)
	}
}

// All handlers of one name are one pool, whether they hold the same keys or not; a
// config that comes hides the one before.
func TestViews(t *testing.T) {
	before := pools.Named(t, "before")
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	var gateways []*gateway.Gateway
	for i, keys := range [][]string{testkit.DemoKeys(5), {"sk-demo-5", "sk-demo-6"}, {"sk-demo-9"}, {"sk-demo-6", "sk-demo-5"}} {
		gateways = append(gateways, pools.New(t, 0, func(c *gateway.Config) {
			c.Pool = []string{"views", "views", "other", "views"}[i]
			(*c.Keys.Groups)[0].Texts = keys
			c.Events, c.Registry = ctx, ctx.GetMetricsRegistry()
		}))
	}
	now := time.Now()
	gateways[1].KeyPool().Cool(now, 1, rotator.Cooldown{For: time.Minute, Reason: rotator.Reason(ttl.RateLimited)})
	gateways[0].KeyPool().Disable(now, 4)
	got := adminapi.AskFor[[]observe.PoolStatus](t, "GET", "/keycycler/pools", "")
	if len(got) != 2 || got[0].Pool != "other" || got[1].Pool != "views" || got[1].Keys != 6 || got[1].Cooling != 1 || got[1].Disabled != 1 || got[1].Ready != 4 {
		t.Errorf("pools: %+v", got)
	}
	if page := adminapi.AskFor[observe.KeysPage](t, "GET", "/keycycler/pools/views/keys", ""); len(page.Keys) != 6 {
		t.Errorf("keys: %+v", page)
	}
	if got := adminapi.AskFor[observe.Changed](t, "POST", "/keycycler/pools/views/keys/clear", ""); got != (observe.Changed{Keys: 6, Changed: 1}) {
		t.Errorf("cleared %+v", got)
	}
	if status, _ := adminapi.Ask("GET", "/keycycler/pools/views/keys/"+testkit.IDOf("sk-demo-9"), ""); status != 404 {
		t.Errorf("a key of another pool is found: %d", status)
	}
	gateways[0].KeyPool().Enable(now, 4)
	for _, g := range gateways {
		g.Close()
	}
	if got := adminapi.AskFor[[]observe.PoolStatus](t, "GET", "/keycycler/pools", ""); len(got) != 1 || got[0].Pool != "before" {
		t.Errorf("when the newest config is gone: %+v", got)
	}
	before.Close()
	if status, body := adminapi.Ask("GET", "/keycycler/pools", ""); status != 200 || body != "[]\n" {
		t.Errorf("without a pool: %d %s", status, body)
	}
}

// A request that every key refuses proves nothing: the keys are suspects.
func TestTheAPITellsOfSuspects(t *testing.T) {
	h := pools.New(t, 3, func(c *gateway.Config) { c.Pool = "suspects-test" })
	testkit.Serve(h, testkit.Script(testkit.BadKey), testkit.Post("x"))
	page := adminapi.AskFor[observe.KeysPage](t, "GET", "/keycycler/pools/suspects-test/keys?class=invalid_key", "")
	if len(page.Keys) != 3 {
		t.Fatalf("keys: %+v", page)
	}
	for _, k := range page.Keys {
		if k.State != "ready" || k.Class != "" || k.Suspect == nil || k.Suspect.Class != "invalid_key" || k.Suspect.Remaining < 86000 {
			t.Errorf("%+v, of %+v", k, k.Suspect)
		}
	}
	if got := adminapi.AskFor[observe.Changed](t, "POST", "/keycycler/pools/suspects-test/keys/clear?class=invalid_key", ""); got != (observe.Changed{Keys: 3, Changed: 3}) {
		t.Errorf("cleared %+v", got)
	}
	if _, body := adminapi.Ask("GET", "/keycycler/pools/suspects-test/keys", ""); strings.Contains(body, `"suspect"`) || strings.Contains(body, `"proven"`) {
		t.Errorf("after that: %s", body)
	}
	testkit.Serve(h, testkit.Script(testkit.Limited), testkit.Post("x"))
	_, body := adminapi.Ask("GET", "/keycycler/pools/suspects-test/keys?state=cooling", "")
	if strings.Count(body, `"proven":false`) != 3 || !strings.Contains(body, `"remaining_seconds":39`) {
		t.Errorf("limited, and nobody served: %s", body)
	}
}

// A probe that is answered no is no error, of which Caddy would log one every few seconds.
func TestNotReadyIsNoError(t *testing.T) {
	for _, route := range new(admin.Admin).Routes() {
		if !strings.HasSuffix(route.Pattern, "/ready") {
			continue
		}
		w := httptest.NewRecorder()
		err := route.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, route.Pattern, nil)) // no config runs
		if err != nil || w.Code != http.StatusServiceUnavailable || !strings.HasPrefix(w.Body.String(), `{"error":"no pool has a key`) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v, %d %s", route.Pattern, err, w.Code, w.Body)
		}
		return
	}
	t.Error("there is no such route")
}
