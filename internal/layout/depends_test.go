package layout

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// direct are the modules that go.mod requires for this module's own code, and why. Another
// one needs a reason here: what Caddy has already costs nothing, and what only tests import
// is in nobody's binary.
var direct = map[string]string{
	"github.com/caddyserver/caddy/v2":     "what this is a module of",
	"github.com/redis/go-redis/v9":        "state redis: single, Sentinel and Cluster, TLS, scripts",
	"github.com/andybalholm/brotli":       "bodies and answers in br: models, ids and refusals are read within",
	"github.com/klauspost/compress":       "the same in zstd; Caddy's own",
	"github.com/dustin/go-humanize":       "sizes in a Caddyfile, as Caddy reads them; Caddy's own",
	"github.com/prometheus/client_golang": "metrics on Caddy's registry; Caddy's own",
	"github.com/spf13/cobra":              "the command, as Caddy's are made; Caddy's own",
	"github.com/spf13/pflag":              "its flags; Caddy's own",
	"github.com/caddyserver/certmagic":    "whether Caddy's storage is the file system, and where; Caddy's own",
	"go.opentelemetry.io/otel":            "attributes of spans; Caddy's own",
	"go.opentelemetry.io/otel/trace":      "the request's span; Caddy's own",
	"go.uber.org/zap":                     "the log; Caddy's own",
	"go.yaml.in/yaml/v3":                  "LiteLLM's configs, from which keys are imported; Caddy's own",
	"golang.org/x/net":                    "names of headers, HTTP/2 trailers, SOCKS; Caddy's own",
	"golang.org/x/sys":                    "whether a client that waits is still there; Caddy's own",
	"golang.org/x/term":                   "keys that are typed do not show; Caddy's own",

	"github.com/alicebob/miniredis/v2":   "tests: a Redis within the process",
	"github.com/prometheus/client_model": "tests: what a registry gathers",
	"github.com/quic-go/quic-go":         "tests: an HTTP/3 client",
	"go.opentelemetry.io/proto/otlp":     "tests: spans as they are exported",
	"google.golang.org/protobuf":         "tests: spans as they are exported",
}

// added are the modules that a Caddy with keycycler has, and a plain one does not.
var added = map[string]string{
	"github.com/keycycler/keycycler": "",
	"github.com/redis/go-redis/v9":   "",
	"go.uber.org/atomic":             "go-redis'",
	"github.com/andybalholm/brotli":  "",
}

// goList runs go list at the root.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	var complaint strings.Builder
	cmd.Dir, cmd.Stderr = root, &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &complaint)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	return slices.Compact(lines)
}

// Each module that go.mod requires directly has its reason, and no reason has lost its module.
func TestDirectDependenciesHaveAReason(t *testing.T) {
	required := goList(t, "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all")
	for _, m := range required {
		if direct[m] == "" {
			t.Errorf("go.mod requires %s: say why, or do without it", m)
		}
	}
	for m := range direct {
		if !slices.Contains(required, m) {
			t.Errorf("%s has a reason, and go.mod does not require it", m)
		}
	}
}

// A Caddy with keycycler has nothing in it but a plain Caddy, keycycler, and what stands
// above. What is for tests alone is not in it.
func TestWhatTheBinaryHas(t *testing.T) {
	modules := func(of string) []string {
		return goList(t, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", of)
	}
	plain, with := modules("github.com/caddyserver/caddy/v2/cmd/caddy"), modules("./examples/caddy")
	if len(plain) < 100 || len(with) < len(plain) {
		t.Fatalf("%d modules of a plain Caddy, %d with keycycler", len(plain), len(with))
	}
	more := slices.DeleteFunc(slices.Clone(with), func(m string) bool { return slices.Contains(plain, m) })
	if want := slices.Sorted(maps.Keys(added)); !slices.Equal(more, want) {
		t.Errorf("keycycler adds %v, want %v", more, want)
	}
	for m, why := range direct {
		forTests, own := strings.HasPrefix(why, "tests: "), strings.HasSuffix(why, "Caddy's own")
		if own && !slices.Contains(plain, m) {
			t.Errorf("a plain Caddy does not have %s", m)
		}
		if _, adds := added[m]; forTests && adds {
			t.Errorf("%s is in the binary", m)
		}
	}
}
