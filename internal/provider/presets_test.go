package provider

import (
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// What the rows of the table must be for the code that reads them.
func TestProviders(t *testing.T) {
	want := []string{"anthropic", "azure", "cohere", "gemini", "generic", "github", "openai", "volcengine"}
	if got := slices.Sorted(maps.Keys(Presets)); !slices.Equal(got, want) {
		t.Errorf("the providers are %v, want %v", got, want)
	}
	genAI := map[string]string{"anthropic": "anthropic", "azure": "azure.ai.openai", "cohere": "cohere", "gemini": "gcp.gemini", "openai": "openai"}
	for name, p := range Presets {
		if p.Dialect == nil || p.refuse == nil || p.models == nil || p.GenAI != genAI[name] {
			t.Errorf("%s: %+v", name, p)
		}
		if p.Auth.Bearer == (p.Auth.Header != "") || p.Auth.Query != "" || p.Auth.Prefix != "" || p.Name != name {
			t.Errorf("%s: %+v", name, p.Auth)
		}
		if h := p.Auth.Header; h != "" && !slices.Contains(CredentialHeaders, h) {
			t.Errorf("%s sends its key as %s, which is not taken off what a client sends to others", name, h)
		}
		if p.OpenAI != "" && !strings.HasPrefix(p.OpenAI, "/") {
			t.Errorf("%s: no path begins with %q", name, p.OpenAI)
		}
	}
	for _, header := range slices.Concat(CredentialHeaders, AccountHeaders) {
		if header != textproto.CanonicalMIMEHeaderKey(header) {
			t.Errorf("%s is not as net/http spells it", header)
		}
	}
}
