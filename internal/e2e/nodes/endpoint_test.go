//go:build unix

package nodes

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// The command reaches Caddy's admin endpoint however that listens, and however people write
// its address.
func TestCommandReachesAdminEndpoints(t *testing.T) {
	for _, row := range []struct {
		sentence, admin string
		addresses       string
	}{
		{"as by default", "admin 127.0.0.1:$PORT", "127.0.0.1:$PORT localhost:$PORT http://localhost:$PORT http://127.0.0.1:$PORT/ :$PORT $PORT 0.0.0.0:$PORT tcp/localhost:$PORT"},
		{"everywhere", "admin :$PORT", "127.0.0.1:$PORT http://localhost:$PORT :$PORT 0.0.0.0:$PORT"},
		{"with an origin", "admin 127.0.0.1:$PORT {\nenforce_origin\n}", "127.0.0.1:$PORT http://localhost:$PORT :$PORT"},
		{"at a socket", "admin unix/$DIR/a.sock|0600", "unix/$DIR/a.sock unix/$DIR/a.sock|0600 unix://$DIR/a.sock $DIR/a.sock"},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			n := startNode(t, nodeConfig{name: "a", keys: 2, state: "memory", upstream: "127.0.0.1:9", admin: row.admin})
			place := strings.NewReplacer("$PORT", strings.TrimPrefix(n.admin, "http://127.0.0.1:"), "$DIR", n.dir)
			for address := range strings.FieldsSeq(row.addresses) {
				address = place.Replace(address)
				out, err := n.command("keycycler", "list", "--address", address).CombinedOutput()
				if err != nil || !strings.HasPrefix(string(out), "main: openai, 2 keys: 2 ready") {
					t.Errorf("%s: %v, %s", address, err, out)
				}
			}
			if out, err := n.command("keycycler", "disable", "--config", n.file(), strings.ToUpper(idOf(0))).CombinedOutput(); err != nil || !strings.Contains(string(out), "disabled; before: ready") {
				t.Errorf("an id in upper case, by the config: %v, %s", err, out)
			}
		})
	}
}

// A shell completes the command by asking the gateway.
func TestCompletionByCaddy(t *testing.T) {
	n := startNode(t, nodeConfig{name: "a", keys: 1, state: "memory", upstream: "127.0.0.1:9"})
	for args, want := range map[string]string{
		"keycycler di": "disable\t",
		"keycycler list --address $ADMIN --pool m":       "main\n",
		"keycycler show --address $ADMIN " + idOf(0)[:3]: idOf(0) + "\tkey of main, ready\n",
	} {
		words := strings.Fields(strings.ReplaceAll(args, "$ADMIN", n.admin))
		out, err := n.command(append([]string{"__complete"}, words...)...).Output()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %v, %s", args, err, out)
		}
	}
	if out, err := n.command("completion", "bash").Output(); err != nil || !strings.Contains(string(out), "__complete") {
		t.Errorf("caddy completion bash: %v, %.100s", err, out)
	}
}

// Where the empty origin is allowed, so that browsers may show the page, another site's page
// can still change nothing. What is no browser can, and so can the page itself.
func TestOtherSitesChangeNothing(t *testing.T) {
	n := startNode(t, nodeConfig{name: "a", keys: 1, state: "memory", upstream: "127.0.0.1:9", admin: "admin 127.0.0.1:$PORT {\norigins 127.0.0.1:$PORT localhost:$PORT \"\"\n}"})
	form := url.Values{"pool": {"main"}, "id": {idOf(0)}, "verb": {"disable"}}.Encode()
	const page = "/keycycler/"
	for _, row := range []struct {
		sentence, method, path, body, headers string
		status                                int
		state                                 string
	}{
		{"another site navigates", "POST", "/keycycler/pools/main/keys/" + idOf(0) + "/disable", "", "Sec-Fetch-Site: cross-site, Sec-Fetch-Mode: navigate", 403, "ready"},
		{"another site's script", "POST", "/keycycler/pools/main/keys/disable", "", "Sec-Fetch-Site: cross-site, Sec-Fetch-Mode: cors", 403, "ready"},
		{"another host of the site", "POST", "/keycycler/pools/main/keys/disable", "", "Sec-Fetch-Site: same-site, Sec-Fetch-Mode: navigate", 403, "ready"},
		{"another site by its origin", "POST", "/keycycler/pools/main/keys/disable", "", "Origin: http://evil.test", 403, "ready"},
		{"another site sends the page's form", "POST", page, form, "Sec-Fetch-Site: cross-site, Sec-Fetch-Mode: navigate, Content-Type: application/x-www-form-urlencoded", 403, "ready"},
		{"another site links to it", "GET", "/keycycler/pools", "", "Sec-Fetch-Site: cross-site, Sec-Fetch-Mode: navigate", 200, "ready"},
		{"the page's own form", "POST", page, form, "Sec-Fetch-Site: same-origin, Sec-Fetch-Mode: navigate, Origin: $ADMIN, Content-Type: application/x-www-form-urlencoded", 303, "disabled"},
		{"curl", "POST", "/keycycler/pools/main/keys/" + idOf(0) + "/enable", "", "", 200, "ready"},
		{"the address bar", "GET", page, "", "Sec-Fetch-Site: none, Sec-Fetch-Mode: navigate", 200, "ready"},
	} {
		r := live.Request(t, row.method, n.admin+row.path, row.body)
		for header := range strings.SplitSeq(row.headers, ", ") {
			if name, value, ok := strings.Cut(header, ": "); ok {
				r.Header.Set(name, strings.ReplaceAll(value, "$ADMIN", n.admin))
			}
		}
		client := &http.Client{Timeout: live.Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res, body := live.Do(t, client, r)
		if res.StatusCode != row.status || n.keyState(0) != row.state {
			t.Errorf("%s: %d, the key is %s: %s; want %d, %s", row.sentence, res.StatusCode, n.keyState(0), body, row.status, row.state)
		}
	}
	if out, err := n.command("keycycler", "disable", "--all", "--address", n.admin).CombinedOutput(); err != nil || !strings.Contains(string(out), "disabled 1 of 1 key") {
		t.Errorf("the command: %v, %s", err, out)
	}
}
