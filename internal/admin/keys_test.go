package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/rotator"
)

// managedPool is a pool of one key of the config and of files, all of which but the first
// are managed.
func managedPool(t *testing.T, name string, files ...string) *gateway.Gateway {
	rank := rotator.Rank{Tier: 1, Weight: 1}
	groups := []keyset.Group{{Rank: rank, Texts: []string{"sk-demo-inline"}}}
	for i, file := range files {
		groups = append(groups, keyset.Group{Rank: rank, Files: []string{file}, Managed: i > 0})
	}
	return pools.New(t, 0, func(c *gateway.Config) {
		c.Pool, c.Keys = name, &keyset.Source{Groups: &groups, Log: zap.NewNop()}
	})
}

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func has(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("%s has %q, want %q (%v)", filepath.Base(path), text, want, err)
	}
}

func idOf(secret string) string { return rotator.IDOf(secret).String() }

// The pool has keys that were added, and has none that were removed, when the answer is
// there: nobody waits for the file to be looked at.
func TestKeysAreAddedAndRemoved(t *testing.T) {
	name := testkit.FreshPool("managed-test")
	fixed := written(t, "fixed.keys", "sk-demo-fixed\n")
	path := written(t, "demo.keys", "# ours\r\n\r\nsk-demo-1 east\r\n")
	g := managedPool(t, name, fixed, path)
	pool := "/keycycler/pools/" + name
	if got := adminapi.AskFor[observe.PoolStatus](t, "GET", pool, ""); !slices.Equal(got.Files, []string{path}) || got.Keys != 3 {
		t.Fatalf("pool: %+v", got)
	}
	for _, step := range []struct {
		sentence, body string
		want           observe.KeysAdded
		text           string
	}{
		{"two keys, one with a name", `{"keys":[{"key":"sk-demo-2","name":"west"},{"key":"sk-demo-3"}]}`,
			observe.KeysAdded{Added: []string{idOf("sk-demo-2"), idOf("sk-demo-3")}}, "# ours\r\n\r\nsk-demo-1 east\r\nsk-demo-2 west\r\nsk-demo-3\r\n"},
		{"some that are there, one twice", `{"keys":[{"key":"sk-demo-1"},{"key":"sk-demo-4"},{"key":"sk-demo-fixed"},{"key":"sk-demo-4","name":"twice"},{"key":"sk-demo-inline"}],"file":"demo.keys"}`,
			observe.KeysAdded{Added: []string{idOf("sk-demo-4")}, Skipped: []observe.KeySkipped{
				{Index: 0, ID: idOf("sk-demo-1"), Origin: "demo.keys:3"}, {Index: 2, ID: idOf("sk-demo-fixed"), Origin: "fixed.keys:1"},
				{Index: 3, ID: idOf("sk-demo-4"), Origin: "keys[1]"}, {Index: 4, ID: idOf("sk-demo-inline"), Origin: "keys: key 1"},
			}}, "# ours\r\n\r\nsk-demo-1 east\r\nsk-demo-2 west\r\nsk-demo-3\r\nsk-demo-4\r\n"},
	} {
		got := adminapi.AskFor[observe.KeysAdded](t, "POST", pool+"/keys", step.body)
		if got.File != "demo.keys" || !slices.Equal(got.Added, step.want.Added) || !slices.Equal(got.Skipped, step.want.Skipped) {
			t.Errorf("%s: %+v", step.sentence, got)
		}
		for _, id := range got.Added {
			if parsed, _ := rotator.ParseID(id); len(id) != 12 || !inPool(g, parsed) {
				t.Errorf("%s: the pool has not got %s", step.sentence, id)
			}
		}
		has(t, path, step.text)
	}
	got := adminapi.AskFor[observe.KeyRemoved](t, "DELETE", pool+"/keys/"+idOf("sk-demo-2"), "")
	if got.ID != idOf("sk-demo-2") || !slices.Equal(got.Files, []string{"demo.keys"}) || inPool(g, rotator.IDOf("sk-demo-2")) {
		t.Errorf("removed %+v, and the pool has it: %t", got, inPool(g, rotator.IDOf("sk-demo-2")))
	}
	has(t, path, "# ours\r\n\r\nsk-demo-1 east\r\nsk-demo-3\r\nsk-demo-4\r\n")
}

func inPool(g *gateway.Gateway, id rotator.ID) bool {
	pool := g.KeyPool() // that of now: others may add and remove keys
	for s := range pool.Len() {
		if pool.Key(rotator.Slot(s)).ID() == id {
			return true
		}
	}
	return false
}

