package nodes

import (
	"io"
	"net/http"
	"os"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/keycycler/keycycler"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// nodeEnv makes the test binary a caddy command: a real process with this module
// in it, without a build.
const nodeEnv = "KEYCYCLER_TEST_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(nodeEnv) != "1" {
		http.DefaultClient.Timeout = live.Patience
		live.MoreAtATime()
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
