package nodes

import (
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
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
		http.DefaultClient.Transport = steady{http.DefaultTransport.(*http.Transport).Clone()}
		live.MoreAtATime()
		os.Exit(m.Run())
	}
	if len(os.Args) > 1 && os.Args[1] == "run" {
		// The tests hold the other end: a node ends with them, however they end.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
		// A node that has just begun to serve may not listen to signals yet: one would kill it.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM)
	}
	caddycmd.Main()
}

// steady is a transport of tests that run at a time: when one of them ends idle connections,
// as every httptest.Server does with http.DefaultTransport's, a request of another that has
// just taken up one of these is sent again.
type steady struct{ *http.Transport }

func (s steady) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		res, err := s.Transport.RoundTrip(r)
		if err == nil || !strings.Contains(err.Error(), "CloseIdleConnections called") || r.Body != nil && r.GetBody == nil {
			return res, err
		}
		if r.Body != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}
