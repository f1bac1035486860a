package gateway

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
)

func readyKeys(h *Gateway) int { return h.roster.Load().Pool.Census(time.Now()).Ready }

// What a client can make an upstream answer, by odd requests, says nothing about the
// key: the client gets it after one attempt, and no key cools.
func TestClientsCannotProvokeCooldowns(t *testing.T) {
	message := func(format string, args ...any) string {
		return fmt.Sprintf(`{"error":{"type":"invalid_request_error","message":%q}}`, fmt.Sprintf(format, args...))
	}
	const quoted = "insufficient_quota: your credit balance is too low, invalid api key, rate limit reached"
	for _, test := range []struct {
		name, provider string
		status         int
		body           string
	}{
		{"a model that does not exist, and is called like an error", "openai", 404, message("The model `%s` does not exist", quoted)},
		{"a value that is called like an error", "openai", 400, message("Invalid value: '%s'", quoted)},
		{"a model that the project may not use", "openai", 403, `{"error":{"message":"Project does not have access to model","code":"model_not_found"}}`},
		{"a body that is no JSON", "openai", 400, message("We could not parse the JSON body of your request")},
		{"a wrong content type", "openai", 415, message("Unsupported content type: %s", quoted)},
		{"an unknown beta", "openai", 400, `{"error":{"message":"Unknown beta requested","code":"invalid_beta"}}`},
		{"an admin path: the key lacks the scope", "openai", 403, message("You have insufficient permissions for this operation. Missing scopes: api.management.read")},
		{"a body that is too large", "openai", 413, "<html>413 Request Entity Too Large</html>"},
		{"a prompt that is too large for any key", "openai", 429, testkit.TooLarge.Body},
		{"a method that the path has not", "openai", 405, message("Not allowed to TRACE on /v1")},
		{"no anthropic-version", "anthropic", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"anthropic-version: header is required"}}`},
		{"an unknown anthropic-beta", "anthropic", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Unexpected value(s) ` + quoted + ` for the anthropic-beta header"}}`},
		{"a body that is too large for Anthropic", "anthropic", 413, `{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`},
		{"a prompt in the long context", "anthropic", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"Extra usage is required for long context requests."}}`},
		{"a field that Gemini does not know", "gemini", 400, `{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"Unknown name \"` + quoted + `\""}}`},
		{"a method of Gemini's that takes no API key", "gemini", 401, `{"error":{"code":401,"status":"UNAUTHENTICATED","message":"API keys are not supported by this API.","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"CREDENTIALS_MISSING"}]}}`},
		{"a form of answer that Gemini does not have", "gemini", 400, "/*x*/ callback({\"error\":{\"message\":\"" + quoted + "\"}})"},
		{"a version that Azure does not have", "azure", 404, `{"error":{"code":"404","message":"Resource not found"}}`},
		{"a deployment that Azure does not have", "azure", 404, `{"error":{"code":"DeploymentNotFound","message":"` + quoted + `"}}`},
		{"what Azure's filter stops", "azure", 400, `{"error":{"code":"content_filter","message":"` + quoted + `"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := provision(t, 8, func(c *Config) { c.Provider = provider.Presets[test.provider] })
			upstream := testkit.Script(testkit.Reply{Status: test.status, Body: test.body})
			w, err := testkit.Serve(h, upstream, testkit.Post(quoted))
			if err != nil || w.Code != test.status || w.Body.String() != test.body {
				t.Errorf("%d %s, %v", w.Code, w.Body, err)
			}
			if calls := len(upstream.Calls); calls != 1 || readyKeys(h) != 8 {
				t.Errorf("%d calls, %d keys ready", calls, readyKeys(h))
			}
		})
	}
}

// Where the upstream does blame the key for what a client asks for, a client that asks
// again and again does not exhaust the pool for others, of however few keys.
func TestProvokedRefusalsCoolNothing(t *testing.T) {
	for _, test := range []struct {
		keys, provoked, others int // … for each other
	}{{20, 1, 19}, {20, 1, 1}, {20, 3, 1}, {20, 10, 10}, {7, 1, 1}, {2, 3, 1}, {1, 1, 1}, {100, 10, 1}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			h := provision(t, test.keys, func(c *Config) { c.Provider = provider.Presets["anthropic"] })
			upstream := &testkit.Upstream{Answer: func(_ int, w http.ResponseWriter, r *http.Request) error {
				if strings.HasPrefix(r.URL.Path, "/v1/organizations") {
					return testkit.Reply{Status: 403, Body: `{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource"}}`}.Write(w)
				}
				return testkit.Fine.Write(w)
			}}
			others := func(n int) {
				t.Helper()
				for range n {
					if w, err := testkit.Serve(h, upstream, testkit.Post("x")); err != nil || w.Code != http.StatusOK {
						t.Fatalf("another client got %d, %v", w.Code, err)
					}
				}
			}
			others(20 * test.keys) // a pool that has served for a while
			for range 50 {
				for range test.provoked {
					before := len(upstream.Calls)
					w, err := testkit.Serve(h, upstream, httptest.NewRequest(http.MethodGet, "/v1/organizations/users", nil))
					if err != nil || w.Code == http.StatusOK {
						t.Fatalf("the client got %d, %v", w.Code, err)
					}
					if calls := len(upstream.Calls) - before; calls > min(test.keys, 15) {
						t.Errorf("%d keys were asked", calls)
					}
				}
				others(test.others)
			}
			if ready := readyKeys(h); ready != test.keys {
				t.Errorf("%d of %d keys are ready", ready, test.keys)
			}
		})
	}
}

