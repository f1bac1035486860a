package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/rotator"
)

// ByModel returns a pool of n keys whose rate limits are their models'.
func byModel(t *testing.T, n int) *Gateway {
	return provision(t, n, func(c *Config) {
		c.Pool = "scope-test"
		c.ByModel = true //{}
	})
}

// asking returns a request that names the model.
func asking(model string) *http.Request {
	r := testkit.Post(fmt.Sprintf(`{"messages":[{"content":"{\"model\":\"decoy\"}"}],"model":%q}`, model))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestARateLimitCoolsItsModelAlone(t *testing.T) {
	h := byModel(t, 3)
	pool := h.roster.Load().Pool
	first := testkit.Script(testkit.Limited, testkit.Fine)
	began := time.Now()
	testkit.Serve(h, first, asking("gpt-a"))
	met := first.Keys()[0]
	for range 50 {
		u := testkit.Script(testkit.Fine)
		testkit.Serve(h, u, asking("gpt-a"))
		if u.Keys()[0] == met {
			t.Fatal("the key was used for the model whose limit it has met")
		}
	}
	used := false
	for range 100 {
		u := testkit.Script(testkit.Fine)
		testkit.Serve(h, u, asking("gpt-b"))
		used = used || u.Keys()[0] == met
	}
	if !used {
		t.Error("the key is not used for another model")
	}
	if c := pool.Census(time.Now()); c.Ready != 3 {
		t.Errorf("for requests of no model: %s", testkit.ReasonCounts(c))
	}
	key := adminapi.AskFor[observe.KeyStatus](t, "GET", "/keycycler/pools/scope-test/keys/"+testkit.IDOf(met), "")
	if key.State != "ready" || len(key.Scopes) != 1 || key.Scopes[0].Scope != "gpt-a" || key.Scopes[0].Class != "rate_limited" ||
		key.Scopes[0].Source != "retry-after" || key.Scopes[0].Remaining < 39-time.Since(began).Seconds() {
		t.Errorf("the admin API says %+v", key)
	}
	adminapi.AskFor[observe.KeyStatus](t, "POST", "/keycycler/pools/scope-test/keys/"+testkit.IDOf(met)+"/clear", "")
	if c := pool.CensusIn(time.Now(), "gpt-a"); c.Ready != 3 {
		t.Errorf("after a clearing: %s", testkit.ReasonCounts(c))
	}
}

func TestAModelIsExhaustedAlone(t *testing.T) {
	h := byModel(t, 2)
	if w, _ := testkit.Serve(h, testkit.Script(used), asking("gpt-a")); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	never := &testkit.Upstream{Answer: func(int, http.ResponseWriter, *http.Request) error {
		t.Error("the upstream was called for a model that no key is ready for")
		return nil
	}}
	if w, _ := testkit.Serve(h, never, asking("gpt-a")); w.Code != http.StatusTooManyRequests {
		t.Errorf("%d", w.Code)
	}
	if w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), asking("gpt-b")); w.Code != http.StatusOK {
		t.Errorf("another model gets %d", w.Code)
	}
}

func TestWhatCoolsForAllModels(t *testing.T) {
	for sentence, answer := range map[string]testkit.Reply{"a spent quota": testkit.Spent, "a refused key": testkit.BadKey} {
		h := byModel(t, 4)
		u := testkit.Script(answer, testkit.Fine)
		testkit.Serve(h, u, asking("gpt-a"))
		if c := h.roster.Load().Pool.CensusIn(time.Now(), "gpt-b"); c.Ready != 3 {
			t.Errorf("%s: %s", sentence, testkit.ReasonCounts(c))
		}
		for s := range 4 {
			h.roster.Load().Pool.Clear(time.Now(), rotator.Slot(s))
		}
	}
}

// Wherever the request names its model, the limit is that model's.
func TestWhereTheModelStands(t *testing.T) {
	form := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n" + strings.Repeat("x", 200_000) +
		"\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n"
	for _, row := range []struct {
		sentence, path, contentType, body, scope string
	}{
		{"a JSON body", "/v1/chat/completions", "application/json", `{"model":"gpt-a"}`, "gpt-a"},
		{"of two models the last", "/v1/chat/completions", "application/json", `{"model":"gpt-a","model":"gpt-b"}`, "gpt-b"},
		{"behind a large message", "/v1/chat/completions", "application/json", `{"messages":"` + strings.Repeat("x", 300_000) + `","model":"gpt-late"}`, "gpt-late"},
		{"before a large message", "/v1/chat/completions", "application/json", `{"model":"gpt-a","messages":"` + strings.Repeat("x", 300_000) + `"}`, "gpt-a"},
		{"a form, behind a file", "/v1/audio/transcriptions", "multipart/form-data; boundary=b", form, "whisper"},
		{"Gemini's path", "/v1beta/models/gemini-a:generateContent", "application/json", `{"model":"models/other"}`, "gemini-a"},
		{"Gemini's name in a body", "/v1/chat/completions", "application/json", `{"model":"models/gemini-a"}`, "gemini-a"},
		{"Azure's path", "/openai/deployments/gpt-x/chat/completions", "application/json", `{}`, "gpt-x"},
		{"nowhere", "/v1/chat/completions", "application/json", `{"messages":[]}`, ""},
		{"in a name that is none", "/v1/chat/completions", "application/json", "{\"model\":\"a\\u0000b\"}", ""},
	} {
		h := byModel(t, 3)
		r := testkit.Post(row.body)
		r.URL.Path = row.path
		r.Header.Set("Content-Type", row.contentType)
		u := testkit.Script(testkit.Limited, testkit.Fine)
		w, err := testkit.Serve(h, u, r)
		if err != nil || w.Code != http.StatusOK || u.Calls[1].Body != row.body {
			t.Fatalf("%s: %d, %v, %d bytes", row.sentence, w.Code, err, len(u.Calls[1].Body))
		}
		pool := h.roster.Load().Pool
		for s := range pool.Len() {
			st := pool.Status(time.Now(), rotator.Slot(s))
			if pool.Key(rotator.Slot(s)).Secret() != u.Keys()[0] {
				continue
			}
			if row.scope == "" && st.Condition != rotator.Cooling || row.scope != "" && (len(st.Scopes) != 1 || st.Scopes[0].Scope != row.scope) {
				t.Errorf("%s: %+v", row.sentence, st)
			}
			pool.Clear(time.Now(), rotator.Slot(s))
		}
	}
}
