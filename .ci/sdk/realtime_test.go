package sdk

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// talk is what came of a websocket: the client sends events, the upstream sends
// each back, and the client closes.
type talk struct {
	Protocol string   `json:"protocol"` // that the upstream chose
	Events   []string `json:"events"`   // the ids of the events that came, in order
	Text     int      `json:"text"`     // the length of the text in the last one
	Code     int      `json:"code"`     // that the connection was closed with
}

// longText makes an event of more than one read at any hop.
const longText = 300_000

// A websocket whose handshake meets a refusal is opened with the next key. Then
// messages pass both ways, and so does the closing handshake. Whichever way a
// client sends its key, as a header or, from a browser, as a sub-protocol, the
// key does not reach the upstream.
func TestRealtime(t *testing.T) {
	for _, row := range []struct {
		name     string
		talk     func(t *testing.T, s *stage) talk
		protocol string
		tls      bool // the npm package opens websockets over TLS alone
	}{
		{"openai-go", goRealtime, "", false},
		{"openai-go, TLS", goRealtime, "", true},
		{"coder/websocket as a browser", browserRealtime, "realtime", false},
		{"openai-node", nodeRealtime("realtime.mjs"), "", true},
		{"openai-node as a browser", nodeRealtime("browser.mjs"), "realtime", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			up, g := firstKeyLimited(t, 4)
			base := g.plain
			if row.tls {
				base = g.tls
			}
			got := row.talk(t, &stage{up: up, base: base})
			if want := "hello first second"; strings.Join(got.Events, " ") != want {
				t.Errorf("the client got the events %q, want %q", got.Events, want)
			}
			if got.Text != longText {
				t.Errorf("the long text came back with %d bytes", got.Text)
			}
			if got.Protocol != row.protocol {
				t.Errorf("the sub-protocol is %q, want %q", got.Protocol, row.protocol)
			}
			if got.Code != int(websocket.StatusNormalClosure) {
				t.Errorf("the client saw the connection close with %d", got.Code)
			}
			select {
			case code := <-up.closed:
				if code != int(websocket.StatusNormalClosure) {
					t.Errorf("the upstream saw the connection close with %d", code)
				}
			case <-time.After(patience):
				t.Error("the upstream did not see the connection close")
			}
			checkHandshakes(t, up.seen(), row.protocol)
		})
	}
}

func checkHandshakes(t *testing.T, calls []call, protocol string) {
	t.Helper()
	if len(calls) != 2 || calls[0].key == calls[1].key {
		t.Fatalf("%d handshakes, want 2 with different keys", len(calls))
	}
	for _, one := range calls {
		if got := one.header.Get("Sec-Websocket-Protocol"); got != protocol {
			t.Errorf("the upstream was offered the sub-protocols %q", got)
		}
	}
	checkCalls(t, calls)
}

// event is what goes to and fro.
type event struct {
	Type string `json:"type"`
	ID   string `json:"event_id"`
	Text string `json:"text,omitempty"`
}

// toSend are the events that a client sends, one after the other's echo.
func toSend() []event {
	return []event{
		{Type: "demo", ID: "first"},
		{Type: "demo", ID: "second", Text: strings.Repeat("x", longText)},
	}
}

// note keeps a message that came.
func (r *talk) note(t *testing.T, message []byte) {
	t.Helper()
	var e event
	if err := json.Unmarshal(message, &e); err != nil {
		t.Fatalf("no event: %v", err)
	}
	r.Events, r.Text = append(r.Events, e.ID), len(e.Text)
}
