package provider

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/ttl"
)

// The header tells all clients how long to wait, and whether to: only where no key
// will come back by itself is it another status.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name       string
		refusal    Refusal
		status     int
		retryAfter string
		notWorthIt bool
	}{
		{"a second", Refusal{Wait: time.Second, Class: ttl.RateLimited}, 429, "1", false},
		{"as long as SDKs wait", Refusal{Wait: maxSDKWait, Class: ttl.RateLimited}, 429, "60", false},
		{"longer", Refusal{Wait: maxSDKWait + time.Second, Class: ttl.RateLimited}, 429, "61", true},
		{"no quota is left", Refusal{Wait: 24 * time.Hour, Class: ttl.QuotaExhausted}, 429, "86400", true},
		{"no key is valid", Refusal{Wait: 24 * time.Hour, Class: ttl.InvalidKey}, 429, "86400", true},
		{"the longest wait", Refusal{Wait: time.Duration(math.MaxInt64).Truncate(time.Second), Class: ttl.RateLimited}, 429, "9223372036", true},
		{"all are disabled", Refusal{Disabled: true}, 503, "", true},
	} {
		for name, p := range Presets {
			for _, path := range []string{"", p.OpenAI} {
				test.refusal.Path = path
				w := httptest.NewRecorder()
				if err := p.WriteRefusal(w, test.refusal); err != nil {
					t.Fatal(err)
				}
				h := w.Header()
				if w.Code != test.status || h.Get("Retry-After") != test.retryAfter || (h.Get("X-Should-Retry") == "false") != test.notWorthIt ||
					h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
					t.Errorf("%s, %s: %d %v", name, test.name, w.Code, h)
				}
				if !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), "every API key of this gateway") && !strings.Contains(w.Body.String(), "Every API key of this gateway") {
					t.Errorf("%s, %s: body %s", name, test.name, w.Body)
				}
			}
		}
	}
}