// Keys that become invalid, many at once, cool although they have served until then, as soon
// as another one serves what they have refused. Their requests are served.
func TestKeysThatBecomeInvalidCool(t *testing.T) {
	for _, keys := range []int{4, 40} {
		synctest.Test(t, func(t *testing.T) {
			h, upstream := provision(t, keys, nil), revoking()
			for range 20 * keys {
				testkit.Serve(h, upstream, testkit.Post("x"))
			}
			for _, key := range testkit.DemoKeys(keys)[:(keys+1)/2] {
				upstream.revoked[key] = true
			}
			failed := 0
			for range 500 {
				if w, _ := testkit.Serve(h, upstream, testkit.Post("x")); w.Code != http.StatusOK {
					failed++
				}
			}
			if n := readyKeys(h); n != keys-len(upstream.revoked) {
				t.Errorf("%d of %d keys are ready, %d were revoked", n, keys, len(upstream.revoked))
			}
			if most := len(upstream.revoked) / 15; failed > most { // a request asks so many keys
				t.Errorf("%d keys were revoked, and %d requests failed for that", len(upstream.revoked), failed)
			}
		})
	}
}

// Where all keys are revoked nothing convicts them: each request gets the upstream's answer,
// and the upstream is asked now and then. As soon as it serves again, so does the pool.
func TestAPoolOfRevokedKeysAsksNowAndThen(t *testing.T) {
	for _, keys := range []int{1, 4, 40} {
		synctest.Test(t, func(t *testing.T) {
			h, upstream := provision(t, keys, nil), revoking()
			for _, key := range testkit.DemoKeys(keys) {
				upstream.revoked[key] = true
			}
			ask := func() *httptest.ResponseRecorder {
				w, err := testkit.Serve(h, upstream, testkit.Post("x"))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
				return w
			}
			for range 10 * 60 {
				if w := ask(); w.Code != http.StatusUnauthorized || w.Body.String() != testkit.BadKey.Body {
					t.Fatalf("%d keys: the client got %d %s", keys, w.Code, w.Body)
				}
			}
			before := len(upstream.Calls)
			for range 10 * 600 {
				if w := ask(); w.Code != http.StatusUnauthorized {
					t.Fatalf("%d keys: the client got %d", keys, w.Code)
				}
			}
			if n := len(upstream.Calls) - before; n < 30 || n > 61 {
				t.Errorf("%d keys: %d calls in ten minutes, want one in ten seconds", keys, n)
			}
			clear(upstream.revoked)
			began := time.Now()
			for ask().Code != http.StatusOK {
				if time.Since(began) > 10500*time.Millisecond {
					t.Fatalf("%d keys: nobody is served for %s", keys, time.Since(began))
				}
			}
			for range keys {
				if w := ask(); w.Code != http.StatusOK {
					t.Errorf("%d keys: then a client got %d", keys, w.Code)
				}
			}
		})
	}
}

