package sdk

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Who gets to see the page. Caddy itself keeps browsers from its admin endpoint,
// until the config lets them in: where that ever changes, docs/operate.md is wrong.
func TestPageAccess(t *testing.T) {
	b := startBrowser(t)
	up := startUpstream(t, never)
	usual, open := startOperators(t, up, false, mainPool), startOperators(t, up, true, mainPool)
	for _, row := range []struct {
		name   string
		url    string
		o      options
		status int
		text   string
	}{
		{"a browser at Caddy's usual admin endpoint", usual.admin + "/keycycler/", nil, http.StatusForbidden, "client is not allowed to access from origin ''"},
		{"a browser where the origins have it", open.admin + "/keycycler/", nil, http.StatusOK, "Keys of main"},
		{"by another name for the same endpoint", strings.Replace(open.admin, "127.0.0.1", "localhost", 1) + "/keycycler/", nil, http.StatusForbidden, "host not allowed"},
		{"a site that asks for a password, with it", usual.site + "/ops/", options{"httpCredentials": credentials}, http.StatusOK, "Keys of main"},
		{"without it", usual.site + "/ops/", nil, http.StatusUnauthorized, ""},
		{"with another", usual.site + "/ops/", options{"httpCredentials": map[string]string{"username": "operator", "password": "guess"}}, http.StatusUnauthorized, ""},
		{"a site that asks for none", usual.site + "/open/", nil, http.StatusForbidden, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := b.open(t, row.o).visit(row.url)
			if got.Status != row.status || !strings.Contains(got.Text, row.text) || (row.status != http.StatusOK && strings.Contains(got.Text, "main")) {
				t.Errorf("the browser got %d: %s", got.Status, got.Text)
			}
		})
	}
}

// hostile is a page of somebody else's that disables every key, if it can.
const hostile = `<!doctype html><form method="post" action="%s?id=all">
<input name="pool" value="main"><input name="verb" value="disable"><button>Win a prize</button></form>`

// A page of another site cannot press the page's buttons, be the operator logged in
// or not, and say what it may about where it is.
func TestPageForgery(t *testing.T) {
	b := startBrowser(t)
	g := startOperators(t, startUpstream(t, never), true, mainPool)
	for _, target := range []string{g.admin + "/keycycler/", g.site + "/ops/keys"} {
		for _, policy := range []string{"unsafe-url", "no-referrer"} {
			t.Run(target+", "+policy, func(t *testing.T) {
				elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/html")
					w.Header().Set("Referrer-Policy", policy)
					fmt.Fprintf(w, hostile, target)
				}))
				t.Cleanup(elsewhere.Close)
				page := b.open(t, options{"httpCredentials": credentials})
				page.visit(target) // the browser knows the password from now on
				page.visit(elsewhere.URL)
				if status := get[int](page, "submit", "button"); status < 400 || status > 403 {
					t.Errorf("status %d", status)
				}
				if k := g.status(t, mainPool.name, idOf(mainPool.key(0))); k.State != "ready" {
					t.Errorf("the key is %s", k.State)
				}
			})
		}
	}
}