func TestTheErrorThatEachProvidersClientsRead(t *testing.T) {
	const (
		limit    = "Rate limit reached for every API key of this gateway. Please try again in 42s."
		quota    = "The quota of every API key of this gateway is spent. Please try again in 24h0m0s."
		invalid  = "The upstream refused every API key of this gateway as invalid. Please try again in 24h0m0s."
		disabled = "Every API key of this gateway is disabled."
		own      = "You are at the limit that this gateway has for you: 60 requests. Please try again in 42s."
		noAccess = "You do not have access to the model `gpt-x`."
	)
	var (
		limited       = Refusal{Wait: 42 * time.Second, Class: ttl.RateLimited}
		spent         = Refusal{Wait: 24 * time.Hour, Class: ttl.QuotaExhausted}
		refused       = Refusal{Wait: 24 * time.Hour, Class: ttl.InvalidKey}
		allDown       = Refusal{Class: ttl.RateLimited, Disabled: true}
		unknown       = Refusal{Model: "gpt-x", Bound: true}
		forbidden     = Refusal{Model: "gpt-x", Forbidden: true}
		openAI        = `{"error":{"message":"` + limit + `","type":"requests","param":null,"code":"rate_limit_exceeded"}}`
		openAIDown    = `{"error":{"message":"` + disabled + `","type":"server_error","param":null,"code":"no_api_key_enabled"}}`
		openAIUnknown = "{\"error\":{\"message\":\"The model `gpt-x` does not exist or you do not have access to it.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}"
		retryInfo     = `"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"`
	)
	for _, test := range []struct {
		name     string
		provider string
		path     string
		refusal  Refusal
		want     string
	}{
		{"a limit", "openai", "/v1/chat/completions", limited, openAI},
		{"no quota", "openai", "", spent, `{"error":{"message":"` + quota + `","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`},
		{"no valid key", "openai", "", refused, `{"error":{"message":"` + invalid + `","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`},
		{"all disabled", "openai", "", allDown, openAIDown},
		{"as OpenAI: who imitates it, imitates this", "generic", "", limited, openAI},
		{"all disabled", "generic", "", allDown, openAIDown},

		{"a limit", "anthropic", "/v1/messages", limited, `{"type":"error","error":{"type":"rate_limit_error","message":"` + limit + `"},"request_id":null}`},
		{"no quota: the type goes with the status", "anthropic", "", spent, `{"type":"error","error":{"type":"rate_limit_error","message":"` + quota + `"},"request_id":null}`},
		{"no valid key: so it does here", "anthropic", "", refused, `{"type":"error","error":{"type":"rate_limit_error","message":"` + invalid + `"},"request_id":null}`},
		{"all disabled: overload would be another status", "anthropic", "", allDown, `{"type":"error","error":{"type":"api_error","message":"` + disabled + `"},"request_id":null}`},
		{"OpenAI's where it imitates that", "anthropic", "/v1/chat/completions", limited, openAI},

		{"a limit", "gemini", "/v1beta/models/gemini-x:generateContent", limited, `{"error":{"code":429,"message":"` + limit + `","status":"RESOURCE_EXHAUSTED",` + retryInfo + `42s"}]}}`},
		{"no quota", "gemini", "", spent, `{"error":{"code":429,"message":"` + quota + `","status":"RESOURCE_EXHAUSTED",` + retryInfo + `86400s"}]}}`},
		{"no valid key", "gemini", "", refused, `{"error":{"code":429,"message":"` + invalid + `","status":"RESOURCE_EXHAUSTED",` + retryInfo + `86400s"}]}}`},
		{"all disabled: nothing to wait for", "gemini", "", allDown, `{"error":{"code":503,"message":"` + disabled + `","status":"UNAVAILABLE"}}`},
		{"OpenAI's where it imitates that", "gemini", "/v1beta/openai/chat/completions", limited, openAI},
		{"all disabled, too", "gemini", "/v1beta/openai/chat/completions", allDown, openAIDown},

		{"a limit", "azure", "/openai/deployments/d/chat/completions", limited, `{"error":{"code":"429","message":"` + limit + `"}}`},
		{"no quota", "azure", "", spent, `{"error":{"code":"429","message":"` + quota + `"}}`},
		{"no valid key", "azure", "", refused, `{"error":{"code":"429","message":"` + invalid + `"}}`},
		{"all disabled", "azure", "", allDown, `{"error":{"code":"503","message":"` + disabled + `"}}`},

		{"a limit", "cohere", "/v2/chat", limited, `{"message":"` + limit + `"}`},
		{"no quota", "cohere", "", spent, `{"message":"` + quota + `"}`},
		{"no valid key", "cohere", "", refused, `{"message":"` + invalid + `"}`},
		{"all disabled", "cohere", "", allDown, `{"message":"` + disabled + `"}`},
		{"OpenAI's where it imitates that", "cohere", "/compatibility/v1/chat/completions", limited, openAI},

		{"no such model", "openai", "", unknown, openAIUnknown},
		{"no such model", "generic", "", unknown, openAIUnknown},
		{"no such model", "anthropic", "/v1/messages", unknown, `{"type":"error","error":{"type":"not_found_error","message":"model: gpt-x"},"request_id":null}`},
		{"no such model", "anthropic", "/v1/chat/completions", unknown, openAIUnknown},
		{"no such model", "gemini", "", unknown, `{"error":{"code":404,"message":"models/gpt-x is not found. Call ListModels to see the list of available models and their supported methods.","status":"NOT_FOUND"}}`},
		{"no such model", "azure", "", unknown, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment `gpt-x` does not exist for this resource.\"}}"},
		{"no such model", "cohere", "", unknown, `{"message":"model 'gpt-x' not found, make sure the correct model ID was used and that you have access to the model."}`},
		{"no such model", "github", "", unknown, `{"error":{"code":"unknown_model","message":"Unknown model: gpt-x"}}`},
		{"no such model", "volcengine", "", unknown, `{"error":{"code":"InvalidEndpointOrModel.NotFound","message":"The model or endpoint gpt-x does not exist or you do not have access to it.","param":"","type":"NotFound"}}`},
		{"a limit: as OpenAI's", "volcengine", "", limited, openAI},

		{"a model that the client may not ask for", "openai", "", forbidden, "{\"error\":{\"message\":\"" + noAccess + "\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}"},
		{"a model that the client may not ask for", "anthropic", "", forbidden, "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":\"" + noAccess + "\"},\"request_id\":null}"},
		{"a model that the client may not ask for", "gemini", "", forbidden, "{\"error\":{\"code\":403,\"message\":\"" + noAccess + "\",\"status\":\"PERMISSION_DENIED\"}}"},
		{"a model that the client may not ask for", "azure", "", forbidden, "{\"error\":{\"code\":\"403\",\"message\":\"" + noAccess + "\"}}"},
		{"a model that the client may not ask for", "cohere", "", forbidden, "{\"message\":\"" + noAccess + "\"}"},
		{"a model that the client may not ask for", "github", "", forbidden, `{"error":{"code":"no_access","message":"No access to model: gpt-x"}}`},
		{"a model that nobody can read", "openai", "", Refusal{Forbidden: true}, `{"error":{"message":"You do not have access to all models, and this gateway cannot read which one the request is for.","type":"invalid_request_error","param":null,"code":"model_not_found"}}`},
		{"a client's own limit", "openai", "", Refusal{Wait: 42 * time.Second, Limit: "60 requests"}, `{"error":{"message":"` + own + `","type":"requests","param":null,"code":"rate_limit_exceeded"}}`},
		{"of tokens", "openai", "", Refusal{Wait: 42 * time.Second, Limit: "60 requests", Counted: true}, `{"error":{"message":"` + own + `","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`},
		{"of a budget", "openai", "", Refusal{Wait: 42 * time.Second, Limit: "60 requests", Class: ttl.QuotaExhausted}, `{"error":{"message":"` + own + `","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`},
		{"a client's own limit", "anthropic", "", Refusal{Wait: 42 * time.Second, Limit: "60 requests"}, `{"type":"error","error":{"type":"rate_limit_error","message":"` + own + `"},"request_id":null}`},
		{"a client's own limit", "gemini", "", Refusal{Wait: 42 * time.Second, Limit: "60 requests"}, `{"error":{"code":429,"message":"` + own + `","status":"RESOURCE_EXHAUSTED",` + retryInfo + `42s"}]}}`},

		{"a limit", "github", "/inference/chat/completions", limited, `{"error":{"code":"RateLimitReached","message":"` + limit + `"}}`},
		{"no quota", "github", "", spent, `{"error":{"code":"RateLimitReached","message":"` + quota + `"}}`},
		{"no valid key", "github", "", refused, `{"error":{"code":"RateLimitReached","message":"` + invalid + `"}}`},
		{"all disabled", "github", "", allDown, `{"error":{"code":"ServiceUnavailable","message":"` + disabled + `"}}`},
	} {
		w := httptest.NewRecorder()
		test.refusal.Path = test.path
		if err := Presets[test.provider].WriteRefusal(w, test.refusal); err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != test.want+"\n" {
			t.Errorf("%s, %s: body\n%swant\n%s", test.provider, test.name, got, test.want)
		}
	}
}

