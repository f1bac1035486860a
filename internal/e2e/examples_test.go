package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// adaptExample returns an example as JSON. Caddyfiles are adapted.
func adaptExample(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".json") {
		return text
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": path})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("%s:%d: %s", w.File, w.Line, w.Message)
	}
	return config
}

func TestEveryExampleProvisions(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string]string{
		"openai.keys":    "sk-demo-1\nsk-demo-2\n",
		"anthropic.keys": "sk-demo-3\n",
		"reseller.keys":  "sk-demo-4\n",
		"redis-ca.pem":   string(authority),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("REDIS_PASSWORD", "demo")
	for i, name := range []string{"AZURE_EAST_KEY", "AZURE_WEST_KEY", "AZURE_RESERVE_KEY"} {
		t.Setenv(name, fmt.Sprint("demo-azure-", i))
	}
	// What stands in the examples is not on this machine.
	local := strings.NewReplacer("/etc/caddy/", dir+"/", "redis.internal:6379", "127.0.0.1:"+live.FreePort(t))
	examples, err := filepath.Glob("../../examples/*.Caddyfile")
	if err != nil || len(examples) < 6 {
		t.Fatalf("examples: %v, %v", examples, err)
	}
	for _, path := range append(examples, "../../examples/openai.json") {
		t.Run(path, func(t *testing.T) {
			var config caddy.Config
			text := local.Replace(string(adaptExample(t, path)))
			if err := json.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&config); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheJSONExampleIsTheCaddyfiles(t *testing.T) {
	var fromCaddyfile, fromJSON any
	if err := json.Unmarshal(adaptExample(t, "../../examples/openai.Caddyfile"), &fromCaddyfile); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(adaptExample(t, "../../examples/openai.json"), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromCaddyfile, fromJSON) {
		t.Error("examples/openai.json differs: go run ./examples/caddy adapt --config examples/openai.Caddyfile --pretty")
	}
}

// security.md shows the filter of the example.
func TestTheLogFilterIsThePages(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(page), "```caddyfile\n# log filter\n")
	shown, _, _ = strings.Cut(shown, "```")
	if want := live.LogFilter(t); lines(shown) != lines(want) || want == "" {
		t.Errorf("security.md has\n%s\nthe example has\n%s", shown, want)
	}
}

// lines returns the text without indentation.
func lines(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimSpace(line))
	}
	return strings.TrimSpace(strings.Join(all, "\n"))
}
