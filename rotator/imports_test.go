package rotator

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The engine and the durations know neither Caddy nor HTTP, whatever they import
// and whatever that imports in turn.
func TestImports(t *testing.T) {
	for _, dir := range []string{".", "../ttl"} {
		t.Run(dir, func(t *testing.T) {
			// The package itself is not in the standard library either.
			foreign := list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", dir)
			if itself := list(t, dir); !slices.Equal(foreign, itself) {
				t.Errorf("depends on %v outside the standard library, want %v alone", foreign, itself)
			}
			if slices.Contains(list(t, "-deps", dir), "net/http") {
				t.Error("depends on net/http")
			}
		})
	}
}

// list returns what go list prints, a word each.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &complaint)
	}
	return strings.Fields(string(out))
}
