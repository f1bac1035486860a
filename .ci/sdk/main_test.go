package sdk

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds whatever a test waits for. Nothing takes nearly as long: it
// turns a test that would hang into one that fails.
const patience = 60 * time.Second

// How the gateways reach the upstream.
var transport = flag.String("transport", "", "keys have the upstream for their own, and `module` is reverse_proxy's transport")

// Built once for all tests.
var (
	caddyBinary string
	edge        certificate
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "keycycler-sdk-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)

	caddyBinary = filepath.Join(dir, "caddy")
	build := exec.Command("go", "build", "-o", caddyBinary, "./examples/caddy")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building Caddy with keycycler: %w\n%s", err, out)
	}
	if edge, err = newCertificate(dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
