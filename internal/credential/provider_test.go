package credential

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
)

// everyCredential is what clients of all providers send, and what else they do.
func everyCredential() http.Header {
	header := untouched()
	for _, name := range slices.Concat(provider.CredentialHeaders, provider.AccountHeaders) {
		header[name] = []string{"client"}
	}
	header["Sec-Websocket-Protocol"] = []string{"realtime, openai-insecure-api-key.client, openai-organization.client"}
	return header
}

// untouched are headers that look as if they could be taken off, but say what the
// client wants, not who it is.
func untouched() http.Header {
	return http.Header{
		"Anthropic-Version":      {"2023-06-01"},
		"Anthropic-Beta":         {"beta-1", "beta-2"},
		"Openai-Beta":            {"realtime=v1"},
		"X-Goog-Api-Client":      {"client"},
		"X-Github-Api-Version":   {"2022-11-28"},
		"X-Ms-Client-Request-Id": {"1"},
		"X-Client-Name":          {"demo"},
	}
}

func TestHowTheKeyTravelsToEachProvider(t *testing.T) {
	const (
		bearer  = "Authorization"
		native  = "/v1beta/models/gemini-x:generateContent"
		imitate = "/v1beta/openai/chat/completions"
	)
	for _, test := range []struct {
		name     string
		provider string
		path     string
		auth     *provider.Auth
		header   string // that carries the key, and
		value    string
	}{
		{"OpenAI takes a bearer token", "openai", "/v1/chat/completions", nil, bearer, "Bearer sk-demo-1"},
		{"Anthropic has a header of its own", "anthropic", "/v1/messages", nil, "X-Api-Key", "sk-demo-1"},
		{"but a bearer token where it imitates OpenAI", "anthropic", "/v1/chat/completions", nil, bearer, "Bearer sk-demo-1"},
		{"and nowhere that dots could lead to from there", "anthropic", "/v1/chat/completions/../../messages", nil, "X-Api-Key", "sk-demo-1"},
		{"Gemini has a header of its own", "gemini", native, nil, "X-Goog-Api-Key", "sk-demo-1"},
		{"for its websockets too", "gemini", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", nil, "X-Goog-Api-Key", "sk-demo-1"},
		{"but a bearer token where it imitates OpenAI", "gemini", imitate, nil, bearer, "Bearer sk-demo-1"},
		{"which is not wherever the path says so", "gemini", "/v1beta/operations/v1beta/openai/x", nil, "X-Goog-Api-Key", "sk-demo-1"},
		{"nor where it only begins alike", "gemini", "/v1beta/openaix/models", nil, "X-Goog-Api-Key", "sk-demo-1"},
		{"nor where dots lead out again, though escaped", "gemini", "/v1beta/openai/%2e%2e/models/gemini-x:generateContent", nil, "X-Goog-Api-Key", "sk-demo-1"},
		{"an auth of the config's counts for both", "gemini", imitate, &provider.Auth{Header: "X-Goog-Api-Key"}, "X-Goog-Api-Key", "sk-demo-1"},
		{"one way or the other", "gemini", native, &provider.Auth{Bearer: true}, bearer, "Bearer sk-demo-1"},
		{"Azure OpenAI has a header of its own", "azure", "/openai/deployments/d/chat/completions", nil, "Api-Key", "sk-demo-1"},
		{"also where it speaks OpenAI's own API", "azure", "/openai/v1/responses", nil, "Api-Key", "sk-demo-1"},
		{"Azure API Management can have another", "azure", "/openai/v1/responses", &provider.Auth{Header: "ocp-apim-subscription-key"}, "Ocp-Apim-Subscription-Key", "sk-demo-1"},
		{"Cohere takes a bearer token", "cohere", "/v2/chat", nil, bearer, "Bearer sk-demo-1"},
		{"also where it imitates OpenAI", "cohere", "/compatibility/v1/chat/completions", nil, bearer, "Bearer sk-demo-1"},
		{"GitHub Models takes a bearer token", "github", "/inference/chat/completions", nil, bearer, "Bearer sk-demo-1"},
		{"Volcengine does, too", "volcengine", "/api/v3/chat/completions", nil, bearer, "Bearer sk-demo-1"},
		{"of others, most do", "generic", "/anything", nil, bearer, "Bearer sk-demo-1"},
	} {
		t.Run(test.provider+" "+test.name, func(t *testing.T) {
			in := NewInjector(provider.Presets[test.provider], test.auth, nil, testkit.TestKeys(t, "sk-demo-1"))
			r := httptest.NewRequest(http.MethodPost, test.path, nil)
			r.Header = everyCredential()
			want := untouched()
			want[test.header] = []string{test.value}
			want["Sec-Websocket-Protocol"] = []string{"realtime"}
			for range 2 { // an attempt leaves nothing for the next
				if got := in.request(r.Context(), r, 0).Header; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("header %v\nwant %v", got, want)
				}
			}
			if fmt.Sprint(r.Header) != fmt.Sprint(everyCredential()) {
				t.Errorf("the client's header is %v now", r.Header)
			}
		})
	}
}

