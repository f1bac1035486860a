package keycycler

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// everyCredential is what clients of all providers send, and what else they do.
func everyCredential() http.Header {
	header := untouched()
	for _, name := range slices.Concat(credentialHeaders, accountHeaders) {
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
		auth     *Auth
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
		{"an auth of the config's counts for both", "gemini", imitate, &Auth{Header: "X-Goog-Api-Key"}, "X-Goog-Api-Key", "sk-demo-1"},
		{"one way or the other", "gemini", native, &Auth{Bearer: true}, bearer, "Bearer sk-demo-1"},
		{"Azure OpenAI has a header of its own", "azure", "/openai/deployments/d/chat/completions", nil, "Api-Key", "sk-demo-1"},
		{"also where it speaks OpenAI's own API", "azure", "/openai/v1/responses", nil, "Api-Key", "sk-demo-1"},
		{"Azure API Management can have another", "azure", "/openai/v1/responses", &Auth{Header: "ocp-apim-subscription-key"}, "Ocp-Apim-Subscription-Key", "sk-demo-1"},
		{"Cohere takes a bearer token", "cohere", "/v2/chat", nil, bearer, "Bearer sk-demo-1"},
		{"also where it imitates OpenAI", "cohere", "/compatibility/v1/chat/completions", nil, bearer, "Bearer sk-demo-1"},
		{"GitHub Models takes a bearer token", "github", "/inference/chat/completions", nil, bearer, "Bearer sk-demo-1"},
		{"of others, most do", "generic", "/anything", nil, bearer, "Bearer sk-demo-1"},
	} {
		t.Run(test.provider+" "+test.name, func(t *testing.T) {
			in := newInjector(providers[test.provider], test.auth, nil, testKeys(t, "sk-demo-1"))
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
	for name, p := range providers {
		in := newInjector(p, nil, nil, testKeys(t, "sk-demo-1"))
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
	if got, want := strings.Join(accountHeaders, ", "), "Anthropic-Workspace-Id, Openai-Organization, Openai-Project, X-Goog-User-Project"; got != want {
		t.Fatalf("%s can be kept, want %s", got, want)
	}
	for name, p := range providers {
		for _, kept := range accountHeaders {
			if err := (&Handler{Provider: name, KeepHeaders: []string{strings.ToLower(kept)}}).check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			in := newInjector(p, nil, []string{strings.ToLower(kept)}, testKeys(t, "sk-demo-1"))
			r := post("x")
			r.Header = everyCredential()
			attempt := in.request(r.Context(), r, 0)
			for _, header := range accountHeaders {
				if _, ok := attempt.Header[header]; ok != (header == kept) {
					t.Errorf("%s keeps %s: %s is there: %v", name, kept, header, ok)
				}
			}
		}
		for _, credential := range credentialHeaders {
			if err := (&Handler{Provider: name, KeepHeaders: []string{credential}}).check(); err == nil {
				t.Errorf("%s: %s can be kept", name, credential)
			}
		}
	}
}

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
		if err := p.auth.check(); err != nil {
			t.Errorf("%s: %v", name, err)
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

// Requests of all providers cost the same number of allocations.
func TestNoProviderAllocatesMore(t *testing.T) {
	cost := func(p *provider, path string) float64 {
		in := newInjector(p, nil, nil, testKeys(t, "sk-demo-1"))
		r := httptest.NewRequest(http.MethodPost, path+"?api-version=1", nil)
		r.Header = http.Header{"Authorization": {"Bearer client"}, "Content-Type": {"application/json"}}
		ctx := r.Context()
		return testing.AllocsPerRun(100, func() { in.request(ctx, r, 0) })
	}
	want := cost(providers["openai"], "/v1/chat/completions")
	for name, p := range providers {
		for _, path := range []string{"/v1/messages", "/" + strings.TrimPrefix(p.openAI, "/") + "chat"} {
			if got := cost(p, path); got != want {
				t.Errorf("%s %s: %v allocations, want %v", name, path, got, want)
			}
		}
	}
}

// The whole way: the first key is rejected as the provider does it, the second
// goes out, and when none is left the client reads the provider's own error.
func TestEachProviderEndToEnd(t *testing.T) {
	for _, test := range []struct {
		name     string
		provider string
		path     string
		rejects  reply
		header   string // that carries the key
		prefix   string
		tells    string // in the last answer
	}{
		{"a key that has been revoked", "anthropic", "/v1/messages",
			reply{status: 401, body: `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`},
			"X-Api-Key", "", `{"type":"error","error":{"type":"rate_limit_error","message":"The upstream refused every`},
		{"a key that is not valid", "gemini", "/v1beta/models/gemini-x:generateContent",
			reply{status: 400, body: `{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}`},
			"X-Goog-Api-Key", "", `{"error":{"code":429,"message":"The upstream refused every`},
		{"a limit, in an array", "gemini", "/v1beta/openai/chat/completions",
			reply{status: 429, body: `[{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}]`},
			"Authorization", "Bearer ", `"Rate limit reached for every`},
		{"a limit", "azure", "/openai/deployments/d/chat/completions",
			reply{status: 429, body: `{"error":{"code":"429","message":"Please retry after 33 seconds."}}`},
			"Api-Key", "", `{"error":{"code":"429","message":"Rate limit reached`},
		{"a key that is not valid", "cohere", "/v2/chat", reply{status: 401, body: `{"message":"invalid api token"}`},
			"Authorization", "Bearer ", `{"message":"The upstream refused every`},
		{"a limit under another status", "github", "/inference/chat/completions",
			reply{status: 403, body: `{"error":{"code":"RateLimitReached","message":"Please wait 29 seconds before retrying."}}`},
			"Authorization", "Bearer ", `{"error":{"code":"RateLimitReached","message":"Rate limit reached`},
	} {
		t.Run(test.provider+": "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := provision(t, 2, func(h *Handler) { h.Provider = test.provider })
				request := func() *http.Request { return httptest.NewRequest(http.MethodPost, test.path, strings.NewReader("x")) }
				up := script(test.rejects, fine)
				if w, err := serve(h, up, request()); err != nil || w.Code != 200 || len(up.calls) != 2 {
					t.Fatalf("after %d calls: %d %s, %v", len(up.calls), w.Code, w.Body, err)
				}
				var keys []string
				for _, c := range up.calls {
					key, ok := strings.CutPrefix(c.header.Get(test.header), test.prefix)
					if !ok || !strings.HasPrefix(key, "sk-demo-") {
						t.Errorf("the upstream got %v", c.header)
					}
					keys = append(keys, key)
				}
				distinct(t, keys)
				w, err := serve(h, script(test.rejects), request())
				if err != nil || w.Code != 429 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), test.tells) {
					t.Errorf("the client got %d %v %s, %v", w.Code, w.Header(), w.Body, err)
				}
			})
		})
	}
}