// revokes is an upstream that refuses revoked keys and serves all others.
type revokes struct {
	testkit.Upstream
	revoked map[string]bool
}

func revoking() *revokes {
	u := &revokes{revoked: make(map[string]bool)}
	u.Answer = func(n int, w http.ResponseWriter, _ *http.Request) error {
		if u.revoked[u.Keys()[n]] {
			return testkit.BadKey.Write(w)
		}
		return testkit.Fine.Write(w)
	}
	return u
}

// No answer names a key: neither whole, nor by its id.
func TestAnswersNameNoKey(t *testing.T) {
	for name, answer := range map[string]*testkit.Upstream{
		"served": testkit.Script(testkit.Fine), "after a rejection": testkit.Script(testkit.Limited, testkit.Fine), "refused": testkit.Script(testkit.BadKey),
		"passed on": testkit.Script(testkit.TooLarge), "failed": testkit.Script(testkit.Reply{Status: 500}), "exhausted": testkit.Script(testkit.Limited),
	} {
		t.Run(name, func(t *testing.T) {
			h := provision(t, 4, nil)
			for range 3 {
				w, err := testkit.Serve(h, answer, testkit.Post("x"))
				text := fmt.Sprint(w.Header(), w.Body, err)
				for _, p := range h.roster.Load().ByID() {
					if strings.Contains(text, p.ID().String()) || strings.Contains(text, "sk-demo") {
						t.Errorf("the answer names a key: %s", text)
					}
				}
			}
		})
	}
}

// Which key is drawn depends on nothing that a client sends: the same request over and
// over meets every key alike.
func TestClientsCannotSteerTheDraw(t *testing.T) {
	const keys, calls = 10, 5000
	for name, edit := range map[string]func(*http.Request){
		"the same request":    func(*http.Request) {},
		"with an id of a key": func(r *http.Request) { r.Header.Set("X-Key-Id", testIDs(t, 1)[0]) },
		"with a seed": func(r *http.Request) {
			r.RemoteAddr, r.URL.RawQuery = "6.6.6.6:6", "seed=1&key=sk-demo-1"
			r.Header.Set("Idempotency-Key", "1")
			r.Header.Set("Authorization", "Bearer sk-demo-1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, upstream := provision(t, keys, nil), testkit.Script(testkit.Fine)
			for range calls {
				r := testkit.Post(`{"seed":1}`)
				edit(r)
				if _, err := testkit.Serve(h, upstream, r); err != nil {
					t.Fatal(err)
				}
			}
			drawn := upstream.Keys()
			slices.Sort(drawn)
			expected, deviation := float64(calls)/keys, math.Sqrt(calls*(1.0/keys)*(1-1.0/keys))
			for _, key := range testkit.DemoKeys(keys) {
				first, _ := slices.BinarySearch(drawn, key)
				n := 0
				for ; first+n < len(drawn) && drawn[first+n] == key; n++ {
				}
				if math.Abs(float64(n)-expected) > 6*deviation {
					t.Errorf("%s was drawn %d times of %d", key, n, calls)
				}
			}
		})
	}
}

// testIDs returns the ids of the first n demo keys.
func testIDs(t *testing.T, n int) []string {
	t.Helper()
	var ids []string
	for _, k := range testkit.TestKeys(t, testkit.DemoKeys(n)...) {
		ids = append(ids, k.ID().String())
	}
	return ids
}
