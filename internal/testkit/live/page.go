package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ReadFile reads a file of the module by its path from the root, whichever package's
// test asks.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err = os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if up := filepath.Dir(dir); up != dir {
			dir, err = up, nil
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// LogFilter returns the format of examples/log-filter.Caddyfile.
func LogFilter(t testing.TB) string {
	t.Helper()
	_, filter, _ := strings.Cut(ReadFile(t, "examples/log-filter.Caddyfile"), "log default {\n")
	filter, _, found := strings.Cut(filter, "\n\t}\n}")
	if !found {
		t.Fatal("the example has no filter")
	}
	return filter
}
