package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// Two blocks of keys serve some models each: a request gets keys of its model alone, one for
// a model that no key serves a 404, and the list of models comes from the config.
func TestModelsThroughCaddy(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	g := startGateway(t, fmt.Sprintf(`
		log_append outcome {http.keycycler.outcome}
		log_append attempts {http.keycycler.attempts}
		keycycler {
			keys sk-small-1 sk-small-2 {
				models gpt-demo-mini embed-*
			}
			keys sk-large-1 {
				models gpt-demo
				tier 2
			}
			models_endpoint on
		}
		reverse_proxy %s`, upstream.URL))
	ask := func(model string) (*http.Response, string) {
		r := live.Request(t, "POST", g.plain+"/v1/chat/completions", fmt.Sprintf(`{"model":%q,"messages":[]}`, model))
		r.Header.Set("Content-Type", "application/json")
		res, body := live.Do(t, http.DefaultClient, r)
		return res, string(body)
	}
	used := func() map[string]int {
		keys := make(map[string]int)
		for _, c := range upstream.Seen() {
			keys[c.Key]++
		}
		return keys
	}
	for range 20 {
		for _, model := range []string{"gpt-demo", "gpt-demo-mini", "embed-3"} {
			if res, body := ask(model); res.StatusCode != 200 {
				t.Fatalf("%s: %s %s", model, res.Status, body)
			}
		}
	}
	if keys := used(); keys["sk-large-1"] != 20 || keys["sk-small-1"] != 20 || keys["sk-small-2"] != 20 {
		t.Errorf("keys were used %v, want each 20 times", keys)
	}
	for range 5 {
		if res, body := ask("gpt-unknown"); res.StatusCode != 404 || !strings.Contains(body, `"code":"model_not_found"`) || !strings.Contains(body, "`gpt-unknown`") {
			t.Errorf("an unknown model: %s %s", res.Status, body)
		}
	}
	live.Eventually(t, "the access log tells the outcome", func() bool {
		entries := g.logged("handled request")
		last := entries[len(entries)-1]
		return last["outcome"] == "unknown_model" && fmt.Sprint(last["attempts"]) == "0"
	})
	if n := len(g.logged("no key serves the model: add it to the models of a block of keys")); n != 1 {
		t.Errorf("%d lines tell of the unknown model", n)
	}
	res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/v1/models", ""))
	if list := `{"object":"list","data":[{"id":"gpt-demo",`; res.StatusCode != 200 || !strings.HasPrefix(string(body), list) || strings.Contains(string(body), "embed-") {
		t.Errorf("the list: %s %s", res.Status, body)
	}
	if res, body := live.Do(t, http.DefaultClient, live.Request(t, "HEAD", g.plain+"/v1/models", "")); res.StatusCode != 200 || len(body) != 0 {
		t.Errorf("its head: %s %s", res.Status, body)
	}
	if n := len(upstream.Seen()); n != 60 {
		t.Errorf("the upstream had %d calls, want 60", n)
	}

	// The keys of one model meet their limit: it is exhausted, and the other is not.
	upstream.Limit("sk-small-1")
	upstream.Limit("sk-small-2")
	upstream.Prove()
	if res, body := ask("gpt-demo-mini"); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("at its limit: %s %s", res.Status, body)
	}
	if res, body := ask("gpt-demo"); res.StatusCode != 200 {
		t.Errorf("the other model: %s %s", res.Status, body)
	}
}