// A managed file need not exist: it is made when the first key is added. When the last one is
// removed the pool has none, and says so.
func TestAManagedFileIsMade(t *testing.T) {
	name := testkit.FreshPool("fresh-test")
	path := filepath.Join(t.TempDir(), "fresh.keys")
	groups := []keyset.Group{{Rank: rotator.Rank{Tier: 1, Weight: 1}, Files: []string{path}, Managed: true}}
	g := pools.New(t, 0, func(c *gateway.Config) {
		c.Pool, c.Keys = name, &keyset.Source{Groups: &groups, Log: zap.NewNop()}
	})
	u := testkit.Script(testkit.Fine)
	empty := func(when string) {
		if w, _ := testkit.Serve(g, u, testkit.Post("x")); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "This gateway has no API key.") || w.Header().Get("Retry-After") != "" {
			t.Errorf("%s a client gets %d %s", when, w.Code, w.Body)
		}
	}
	empty("before the first key")
	pool := "/keycycler/pools/" + name
	adminapi.AskFor[observe.KeysAdded](t, "POST", pool+"/keys", `{"keys":[{"key":"sk-demo-1"}]}`)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if w, _ := testkit.Serve(g, u, testkit.Post("x")); w.Code != http.StatusOK || !slices.Equal(u.Keys(), []string{"sk-demo-1"}) {
		t.Errorf("with a key a client gets %d, by %v", w.Code, u.Keys())
	}
	adminapi.AskFor[observe.KeyRemoved](t, "DELETE", pool+"/keys/"+idOf("sk-demo-1"), "")
	empty("after the last key")
	has(t, path, "")
	if got := adminapi.AskFor[observe.PoolStatus](t, "GET", pool, ""); got.Keys != 0 {
		t.Errorf("%+v", got)
	}
}

// What cannot be done changes nothing, and says what to do: never a part of a key.
func TestKeysAreRefused(t *testing.T) {
	name := testkit.FreshPool("refuse-test")
	both := "sk-demo-both\nsk-demo-1 east\n"
	fixed, path, other := written(t, "fixed.keys", "sk-demo-both\n"), written(t, "a.keys", both), written(t, "b.keys", "")
	managedPool(t, name, fixed, path, other)
	pool := "/keycycler/pools/" + name
	many := `{"key":"Bearer sk-demo-x"}` + strings.Repeat(`,{"key":"Bearer sk-demo-x"}`, 11)
	for _, row := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/keys", `{"keys":[{"key":"sk-demo-9"}]}`, 409, "has several managed files, say which: " + path + ", " + other},
		{"POST", "/keys", `{"keys":[{"key":"sk-demo-9"}],"file":"fixed.keys"}`, 404, "has no managed file 'fixed.keys': there is "},
		{"POST", "/keys", `{"keys":[{"key":"sk-demo-9"},{"key":"Bearer sk-demo-8"}],"file":"a.keys"}`, 400, "nothing was added: keys[1]: 'Bearer' stands in front"},
		{"POST", "/keys", `{"keys":[` + many + `],"file":"a.keys"}`, 400, "; and 2 more"},
		{"POST", "/keys", `{"keys":[{"key":"sk-demo-9","name":"east"}],"file":"b.keys"}`, 409, "nothing was added: "},
		{"POST", "/keys", `{"keys":[{"key":"sk-demo-9","name":"sk-demo-8"}],"file":"a.keys"}`, 400, "looks like a key (not shown)"},
		{"POST", "/keys", `{"keys":[]}`, 400, "the body must be"},
		{"POST", "/keys", `{"keys":["sk-demo-9"]}`, 400, "the body must be"},
		{"POST", "/keys", `{"key":"sk-demo-9"}`, 400, "the body must be"},
		{"POST", "/keys", `{"keys":[{"key":"sk-demo-9"`, 400, "the body must be"},
		{"DELETE", "/keys/" + idOf("sk-demo-both"), "", 409, "also stands at fixed.keys:1, which is not managed: take it away there first"},
		{"DELETE", "/keys/" + idOf("sk-demo-inline"), "", 409, "stands at keys: key 1, which is not managed: take it away there"},
	} {
		status, body := adminapi.Ask(row.method, pool+row.path, row.body)
		if status != row.status || !strings.Contains(body, row.says) {
			t.Errorf("%s %s: %d %s, want %d and %s", row.method, row.body, status, body, row.status, row.says)
		}
		if strings.Contains(body, "sk-demo") {
			t.Errorf("%s %s: it shows %s", row.method, row.body, body)
		}
	}
	has(t, path, both)
	has(t, other, "")
}

