//go:build unix

package docs

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// The README's fallback: while no key of the first pool is ready, the second provider
// answers, with a key of its own and the whole body.
func TestTheRecipeForAFallback(t *testing.T) {
	limited := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "40")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer limited.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, r.Header.Get("Authorization")+" "+string(body))
	}))
	defer other.Close()

	s := inEmptyFolder(t)
	address := "localhost:" + live.FreePort(t)
	recipe := strings.NewReplacer("llm.example.com {", "http://"+address+" {",
		"/etc/caddy/", s.folder+"/", "https://api.openai.com", limited.URL, "https://llm.example.net", other.URL)
	for name, content := range map[string]string{
		"openai.keys": "sk-demo-1\n", "other.keys": "sk-demo-2\n",
		"Caddyfile": "{\nadmin off\npersist_config off\nauto_https off\n}\n" + recipe.Replace(fallback(t)),
	} {
		if err := os.WriteFile(filepath.Join(s.folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ended := s.background("caddy run --config Caddyfile")
	s.await(address, ended)
	for range 3 {
		const body = `{"model":"demo-model"}`
		res, err := http.Post("http://"+address+"/v1/chat/completions", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || string(got) != "Bearer sk-demo-2 "+body {
			t.Errorf("%s %q, %v", res.Status, got, err)
		}
	}
}

func fallback(t *testing.T) string {
	t.Helper()
	for _, b := range blocksOf(t, readme, "caddyfile") {
		if strings.Contains(b.text, "exhausted error") {
			return b.text
		}
	}
	t.Fatal("the README has no fallback")
	return ""
}
