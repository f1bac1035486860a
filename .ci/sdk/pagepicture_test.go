package sdk

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// demoKeys are a keys file: with a name behind each key.
func demoKeys(t *testing.T, file string, first int, names ...string) string {
	t.Helper()
	var text strings.Builder
	for i, name := range names {
		fmt.Fprintln(&text, keyPrefix+fmt.Sprint(first+i), name)
	}
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// company has three pools: one that does well, one with keys of two groups that somebody
// should look after, one that is out.
func company(t *testing.T) blockOf {
	t.Helper()
	team := demoKeys(t, "team.keys", 1, "team-a", "team-b", "team-c", "team-d")
	spare := demoKeys(t, "spare.keys", 5, "spare-1", "spare-2")
	batch := demoKeys(t, "batch.keys", 20, "batch-1", "batch-2")
	eu := demoKeys(t, "eu.keys", 30, "east-1", "east-2", "west-1", "west-2", "west-3")
	prices := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(prices, []byte(`{"demo-model": {"input": 2.5, "output": 10, "cached": 1.25}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const site = "handle /%[1]s/* {\nuri strip_prefix /%[1]s\nkeycycler %[1]s {\n%[2]s\nprices %[3]q\nusage on\n" + exact + "\n}\nreverse_proxy %[4]s\n}\n"
	file := func(path, options string) string { return fmt.Sprintf("keys_file %q {\n%s\n}", path, options) }
	return func(up *upstream) string {
		openai := file(team, "managed") + "\n" + file(spare, "managed\ngroup spare\ntier 2")
		return fmt.Sprintf(site, "openai", openai, prices, up.url) +
			fmt.Sprintf(site, "openai-batch", file(batch, "managed"), prices, up.url) +
			fmt.Sprintf(site, "openai-eu", file(eu, "managed"), prices, up.url)
	}
}

// at sends n requests to the pool, whatever comes of them.
func (g *operators) at(t *testing.T, pool string, n int) {
	t.Helper()
	for range n {
		request, err := http.NewRequest("POST", strings.TrimSuffix(g.plain, "/v1")+"/"+pool+"/v1/chat/completions", strings.NewReader(`{"model":"demo-model","stream":false}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
}

// The pictures of the README: what a person sees who comes to a gateway in need.
func TestPagePictures(t *testing.T) {
	b, moods := startBrowser(t), new(moods)
	g := startOperators(t, startUpstream(t, moods.refuse), true, company(t))
	g.at(t, "openai-eu", 7)
	g.at(t, "openai", 23)
	moods.set("sk-demo-1", rateLimited(1300).proven(requestsReset))
	moods.set("sk-demo-2", spentQuota())
	for _, key := range []string{"sk-demo-20", "sk-demo-21"} {
		moods.set(key, rateLimited(420).proven(requestsReset))
	}
	g.at(t, "openai", 14)
	g.at(t, "openai", 5)
	g.at(t, "openai-batch", 1)
	response, err := http.Post(g.admin+"/keycycler/pools/openai/keys/"+idOf("sk-demo-6")+"/disable", "", nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the key is not disabled: %v %v", response, err)
	}
	response.Body.Close()

	for _, look := range []struct {
		name string
		o    options
	}{
		{"page-light", options{"colorScheme": "light", "viewport": window(1280, 900)}},
		{"page-dark", options{"colorScheme": "dark", "viewport": window(1280, 900)}},
		{"page-narrow", options{"colorScheme": "light", "viewport": window(390, 844), "isMobile": true, "hasTouch": true}},
		{"page-1024", options{"colorScheme": "dark", "viewport": window(1024, 768)}},
	} {
		page := b.open(t, look.o)
		page.visit(g.admin + "/keycycler/?pool=openai&by=key")
		page.show("#live:has-text('Updated')")
		if first := get[string](page, "text", ".card:first-child h2"); first != "openai-batch" {
			t.Errorf("the first pool is %s, and openai-batch is out", first)
		}
		page.show("#k" + idOf("sk-demo-1") + ":has-text('team-a')")
		if u := get[string](page, "text", "#usage"); !strings.Contains(u, "team-a") {
			t.Errorf("usage of no key: %s", u)
		}
		page.check(look.name)
		page.shoot(look.name, true)
		page.do("click", "#k"+idOf("sk-demo-2")+" a:has-text('Remove…')")
		page.show("#notice form:has-text('(team-b) from team.keys:2?')")
		page.check(look.name + " asks")
		page.shoot(look.name+" asks", false)
		page.checkClean()
	}
}
