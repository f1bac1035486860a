package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// series returns what the gateway's metrics tell of the pool, a series a line.
func (g *gateway) series(pool string) string {
	g.t.Helper()
	http.DefaultClient.CloseIdleConnections() // a reload ends those that it had
	_, all := live.Do(g.t, http.DefaultClient, live.Request(g.t, "GET", g.plain+"/metrics", ""))
	return strings.Join(regexp.MustCompile(`(?m)^caddy_keycycler_.*pool="`+pool+`".*$`).FindAllString(string(all), -1), "\n") + "\n"
}

// A pool that the config does not have any more leaves the metrics with all that was told of
// its clients and models, and one that it still has counts on. A pool that comes back does,
// too.
func TestMetricsOfPoolsThatAreGone(t *testing.T) {
	of := func(name string) string {
		return fmt.Sprintf("handle /%s* {\nkeycycler %[1]s {\nkeys %s\nclient_tokens ada:token-of-ada-012345\nclients {\nada {\nrequests 2 1h\n}\n}\n}\nreverse_proxy %s\n}\n", name, demoKeys(3), stating(t).URL)
	}
	const metrics = "metrics /metrics\n"
	g := newGateway(t)
	g.start(metrics + of("gone-e2e") + of("stays-e2e"))
	ask := func(name string, n int) {
		t.Helper()
		for range n {
			r := live.Request(t, "POST", g.plain+"/"+name, `{"model":"demo-1"}`)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer token-of-ada-012345")
			live.Do(t, http.DefaultClient, r)
		}
	}
	ask("gone-e2e", 3)
	ask("stays-e2e", 3)
	tells := func(name string, served int) []string {
		return []string{
			fmt.Sprintf(`caddy_keycycler_attempts_total{outcome="served",pool="%s"} %d`, name, served),
			fmt.Sprintf(`caddy_keycycler_usage_answers_total{client="ada",model="demo-1",pool="%s",usage="stated"} %d`, name, served),
			fmt.Sprintf(`caddy_keycycler_client_limited_total{limit="requests",pool="%s"} 1`, name),
			fmt.Sprintf(`caddy_keycycler_upstream_failures_total{kind="connect",pool="%s"} 0`, name),
			fmt.Sprintf(`caddy_keycycler_keys{pool="%s",state="ready"} 3`, name),
		}
	}
	want := func(when, name string, lines []string) {
		t.Helper()
		got := g.series(name)
		for _, line := range lines {
			if !strings.Contains(got, line+"\n") {
				t.Errorf("%s: the metrics do not have %s\n%s", when, line, got)
			}
		}
		if len(lines) == 0 && got != "\n" {
			t.Errorf("%s: the metrics still tell of %s:\n%s", when, name, got)
		}
	}
	want("at first", "gone-e2e", tells("gone-e2e", 2))
	want("at first", "stays-e2e", tells("stays-e2e", 2))
	g.load(metrics + of("stays-e2e"))
	want("without it", "gone-e2e", nil)
	want("without the other", "stays-e2e", tells("stays-e2e", 2))
	g.load(metrics + of("gone-e2e") + of("stays-e2e"))
	want("when it is back", "gone-e2e", tells("gone-e2e", 2))
}

// With `metrics per_key`, calls and cooldowns are told by key, also after a reload; keys that
// leave their file leave the metrics; and pools without it have no such label.
func TestMetricsPerKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write := func(keys string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sk-demo-key-1\nsk-demo-key-2\n")
	upstream := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	upstream.Limit("sk-demo-key-1")
	config := func(option string) string {
		return fmt.Sprintf("metrics /metrics\nhandle /plain* {\nkeycycler plain-e2e {\nkeys sk-demo-key-3\n}\nreverse_proxy %s\n}\nhandle /keyed* {\nkeycycler keyed-e2e {\nkeys_file %s\n%s\n}\nreverse_proxy %[1]s\n}", upstream.URL, file, option)
	}
	g := newGateway(t)
	g.start(config("metrics per_key"))
	ask := func(path string) { live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain+path, "x")) }
	for range 4 {
		ask("/plain")
		ask("/keyed")
	}
	one, two := testkit.IDOf("sk-demo-key-1"), testkit.IDOf("sk-demo-key-2")
	lines := []string{
		fmt.Sprintf(`caddy_keycycler_attempts_total{key_id="%s",outcome="rate_limited",pool="keyed-e2e"} 1`, one),
		fmt.Sprintf(`caddy_keycycler_attempts_total{key_id="%s",outcome="served",pool="keyed-e2e"} 4`, two),
		fmt.Sprintf(`caddy_keycycler_cooldowns_total{class="rate_limited",key_id="%s",pool="keyed-e2e",source="retry-after"} 1`, one),
	}
	want := func(when string, lines ...string) {
		t.Helper()
		got := g.series("keyed-e2e")
		for _, line := range lines {
			if !strings.Contains(got, line+"\n") {
				t.Errorf("%s: the metrics do not have %s\n%s", when, line, got)
			}
		}
		if keyed := strings.Count(got, "key_id="); keyed != len(lines) || strings.Contains(got, `attempts_total{outcome=`) {
			t.Errorf("%s: %d series have the label, want %d, and none of attempts lacks it:\n%s", when, keyed, len(lines), got)
		}
		if plain := g.series("plain-e2e"); strings.Contains(plain, "key_id") || !strings.Contains(plain, `caddy_keycycler_attempts_total{outcome="served",pool="plain-e2e"} 4`) {
			t.Errorf("%s: of the pool without it: %s", when, plain)
		}
	}
	want("at first", lines...)
	g.load(config("metrics per_key\nmax_attempts 9"))
	want("after a reload", lines...)
	write("sk-demo-key-2\n")
	live.Eventually(t, "the key has left", func() bool { return !strings.Contains(g.series("keyed-e2e"), one) })
	want("without the key", lines[1])
	g.load(config(""))
	if got := g.series("keyed-e2e"); strings.Contains(got, "key_id") || !strings.Contains(got, `caddy_keycycler_attempts_total{outcome="served",pool="keyed-e2e"} `) {
		t.Errorf("without the option: %s", got)
	}
}
