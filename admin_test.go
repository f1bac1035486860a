package keycycler

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

func TestAdminAPI(t *testing.T) {
	name := freshPool("admin-test")
	pool := "/keycycler/pools/" + name
	h := provisionNamed(t, name)
	if got := askFor[[]poolStatus](t, "GET", "/keycycler/pools", ""); len(got) != 1 || got[0] != (poolStatus{
		Pool: name, Provider: "openai", Keys: 20, Ready: 20, State: stateStatus{Backend: "memory", Healthy: true},
	}) {
		t.Fatalf("pools: %+v", got)
	}
	u := script(limited, spent, fine)
	serve(h, u, post("x"))
	hit := []string{idOf(u.keys()[0]), idOf(u.keys()[1]), idOf(u.keys()[2])}

	key := askFor[keyStatus](t, "GET", pool+"/keys/"+hit[0], "")
	if key.State != "cooling" || key.Class != "rate_limited" || key.Source != "retry-after" || key.Scope != "key" ||
		key.Remaining < 39 || key.Remaining > 44 || time.Until(*key.Until) > 44*time.Second ||
		key.Attempts != 1 || key.Rejected["rate_limited"] != 1 || key.InFlight != 0 || time.Since(*key.LastUsed) > time.Minute {
		t.Errorf("limited key: %+v", key)
	}
	if key := askFor[keyStatus](t, "GET", pool+"/keys/"+hit[1], ""); key.Class != "quota_exhausted" || key.Source != "default" {
		t.Errorf("spent key: %+v", key)
	}
	if key := askFor[keyStatus](t, "GET", pool+"/keys/"+hit[2], ""); key.State != "ready" || key.Class != "" || key.Until != nil || key.Attempts != 1 || len(key.Rejected) != 0 {
		t.Errorf("ready key: %+v", key)
	}
	minutes := askFor[[]minuteStatus](t, "GET", pool+"/rejections", "")
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
		pool                 poolStatus
	}{
		{"a key is cleared", "/keys/" + hit[0] + "/clear", "", "ready", poolStatus{Ready: 19, Cooling: 1}},
		{"a key is disabled", "/keys/" + hit[0] + "/disable", "", "disabled", poolStatus{Ready: 18, Cooling: 1, Disabled: 1}},
		{"it cools, and stays disabled", "/keys/" + hit[0] + "/cool", `{"seconds":600}`, "disabled", poolStatus{Ready: 18, Cooling: 1, Disabled: 1}},
		{"enabled, it cools on", "/keys/" + hit[0] + "/enable", "", "cooling", poolStatus{Ready: 18, Cooling: 2}},
		{"all are disabled", "/keys/disable", "", "disabled", poolStatus{Disabled: 20}},
		{"all are enabled", "/keys/enable", "", "cooling", poolStatus{Ready: 18, Cooling: 2}},
		{"all that cool for their quota are cleared", "/keys/clear?class=quota_exhausted", "", "cooling", poolStatus{Ready: 19, Cooling: 1}},
		{"all that are ready cool", "/keys/cool?state=ready", `{"seconds":0.5e1}`, "cooling", poolStatus{Cooling: 20}},
		{"all are cleared", "/keys/clear", "", "ready", poolStatus{Ready: 20}},
	} {
		if status, body := ask("POST", pool+step.path, step.body); status != http.StatusOK {
			t.Fatalf("%s: %d %s", step.sentence, status, body)
		}
		got := askFor[poolStatus](t, "GET", pool, "")
		if got.Ready != step.pool.Ready || got.Cooling != step.pool.Cooling || got.Disabled != step.pool.Disabled {
			t.Errorf("%s: %+v", step.sentence, got)
		}
		if key := askFor[keyStatus](t, "GET", pool+"/keys/"+hit[0], ""); key.State != step.state {
			t.Errorf("%s: the key is %s", step.sentence, key.State)
		}
	}
	key = askFor[keyStatus](t, "POST", pool+"/keys/"+hit[0]+"/cool", `{"seconds":600}`)
	if key.Class != "operator" || key.Source != "operator" || key.Remaining < 599 {
		t.Errorf("cooled by an operator: %+v", key)
	}
	if got := askFor[changed](t, "POST", pool+"/keys/clear?state=cooling", ""); got != (changed{1, 1}) {
		t.Errorf("cleared %+v", got)
	}
	if got := askFor[changed](t, "POST", pool+"/keys/enable", ""); got != (changed{20, 0}) {
		t.Errorf("enabled %+v", got)
	}
}

