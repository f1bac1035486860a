package keycycler_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
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
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("sk-demo-1\nsk-demo-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("examples/*.*")
	if err != nil || len(examples) < 3 {
		t.Fatalf("examples: %v, %v", examples, err)
	}
	for _, path := range examples {
		t.Run(path, func(t *testing.T) {
			var config caddy.Config
			text := bytes.ReplaceAll(adaptExample(t, path), []byte("/etc/caddy/openai.keys"), []byte(keys))
			if err := json.Unmarshal(text, &config); err != nil {
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
	if err := json.Unmarshal(adaptExample(t, "examples/openai.Caddyfile"), &fromCaddyfile); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(adaptExample(t, "examples/openai.json"), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromCaddyfile, fromJSON) {
		t.Error("examples/openai.json differs: go run ./examples/caddy adapt --config examples/openai.Caddyfile --pretty")
	}
}
