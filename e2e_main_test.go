package keycycler_test

import (
	"io"
	"os"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// nodeEnv makes the test binary a caddy command: a real process with this module
// in it, without a build.
const nodeEnv = "KEYCYCLER_TEST_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(nodeEnv) != "1" {
		os.Exit(m.Run())
	}
	if len(os.Args) > 1 && os.Args[1] == "run" {
		// The tests hold the other end: a node ends with them, however they end.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
	}
	caddycmd.Main()
}
