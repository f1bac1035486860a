package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
)

// The whole way: the first key is rejected as the provider does it, the second
// goes out, and when none is left the client reads the provider's own error.
func TestEachProviderEndToEnd(t *testing.T) {
	for _, test := range []struct {
		name     string
		provider string
		path     string
		rejects  testkit.Reply
		header   string // that carries the key
		prefix   string
		tells    string // in the last answer; "": that is the upstream's own
	}{
		{"a key that has been revoked", "anthropic", "/v1/messages",
			testkit.Reply{Status: 401, Body: `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`},
			"X-API-Key", "", ""},
		{"a key that is not valid", "gemini", "/v1beta/models/gemini-x:generateContent",
			testkit.Reply{Status: 400, Body: `{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}`},
			"X-Goog-API-Key", "", ""},
		{"a limit, in an array", "gemini", "/v1beta/openai/chat/completions",
			testkit.Reply{Status: 429, Body: `[{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}]`},
			"Authorization", "Bearer ", `"Rate limit reached for every`},
		{"a limit", "azure", "/openai/deployments/d/chat/completions",
			testkit.Reply{Status: 429, Body: `{"error":{"code":"429","message":"Please retry after 33 seconds."}}`},
			"API-Key", "", `{"error":{"code":"429","message":"Rate limit reached`},
		{"a key that is not valid", "cohere", "/v2/chat", testkit.Reply{Status: 401, Body: `{"message":"invalid api token"}`},
			"Authorization", "Bearer ", ""},
		{"a limit under another status", "github", "/inference/chat/completions",
			testkit.Reply{Status: 403, Body: `{"error":{"code":"RateLimitReached","message":"Please wait 29 seconds before retrying."}}`},
			"Authorization", "Bearer ", `{"error":{"code":"RateLimitReached","message":"Rate limit reached`},
	} {
		t.Run(test.provider+": "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := provision(t, 2, func(c *Config) { c.Provider = provider.Presets[test.provider] })
				request := func() *http.Request { return httptest.NewRequest(http.MethodPost, test.path, strings.NewReader("x")) }
				up := testkit.Script(test.rejects, testkit.Fine)
				if w, err := testkit.Serve(h, up, request()); err != nil || w.Code != 200 || len(up.Calls) != 2 {
					t.Fatalf("after %d calls: %d %s, %v", len(up.Calls), w.Code, w.Body, err)
				}
				var keys []string
				for _, c := range up.Calls {
					key, ok := strings.CutPrefix(c.Header.Get(test.header), test.prefix)
					if !ok || !strings.HasPrefix(key, "sk-demo-") {
						t.Errorf("the upstream got %v", c.Header)
					}
					keys = append(keys, key)
				}
				testkit.Distinct(t, keys)
				w, err := testkit.Serve(h, testkit.Script(test.rejects), request())
				if test.tells == "" {
					if err != nil || w.Code != test.rejects.Status || w.Body.String() != test.rejects.Body {
						t.Errorf("the client got %d %s, %v", w.Code, w.Body, err)
					}
					return
				}
				if err != nil || w.Code != 429 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), test.tells) {
					t.Errorf("the client got %d %v %s, %v", w.Code, w.Header(), w.Body, err)
				}
			})
		})
	}
}