func TestAdminPaging(t *testing.T) {
	h := newPool(t, 250, func(c *gatewayConfig) { c.Pool = "paging" })
	now := time.Now()
	for s := range 30 {
		h.keys().Disable(now, rotator.Slot(s))
	}
	for query, want := range map[string]int{"": 250, "limit=7": 250, "limit=1000": 250, "state=disabled&limit=9": 30, "state=cooling": 0, "class=rate_limited": 0} {
		var ids []string
		for after := ""; ; {
			page := askFor[keysPage](t, "GET", "/keycycler/pools/paging/keys?"+query+"&after="+after, "")
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
	page := askFor[keysPage](t, "GET", "/keycycler/pools/paging/keys?after=800000000000", "")
	if len(page.Keys) == 0 || page.Keys[0].ID <= "800000000000" {
		t.Errorf("the page begins with %v", page.Keys)
	}
}

func TestAdminErrors(t *testing.T) {
	provisionNamed(t, "errors-test")
	id := idOf("sk-demo-1")
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
		{"DELETE", pool + "/keys/" + id, "", 405, "GET, HEAD, POST"},
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
		status, body := ask(row.method, row.path, row.body)
		if status != row.status || !strings.Contains(body, row.says) {
			t.Errorf("%s %s %.40s: %d %s, want %d with %q", row.method, row.path, row.body, status, body, row.status, row.says)
		}
		if strings.Contains(body, "sk-demo") {
			t.Errorf("%s %s: %s", row.method, row.path, body)
		}
	}
	if got := askFor[poolStatus](t, "GET", pool, ""); got.Ready != 20 {
		t.Errorf("a refused call has changed something: %+v", got)
	}
}

// All handlers of one name are one pool, whether they hold the same keys or not; a
// config that comes hides the one before.
func TestViews(t *testing.T) {
	before := provisionNamed(t, "before")
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	var gateways []*gateway
	for i, keys := range [][]string{demoKeys(5), {"sk-demo-5", "sk-demo-6"}, {"sk-demo-9"}, {"sk-demo-6", "sk-demo-5"}} {
		gateways = append(gateways, newPool(t, 0, func(c *gatewayConfig) {
			c.Pool = []string{"views", "views", "other", "views"}[i]
			(*c.Keys.groups)[0].texts = keys
			c.Events, c.Registry = ctx, ctx.GetMetricsRegistry()
		}))
	}
	now := time.Now()
	gateways[1].keys().Cool(now, 1, rotator.Cooldown{For: time.Minute, Reason: rotator.Reason(ttl.RateLimited)})
	gateways[0].keys().Disable(now, 4)
	got := askFor[[]poolStatus](t, "GET", "/keycycler/pools", "")
	if len(got) != 2 || got[0].Pool != "other" || got[1].Pool != "views" || got[1].Keys != 6 || got[1].Cooling != 1 || got[1].Disabled != 1 || got[1].Ready != 4 {
		t.Errorf("pools: %+v", got)
	}
	if page := askFor[keysPage](t, "GET", "/keycycler/pools/views/keys", ""); len(page.Keys) != 6 {
		t.Errorf("keys: %+v", page)
	}
	if got := askFor[changed](t, "POST", "/keycycler/pools/views/keys/clear", ""); got != (changed{6, 1}) {
		t.Errorf("cleared %+v", got)
	}
	if status, _ := ask("GET", "/keycycler/pools/views/keys/"+idOf("sk-demo-9"), ""); status != 404 {
		t.Errorf("a key of another pool is found: %d", status)
	}
	gateways[0].keys().Enable(now, 4)
	for _, g := range gateways {
		g.close()
	}
	if got := askFor[[]poolStatus](t, "GET", "/keycycler/pools", ""); len(got) != 1 || got[0].Pool != "before" {
		t.Errorf("when the newest config is gone: %+v", got)
	}
	before.close()
	if status, body := ask("GET", "/keycycler/pools", ""); status != 200 || body != "[]\n" {
		t.Errorf("without a pool: %d %s", status, body)
	}
}
