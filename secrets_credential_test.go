package keycycler

import (
	"encoding/json"
	"fmt"
	"testing"
)

// What attempts send is prepared once, and prints nothing.
func TestNoCredentialPrintsAKey(t *testing.T) {
	for _, auth := range []*providerAuth{nil, {Header: "X-Key"}, {Header: "X-Key", Prefix: "Token"}, {Query: "key"}} {
		in := newInjector(providers["openai"], auth, nil, testKeys(t, printedSecret))
		for what, holder := range map[string]any{"what is sent": in.credentials, "a pointer to it": &in.credentials} {
			text, err := json.Marshal(holder)
			if err != nil || leak(string(text)) != "" {
				t.Errorf("%s: %s, %v", what, text, err)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10v", "%.3s"} {
				if text := fmt.Sprintf(verb, holder); leak(text) != "" {
					t.Errorf("%s: %s shows %s", what, verb, text)
				}
			}
		}
	}
}
