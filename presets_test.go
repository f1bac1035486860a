package keycycler

import (
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// What the rows of the table must be for the code that reads them.
func TestProviders(t *testing.T) {
	want := []string{"anthropic", "azure", "cohere", "gemini", "generic", "github", "openai"}
	if got := slices.Sorted(maps.Keys(providers)); !slices.Equal(got, want) {
		t.Errorf("the providers are %v, want %v", got, want)
	}
	genAI := map[string]string{"anthropic": "anthropic", "azure": "azure.ai.openai", "cohere": "cohere", "gemini": "gcp.gemini", "openai": "openai"}
	for name, p := range providers {
		if p.dialect == nil || p.refuse == nil || p.genAI != genAI[name] {
			t.Errorf("%s: %+v", name, p)
		}
		if p.auth.Bearer == (p.auth.Header != "") || p.auth.Query != "" || p.auth.Prefix != "" || p.name != name {
			t.Errorf("%s: %+v", name, p.auth)
		}
		if h := p.auth.Header; h != "" && !slices.Contains(credentialHeaders, h) {
			t.Errorf("%s sends its key as %s, which is not taken off what a client sends to others", name, h)
		}
		if p.openAI != "" && !strings.HasPrefix(p.openAI, "/") {
			t.Errorf("%s: no path begins with %q", name, p.openAI)
		}
	}
	for _, header := range slices.Concat(credentialHeaders, accountHeaders) {
		if header != textproto.CanonicalMIMEHeaderKey(header) {
			t.Errorf("%s is not as net/http spells it", header)
		}
	}
}