// A model's name is the client's text: whatever is in it, the answer is good JSON with no
// more than so much of it, and says nothing against a key.
func TestUnknownModelsOfAnyName(t *testing.T) {
	for _, model := range []string{`a"b\c`, "a\x00\n\u2028<script>", strings.Repeat("ü", 1000), "\xff\xfe", strings.Repeat("x", 1<<20)} {
		for name, p := range Presets {
			w := httptest.NewRecorder()
			if err := p.WriteRefusal(w, Refusal{Model: model}); err != nil {
				t.Fatal(err)
			}
			if w.Code != 404 || !json.Valid(w.Body.Bytes()) || w.Body.Len() > 2000 || strings.Contains(w.Body.String(), "<script>") {
				t.Errorf("%s, %.40q: %d %s", name, model, w.Code, w.Body)
			}
			if v := p.Dialect.Judge(ttl.Response{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes(), Now: time.Now()}); v.Class != ttl.OK {
				t.Errorf("%s: %s reads as %+v", name, w.Body, v)
			}
		}
	}
}

// A gateway before a gateway understands it: what the client is told, the dialect
// reads again.
func TestRefusalsReadAsTheyAreMeant(t *testing.T) {
	for name, p := range Presets {
		w := httptest.NewRecorder()
		if err := p.WriteRefusal(w, Refusal{Wait: 42 * time.Second, Class: ttl.RateLimited}); err != nil {
			t.Fatal(err)
		}
		v := p.Dialect.Judge(ttl.Response{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes(), Now: time.Now()})
		if v.Class != ttl.RateLimited || v.Seconds != 42 {
			t.Errorf("%s: %s reads as %+v", name, w.Body, v)
		}
	}
}
