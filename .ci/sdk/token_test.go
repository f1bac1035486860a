package sdk

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// Options that let the clients of these tests in, or others alone.
const (
	ownToken     = "client_tokens sdk:" + clientKey
	othersTokens = "client_tokens demo-token-of-another"
)

// strangerMessage is how the gateway's message begins to whom it does not let in.
const strangerMessage = "Incorrect API key provided"

// A client whose API key is a token of the gateway's is served.
func TestToken(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up := startUpstream(t, never)
		g := startGateway(t, up, 2, ownToken)
		got := c.chat(t, &stage{up: up, base: base(g)}).ok(t)
		if got.Text != reply {
			t.Errorf("the client got %q", got.Text)
		}
		checkCalls(t, up.seen())
	})
}

// Any other client raises its own error for wrong keys, and does not try again.
func TestWrongToken(t *testing.T) {
	eachClient(t, func(t *testing.T, c client, base func(*gateway) string) {
		up := startUpstream(t, never)
		g := startGateway(t, up, 2, othersTokens)
		hop := startHop(t, base(g))
		s := &stage{up: up, base: hop.url, retries: 2}
		checkStranger(t, c.chat(t, s).Failure, "invalid_api_key")
		checkStranger(t, c.stream(t, s).Failure, "invalid_api_key")
		if n := hop.requests.Load(); n != 2 {
			t.Errorf("the client sent %d requests, want one for each question", n)
		}
		if n := len(up.seen()); n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

// checkStranger finds fault with the error that a client raised.
func checkStranger(t *testing.T, f *failure, code string) {
	t.Helper()
	switch {
	case f == nil:
		t.Fatal("the client raised no error")
	case !f.Stranger || f.RateLimit || f.Status != http.StatusUnauthorized || f.Code != code || !strings.HasPrefix(f.Message, strangerMessage):
		t.Errorf("the client raised %+v", *f)
	}
}

func TestVendorToken(t *testing.T) {
	eachVendor(t, func(t *testing.T, v vendor) {
		up := startUpstream(t, never)
		_, hop := v.startWith(t, up, 2, ownToken)
		s := &stage{up: up, base: hop.url}
		if got := v.ask(t, s).ok(t); got.Text != reply {
			t.Errorf("the client got %q", got.Text)
		}
		v.checkKeys(t, hop, up.seen())
	})
}

func TestVendorWrongToken(t *testing.T) {
	codes := map[string]string{"openai": "invalid_api_key", "anthropic": "authentication_error", "gemini": "UNAUTHENTICATED"}
	eachVendor(t, func(t *testing.T, v vendor) {
		up := startUpstream(t, never)
		_, hop := v.startWith(t, up, 2, othersTokens)
		s := &stage{up: up, base: hop.url, retries: 2}
		checkStranger(t, v.ask(t, s).Failure, codes[v.provider])
		checkStranger(t, v.stream(t, s).Failure, codes[v.provider])
		seen := hop.seen()
		if len(seen) != 2 {
			t.Errorf("the client sent %d requests, want one for each question", len(seen))
		}
		for _, one := range seen {
			if got := one.header.Get("Www-Authenticate"); got != `Bearer realm="keycycler", error="invalid_token"` {
				t.Errorf("WWW-Authenticate: %s", got)
			}
		}
		if n := len(up.seen()); n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

// A websocket is opened with a token alone, whichever way it comes.
func TestRealtimeToken(t *testing.T) {
	for name, talk := range map[string]func(t *testing.T, s *stage) talk{
		"openai-go": goRealtime, "coder/websocket as a browser": browserRealtime,
	} {
		t.Run(name, func(t *testing.T) {
			up := startUpstream(t, never)
			g := startGateway(t, up, 2, ownToken)
			if got := talk(t, &stage{up: up, base: g.plain}); got.Text != longText {
				t.Errorf("the long text came back with %d bytes", got.Text)
			}
			checkCalls(t, up.seen())
		})
	}
	up := startUpstream(t, never)
	g := startGateway(t, up, 2, othersTokens)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, answer, err := websocket.Dial(ctx, g.plain+"/realtime?model=demo-model", &websocket.DialOptions{
		Subprotocols: []string{"realtime", "openai-insecure-api-key." + clientKey},
	})
	if err == nil {
		conn.CloseNow() // it should not be open
		t.Fatal("a wrong token opens a websocket")
	}
	if answer == nil || answer.StatusCode != http.StatusUnauthorized || len(up.seen()) != 0 {
		t.Errorf("%v, %v, %d calls", answer, err, len(up.seen()))
	}
}
