//go:build unix

package docs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// browsers returns the recipe of clients.md: what stands before keycycler, and the
// options of reverse_proxy.
func browsers(t *testing.T) (before, options string) {
	t.Helper()
	for _, b := range blocksOf(t, "docs/clients.md", "caddyfile") {
		switch {
		case strings.HasPrefix(b.text, "# preflights\n"):
			before = b.text
		case strings.Contains(b.text, "header_down"):
			_, options, _ = strings.Cut(b.text, "{\n")
		}
	}
	if before == "" || options == "" {
		t.Fatal("clients.md has no recipe for browsers")
	}
	return before, options
}

// A browser takes an answer only if one Access-Control-Allow-Origin names its page, also
// where the provider has one of its own, and where there is no answer.
func TestTheRecipeForBrowsers(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "x-provider")
		if r.URL.Path == "/limited" {
			w.Header().Set("Retry-After", "40")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer provider.Close()
	before, options := browsers(t)
	address := "localhost:" + live.FreePort(t)
	config := fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\ndefault_bind 127.0.0.1\n}\nhttp://%s {\n%s\nkeycycler {\nkeys sk-demo-1\nclient_tokens %s\n}\n"+
		"@dead path /dead\nreverse_proxy @dead 127.0.0.1:1\nreverse_proxy %s {\n%s\n}\n", address, before, demoToken, provider.URL, options)
	s := inEmptyFolder(t)
	if err := os.WriteFile(filepath.Join(s.folder, "Caddyfile"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.await(address, s.background("caddy run --config Caddyfile"))

	for _, test := range []struct {
		name, method, path, token string
		status                    int
	}{
		{"a preflight", "OPTIONS", "/v1/models", "", 204},
		{"an answer", "POST", "/v1/models", demoToken, 200},
		{"a wrong token", "POST", "/v1/models", "wrong", 401},
		{"no upstream", "POST", "/dead", demoToken, 502},
		{"no key", "POST", "/limited", demoToken, 429},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+address+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", "https://app.example.com")
			r.Header.Set("Access-Control-Request-Headers", "authorization, x-stainless-lang")
			r.Header.Set("Authorization", "Bearer "+test.token)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if origins := res.Header.Values("Access-Control-Allow-Origin"); res.StatusCode != test.status || len(origins) != 1 || origins[0] != "https://app.example.com" {
				t.Errorf("%s, origins %q, want %d", res.Status, origins, test.status)
			}
			if exposed := strings.Join(res.Header.Values("Access-Control-Expose-Headers"), ","); !strings.Contains(exposed, "retry-after") || strings.Contains(exposed, "x-provider") {
				t.Errorf("exposed: %s", exposed)
			}
			if allowed := res.Header.Get("Access-Control-Allow-Headers"); test.status == 204 && allowed != "authorization, x-stainless-lang" {
				t.Errorf("allowed: %s", allowed)
			}
		})
	}
}

const demoToken = "demo-token-0123456789"
