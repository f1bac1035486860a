package check

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/testkit"
)

// A handler that panics ends the check, and nothing else: checks that a pool makes by itself
// have no server that would recover.
func TestAPanicIsAFailure(t *testing.T) {
	for _, row := range []struct {
		panics any
		want   string
	}{
		{"at the disco", "a handler behind keycycler panicked: at the disco"},
		{http.ErrAbortHandler, ""},
		{nil, ""},
	} {
		err := serve(caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusOK)
			if row.panics != nil {
				panic(row.panics)
			}
			return nil
		}), new(recorder), new(http.Request))
		if text := testkit.Message(err); text != row.want {
			t.Errorf("%v: %q, want %q", row.panics, text, row.want)
		}
	}
}

func TestWhereAServerListens(t *testing.T) {
	for listens, want := range map[string]string{
		":8443": "127.0.0.1:8443", "127.0.0.1:80": "127.0.0.1:80", "[::1]:8080-8090": "127.0.0.1:8080",
		"unix//run/caddy.sock": "/run/caddy.sock", "": "127.0.0.1:0",
	} {
		s := new(caddyhttp.Server)
		if listens != "" {
			s.Listen = []string{listens}
		}
		if got := localOf(s).String(); got != want {
			t.Errorf("%q: %s, want %s", listens, got, want)
		}
	}
}