// A file that was there and is gone is not made anew with one key, and one that is bad is not
// made longer.
func TestNothingIsAddedToAFileThatIsGoneOrBad(t *testing.T) {
	name := testkit.FreshPool("gone-test")
	path := written(t, "demo.keys", "sk-demo-1\n")
	g := managedPool(t, name, written(t, "fixed.keys", "sk-demo-fixed\n"), path)
	add := func() (int, string) {
		return adminapi.Ask("POST", "/keycycler/pools/"+name+"/keys", `{"keys":[{"key":"sk-demo-2"}]}`)
	}
	const bad = "sk-demo-1\nKEY=sk-demo-3\n"
	if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, body := add(); status != http.StatusConflict || !strings.Contains(body, "demo.keys:2: a variable's name and = stand in front") || strings.Contains(body, "sk-demo") {
		t.Errorf("a bad file: %d %s", status, body)
	}
	has(t, path, bad)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if status, body := add(); status != http.StatusConflict || !strings.Contains(body, "it was there and is gone") {
		t.Errorf("a file that is gone: %d %s", status, body)
	}
	if _, err := os.Stat(path); err == nil || g.KeyPool().Len() != 3 {
		t.Errorf("it was made, or the pool has %d keys: %v", g.KeyPool().Len(), err)
	}
}

// Another pool that reads the same file has the key at once, too; and so have all sites of
// one pool.
func TestAllPoolsOfAFileHaveItsKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared.keys")
	rank := rotator.Rank{Tier: 1, Weight: 1}
	groups := []keyset.Group{{Rank: rank, Files: []string{path}, Managed: true}}
	var all []*gateway.Gateway
	for _, pool := range []string{"one", "one", "two"} {
		all = append(all, pools.New(t, 0, func(c *gateway.Config) {
			c.Pool, c.Keys = pool, &keyset.Source{Groups: &groups, Log: zap.NewNop()}
			if len(all) > 0 {
				c.Registry, c.State = all[0].Registry, all[0].State
			}
		}))
	}
	adminapi.AskFor[observe.KeysAdded](t, "POST", "/keycycler/pools/one/keys", `{"keys":[{"key":"sk-demo-1"}]}`)
	for i, g := range all {
		if g.KeyPool().Len() != 1 {
			t.Errorf("gateway %d has %d keys", i, g.KeyPool().Len())
		}
	}
	got := adminapi.AskFor[observe.KeyRemoved](t, "DELETE", "/keycycler/pools/one/keys/"+idOf("sk-demo-1"), "")
	for i, g := range all {
		if g.KeyPool().Len() != 0 || len(got.Files) != 1 {
			t.Errorf("gateway %d has %d keys; removed %+v", i, g.KeyPool().Len(), got)
		}
	}
}

// Pages of other sites cannot make a browser add or remove keys.
func TestOtherSitesAddNoKeys(t *testing.T) {
	name := testkit.FreshPool("cross-test")
	path := written(t, "demo.keys", "sk-demo-1\n")
	managedPool(t, name, written(t, "fixed.keys", "sk-demo-fixed\n"), path)
	for method, target := range map[string]string{"POST": "/keys", "DELETE": "/keys/" + idOf("sk-demo-1")} {
		r := httptest.NewRequest(method, "/keycycler/pools/"+name+target, strings.NewReader(`{"keys":[{"key":"sk-demo-2"}]}`))
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		adminapi.Mux().ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	has(t, path, "sk-demo-1\n")
}

// Operators add and remove keys while others do, while requests go on and while the file is
// watched: nothing is lost.
func TestKeysAreAddedAtOnce(t *testing.T) {
	const operators, each = 6, 8
	name := testkit.FreshPool("at-once-test")
	path := written(t, "demo.keys", "# ours\n")
	g := managedPool(t, name, written(t, "fixed.keys", "sk-demo-fixed\n"), path)
	var all sync.WaitGroup
	for o := range operators {
		all.Go(func() {
			for i := range each {
				secret := fmt.Sprintf("sk-demo-%d-%d", o, i)
				status, body := adminapi.Ask("POST", "/keycycler/pools/"+name+"/keys", `{"keys":[{"key":"`+secret+`"}]}`)
				if status != http.StatusOK || !inPool(g, rotator.IDOf(secret)) {
					t.Errorf("%d %s", status, body)
				}
				if i%2 == 0 {
					continue
				}
				if status, body := adminapi.Ask("DELETE", "/keycycler/pools/"+name+"/keys/"+idOf(secret), ""); status != http.StatusOK || inPool(g, rotator.IDOf(secret)) {
					t.Errorf("%d %s", status, body)
				}
			}
		})
	}
	all.Wait()
	if n := g.KeyPool().Census(time.Now()).Ready; n != 2+operators*each/2 {
		t.Errorf("the pool has %d keys, want %d", n, 2+operators*each/2)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 1+operators*each/2 {
		t.Errorf("the file has %q, %v", text, err)
	}
}
