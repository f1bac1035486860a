package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// standin is a provider that can be out. It tells of each request that it serves.
type standin struct {
	*httptest.Server
	out atomic.Pointer[string] // how it is out; "": it is not
}

func startStandin(t *testing.T, name string) *standin {
	t.Helper()
	s := new(standin)
	s.is("")
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch out := *s.out.Load(); {
		case err != nil:
			w.WriteHeader(http.StatusTeapot)
		case out == "limited":
			w.Header().Set("Retry-After", "1")
			w.Header().Set("X-Of", name)
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, live.RateLimitBody)
		case out == "revoked":
			w.Header().Set("X-Of", name)
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`)
		default:
			var asked struct{ Model, X string }
			err := json.Unmarshal(body, &asked)
			fmt.Fprintf(w, "%s %s %s %s %d %v", name, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.URL.Path, asked.Model, len(asked.X), err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// is says how the provider is out from now on.
func (s *standin) is(out string) { s.out.Store(&out) }

// exampleSite returns the directives of the site in an example, with local addresses and
// files.
func exampleSite(t *testing.T, path string, local *strings.Replacer) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, site, found := strings.Cut(string(text), "llm.example.com {\n\tlog\n")
	end := strings.LastIndex(site, "}")
	if !found || end < 0 {
		t.Fatalf("%s has no such site", path)
	}
	return local.Replace(site[:end])
}

// The example of a fallback does what it says: the second provider stands in within the
// same request, at another address with another base path, the third by handle_errors, each
// by its own name of the model; and each steps back by itself.
func TestTheExampleOfAFallback(t *testing.T) {
	first, second, third := startStandin(t, "first"), startStandin(t, "second"), startStandin(t, "third")
	files := t.TempDir()
	for name, content := range map[string]string{
		"openai.keys": "sk-stand-1\nsk-stand-2\n", "reseller.keys": "sk-stand-3\n", "anthropic.keys": "sk-stand-4\n",
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	local := strings.NewReplacer("/etc/caddy/", files+"/", "https://api.openai.com", first.URL,
		"https://llm.example.net", second.URL, "https://api.anthropic.com", third.URL)
	g := startGateway(t, exampleSite(t, "../../examples/fallback.Caddyfile", local))
	clients := g.protocolClients()
	const path, size = "/v1/chat/completions", 100_000
	ask := func(protocol, model string) (*http.Response, string) {
		client := clients[protocol]
		r := live.Request(t, http.MethodPost, client.url+path, `{"x":"short","model":"`+model+`","x":"`+strings.Repeat("x", size)+`"}`)
		r.Header.Set("Authorization", "Bearer of-the-client")
		r.Header.Set("Content-Type", "application/json")
		res, got := live.Do(t, client.client, r)
		return res, string(got)
	}
	isOf := func(want string) bool {
		res, got := ask("HTTP/1.1", "another")
		for _, header := range []string{"Retry-After", "X-Of"} {
			if res.Header.Get(header) != "" {
				t.Errorf("%s: the client got %s: %s", want, header, res.Header.Get(header))
			}
		}
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: the client got %s, %.200s", want, res.Status, got)
		}
		return strings.HasPrefix(got, want+" ") && strings.HasSuffix(got, fmt.Sprint(" another ", size, " <nil>"))
	}
	at := map[string]string{
		"first": "first sk-stand-", "second": "second sk-stand-3 /openai" + path, "third": "third sk-stand-4 " + path,
	}
	for _, step := range []struct{ first, second, serves string }{
		{"", "", "first"},
		{"limited", "", "second"},
		{"limited", "limited", "third"},
		{"revoked", "revoked", "third"},
		{"revoked", "", "second"},
		{"", "", "first"},
	} {
		first.is(step.first)
		second.is(step.second)
		live.Eventually(t, step.serves+" serves", func() bool { return isOf(step.serves) })
		for protocol := range clients {
			for model, there := range map[string]string{
				"gpt-4o":      map[string]string{"first": "gpt-4o", "second": "openai/gpt-4o", "third": "claude-sonnet-4-5"}[step.serves],
				"gpt-4o-mini": map[string]string{"first": "gpt-4o-mini", "second": "gpt-4o-mini", "third": "claude-sonnet-4-5"}[step.serves],
			} {
				_, got := ask(protocol, model)
				if want := fmt.Sprint(" ", there, " ", size, " <nil>"); !strings.HasPrefix(got, at[step.serves]) || !strings.HasSuffix(got, want) {
					t.Errorf("%+v, %s: the answer is %s, want%s", step, protocol, got, want)
				}
			}
		}
	}
}
