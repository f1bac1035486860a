package sdk

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/coder/websocket"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/realtime"
)

// goRealtime talks through the Go module, which sends the key as a header.
func goRealtime(t *testing.T, s *stage) talk {
	api, ctx := goClient{}.connect(t, s)
	conn, err := api.Realtime.Connect(ctx, realtime.RealtimeConnectionOptions{}, option.WithQuery("model", "demo-model"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Abort()
	var r talk
	for events := toSend(); ; events = events[1:] {
		message, err := conn.RecvRaw(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r.note(t, message)
		if len(events) == 0 {
			break
		}
		if err := conn.SendRaw(ctx, encode(t, events[0])); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	r.Code = int(websocket.StatusNormalClosure) // Close has waited for the upstream's
	return r
}

// browserRealtime talks as OpenAI's guide says for browsers, which cannot set
// headers: the key is a sub-protocol.
func browserRealtime(t *testing.T, s *stage) talk {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.base+"/realtime?model=demo-model", &websocket.DialOptions{
		Subprotocols: []string{"realtime", "openai-insecure-api-key." + clientKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() // closed already where all went well
	conn.SetReadLimit(1 << 20)
	r := talk{Protocol: conn.Subprotocol()}
	for events := toSend(); ; events = events[1:] {
		_, message, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r.note(t, message)
		if len(events) == 0 {
			break
		}
		if err := conn.Write(ctx, websocket.MessageText, encode(t, events[0])); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, "OK"); err != nil {
		t.Fatal(err)
	}
	r.Code = int(websocket.StatusNormalClosure) // Close has waited for the upstream's
	return r
}

// nodeRealtime talks through the npm package.
func nodeRealtime(script string) func(t *testing.T, s *stage) talk {
	return func(t *testing.T, s *stage) talk { return runNode[talk](t, s, encode(t, toSend()), script) }
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