func TestTheQueryThatEachProviderGets(t *testing.T) {
	const query = "api-version=2024-10-21&alt=sse&key=client&%24key=client&$key=client&api-key=client" +
		"&subscription-key=client&subscription%2Dkey=client&access_token=client&oauth_token=client&keys=1&api_key=1&token=1"
	const want = "api-version=2024-10-21&alt=sse&keys=1&api_key=1&token=1"
	for name, p := range provider.Presets {
		in := NewInjector(p, nil, nil, testkit.TestKeys(t, "sk-demo-1"))
		r := httptest.NewRequest(http.MethodPost, "/v1/x?"+query, nil)
		attempt := in.request(r.Context(), r, 0)
		if attempt.URL.RawQuery != want || attempt.RequestURI != "/v1/x?"+want {
			t.Errorf("%s: query %q, request line %q, want %q", name, attempt.URL.RawQuery, attempt.RequestURI, want)
		}
		if r.URL.RawQuery != query {
			t.Errorf("%s: the client's query is %q now", name, r.URL.RawQuery)
		}
	}
}

// A header that ties a key to an account passes where it is named, at every
// provider, and takes no other with it.
func TestHeadersKeptAtEachProvider(t *testing.T) {
	if got, want := strings.Join(provider.AccountHeaders, ", "), "Anthropic-Workspace-Id, Openai-Organization, Openai-Project, X-Goog-User-Project"; got != want {
		t.Fatalf("%s can be kept, want %s", got, want)
	}
	for name, p := range provider.Presets {
		for _, kept := range provider.AccountHeaders {
			in := NewInjector(p, nil, []string{strings.ToLower(kept)}, testkit.TestKeys(t, "sk-demo-1"))
			r := testkit.Post("x")
			r.Header = everyCredential()
			attempt := in.request(r.Context(), r, 0)
			for _, header := range provider.AccountHeaders {
				if _, ok := attempt.Header[header]; ok != (header == kept) {
					t.Errorf("%s keeps %s: %s is there: %v", name, kept, header, ok)
				}
			}
		}
	}
}

// Requests of all providers cost the same number of allocations.
func TestNoProviderAllocatesMore(t *testing.T) {
	cost := func(p *provider.Preset, path string) float64 {
		in := NewInjector(p, nil, nil, testkit.TestKeys(t, "sk-demo-1"))
		r := httptest.NewRequest(http.MethodPost, path+"?api-version=1", nil)
		r.Header = http.Header{"Authorization": {"Bearer client"}, "Content-Type": {"application/json"}}
		ctx := r.Context()
		return testing.AllocsPerRun(100, func() { in.request(ctx, r, 0) })
	}
	want := cost(provider.Presets["openai"], "/v1/chat/completions")
	for name, p := range provider.Presets {
		for _, path := range []string{"/v1/messages", "/" + strings.TrimPrefix(p.OpenAI, "/") + "chat"} {
			if got := cost(p, path); got != want {
				t.Errorf("%s %s: %v allocations, want %v", name, path, got, want)
			}
		}
	}
}
