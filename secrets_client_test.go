package keycycler

import (
	"encoding/json"
	"fmt"
	"testing"

	"go.uber.org/zap"
)

func TestNoClientPrintsItsToken(t *testing.T) {
	c, err := newClients(&tokenSource{from: &inputs{texts: []string{"ada:" + printedSecret}}, log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	for what, holder := range map[string]any{"clients": c, "their tokens": c.tokens.Load(), "the client": c.tokens.Load().find(printedSecret)} {
		text, err := json.Marshal(holder)
		if what != "their tokens" && (err != nil || leak(string(text)) != "") {
			t.Errorf("%s: %s, %v", what, text, err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10v", "%.3s"} {
			if text := fmt.Sprintf(verb, holder); leak(text) != "" {
				t.Errorf("%s: %s shows %s", what, verb, text)
			}
		}
	}
}
