package credential

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
)

// What attempts send is prepared once, and prints nothing.
func TestNoCredentialPrintsAKey(t *testing.T) {
	for _, auth := range []*provider.Auth{nil, {Header: "X-Key"}, {Header: "X-Key", Prefix: "Token"}, {Query: "key"}} {
		in := NewInjector(provider.Presets["openai"], auth, nil, testkit.TestKeys(t, testkit.PrintedSecret))
		for what, holder := range map[string]any{"what is sent": in.credentials, "a pointer to it": &in.credentials} {
			text, err := json.Marshal(holder)
			if err != nil || testkit.Leak(string(text)) != "" {
				t.Errorf("%s: %s, %v", what, text, err)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10v", "%.3s"} {
				if text := fmt.Sprintf(verb, holder); testkit.Leak(text) != "" {
					t.Errorf("%s: %s shows %s", what, verb, text)
				}
			}
		}
	}
}
