package client

import (
	"encoding/json"
	"fmt"
	"testing"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
)

func TestNoClientPrintsItsToken(t *testing.T) {
	c, err := New(&Source{From: &keyset.Inputs{Texts: []string{"ada:" + testkit.PrintedSecret}}, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	for what, holder := range map[string]any{"clients": c, "their tokens": c.tokens.Load(), "the client": c.tokens.Load().find(testkit.PrintedSecret)} {
		text, err := json.Marshal(holder)
		if what != "their tokens" && (err != nil || testkit.Leak(string(text)) != "") {
			t.Errorf("%s: %s, %v", what, text, err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10v", "%.3s"} {
			if text := fmt.Sprintf(verb, holder); testkit.Leak(text) != "" {
				t.Errorf("%s: %s shows %s", what, verb, text)
			}
		}
	}
}
