package command

import (
	"os"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// TestMain makes the test binary a caddy command where a test has it run itself again.
func TestMain(m *testing.M) {
	if os.Getenv("KEYCYCLER_TEST_CADDY") == "1" {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}
