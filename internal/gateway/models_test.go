package gateway

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// block is a group of keys that serve these models alone.
func block(models string, keys ...string) keyset.Group {
	g := keyset.Group{Rank: plainRank, Texts: keys}
	if models != "" {
		g.Place = &keyset.Place{Offer: &catalog.Offer{Models: strings.Fields(models)}}
	}
	return g
}

// offering makes the config's keys those of the blocks.
func offering(blocks ...keyset.Group) func(*Config) {
	return func(c *Config) { c.Keys.Groups = &blocks }
}

// never is an upstream that must not be called.
func never(t *testing.T) *testkit.Upstream {
	return &testkit.Upstream{Answer: func(int, http.ResponseWriter, *http.Request) error {
		t.Error("the upstream was called")
		return nil
	}}
}

// asOf returns a request with a body of this type.
func asOf(body, contentType string) *http.Request {
	r := testkit.Post(body)
	r.Header.Set("Content-Type", contentType)
	return r
}

func TestARequestGetsOnlyKeysOfItsModel(t *testing.T) {
	const json = "application/json"
	long := strings.Repeat("x", 100<<10)
	var folded bytes.Buffer
	z := gzip.NewWriter(&folded)
	io.WriteString(z, `{"model":"gpt-b"}`)
	z.Close()
	for _, row := range []struct {
		name    string
		request func() *http.Request
		keys    string // those that it may get
	}{
		{"a pattern", func() *http.Request { return asking("gpt-a-mini") }, "a1 a2 all"},
		{"a name", func() *http.Request { return asking("gpt-b") }, "b all"},
		{"case counts", func() *http.Request { return asking("GPT-B") }, "all"},
		{"no model", func() *http.Request { return asOf(`{"input":"x"}`, json) }, "a1 a2 b all"},
		{"no body", func() *http.Request { return httptest.NewRequest("GET", "/v1/files", nil) }, "a1 a2 b all"},
		{"Gemini's path", func() *http.Request { return httptest.NewRequest("POST", "/v1beta/models/gpt-b:generateContent", nil) }, "b all"},
		{"Azure's path", func() *http.Request {
			return httptest.NewRequest("POST", "/openai/deployments/gpt-b/chat/completions", nil)
		}, "b all"},
		{"with its collection", func() *http.Request { return asking("models/gpt-b") }, "b all"},
		{"a large body that names it soon", func() *http.Request { return asOf(`{"model":"gpt-b","input":"`+long+`"}`, json) }, "b all"},
		{"a body of no stated length", func() *http.Request {
			r := asOf(`{"model":"gpt-b","input":"x"}`, json)
			r.ContentLength = -1
			return r
		}, "b all"},
		{"one that names it late", func() *http.Request { return asOf(`{"input":"`+long+`","model":"gpt-b"}`, json) }, "a1 a2 b all"},
		{"a form", func() *http.Request {
			return asOf("--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-b\r\n--x--\r\n", "multipart/form-data; boundary=x")
		}, "b all"},
		{"gzip", func() *http.Request {
			r := asOf(folded.String(), json)
			r.Header.Set("Content-Encoding", "gzip")
			return r
		}, "b all"},
		{"a name that is too long for one", func() *http.Request { return asking(strings.Repeat("m", 257)) }, "a1 a2 b all"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, random := range []bool{true, false} {
				h := provision(t, 1, func(c *Config) {
					offering(block("gpt-a* o3", "a1", "a2"), block("gpt-b", "b"), block("", "all"))(c)
					c.Random = random
				})
				seen := make(map[string]bool)
				for range 40 {
					u := testkit.Script(testkit.Fine)
					if w, err := testkit.Serve(h, u, row.request()); err != nil || w.Code != 200 {
						t.Fatalf("%d, %v", w.Code, err)
					}
					seen[u.Keys()[0]] = true
				}
				for _, key := range []string{"a1", "a2", "b", "all"} {
					if want := slices.Contains(strings.Fields(row.keys), key); seen[key] != want {
						t.Errorf("random %t: key %s was used: %t", random, key, seen[key])
					}
				}
			}
		})
	}
}

// A refused request goes on with keys of its model alone, and they are all that there are.
func TestARefusedRequestStaysWithItsModel(t *testing.T) {
	h := provision(t, 1, func(c *Config) {
		offering(block("gpt-a", "a1", "a2", "a3"), block("gpt-b", "b1", "b2"))(c)
		c.Resources = false
	})
	u := testkit.Script(used)
	w, err := testkit.Serve(h, u, asking("gpt-b"))
	keys := u.Keys()
	slices.Sort(keys)
	if err != nil || w.Code != http.StatusTooManyRequests || !slices.Equal(keys, []string{"b1", "b2"}) {
		t.Errorf("%d, %v, with the keys %v", w.Code, err, keys)
	}
	if wait := w.Header().Get("Retry-After"); len(wait) != 2 {
		t.Errorf("Retry-After %q, want that of its keys", wait)
	}
	testkit.Serve(h, never(t), asking("gpt-b"))
	if w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), asking("gpt-a")); w.Code != http.StatusOK {
		t.Errorf("the other model gets %d", w.Code)
	}
}

// The log, the list and the metric name a model none of whose keys is ready.
func TestAModelWithoutAReadyKeyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := logged(t, 1, func(c *Config) {
			offering(block("gpt-a*", "a1", "a2"), block("gpt-b", "b"))(c)
			c.ByModel = false
		})
		for s := range rotator.Slot(2) {
			h.KeyPool().Cool(time.Now(), s, rotator.Cooldown{For: time.Minute, Reason: 1, Source: "retry-after"})
		}
		h.ask("gpt-a1", 10, http.StatusTooManyRequests)
		h.ask("gpt-a2", 10, http.StatusTooManyRequests)
		h.ask("gpt-b", 10, http.StatusOK)
		h.want("a pattern", "warn gpt-a*: no key is ready for the model (2 keys, rate_limited, 60 s)")
		now := time.Now()
		if got := observe.Exhausted(h.roster.Load().Index, now); len(got) != 1 || got[0].Model != "gpt-a*" || got[0].Keys != 2 {
			t.Errorf("exhausted are %+v", got)
		}
		status := observe.Live.View(nil, "models-test").Status(now)
		if len(status.Models) != 1 || status.Models[0].Model != "gpt-a*" || status.Models[0].Cooling != 2 || status.Models[0].Remaining != 60 {
			t.Errorf("the list has %+v", status.Models)
		}
		if n := gather(t, h.Registry)[`caddy_keycycler_models_exhausted{pool="models-test"}`]; n != 1 {
			t.Errorf("the metric says %v", n)
		}
		time.Sleep(time.Minute)
		h.ask("gpt-a3", 10, http.StatusOK)
		h.want("the keys are back", "info gpt-a*: keys are ready again for the model")
	})
}

func TestAnUnknownModel(t *testing.T) {
	h := logged(t, 1, func(c *Config) {
		offering(block("gpt-a", "a1"), block("gpt-b*", "b1"))(c)
		c.ByModel, c.MaxWait = false, time.Hour
	})
	for _, model := range []string{"gpt-x", `<"&'` + "`\\", strings.Repeat("m", 256), "ü"} {
		for range 20 {
			w, err := testkit.Serve(h, never(t), asking(model))
			if err != nil || w.Code != http.StatusNotFound || w.Header().Get("Retry-After") != "" {
				t.Fatalf("%d %v, %v", w.Code, w.Header(), err)
			}
			want := new(bytes.Buffer)
			rec := httptest.NewRecorder()
			provider.Presets["openai"].WriteRefusal(rec, provider.Refusal{Model: model})
			want.Write(rec.Body.Bytes())
			if !bytes.Equal(w.Body.Bytes(), want.Bytes()) || !strings.Contains(want.String(), `"code":"model_not_found"`) {
				t.Fatalf("answered %s, want %s", w.Body, want)
			}
		}
		h.want(model, "warn "+model+": no key serves the model: add it to the models of a block of keys")
	}
	if n := gather(t, h.Registry)[`caddy_keycycler_unknown_model_total{pool="models-test"}`]; n < 80 {
		t.Errorf("%v were counted", n)
	}
	for s := range rotator.Slot(2) {
		if st := h.KeyPool().Status(time.Now(), s); st.Attempts != 0 || st.InFlight != 0 || !st.LastUsed.IsZero() {
			t.Errorf("a key was touched: %+v", st)
		}
	}
	h.ask("gpt-a", 2, http.StatusOK)
}

// However many models clients invent, the log tells of some.
func TestInventedModelsAreToldOfInPart(t *testing.T) {
	h := logged(t, 1, func(c *Config) {
		offering(block("gpt-a*", "a1"), block("gpt-b", "b1"))(c)
		c.ByModel = false
	})
	for i := range 5 * roster.MaxModels {
		if w, _ := testkit.Serve(h, never(t), asking(fmt.Sprint("junk-", i))); w.Code != http.StatusNotFound {
			t.Fatalf("%d", w.Code)
		}
	}
	if n := len(h.lines()); n != roster.MaxModels {
		t.Errorf("%d lines were logged, want %d", n, roster.MaxModels)
	}
}

// Requests that wait for keys of other models do not keep one from its own.
func TestModelsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, offering(block("gpt-a", "a1"), block("gpt-b", "b1"), block("gpt-c", "c1")))
		coolAll(h, time.Minute, -20*time.Second) // a1 for 60 s, b1 for 40 s, c1 for 20 s
		began := time.Now()
		served := make(map[string]time.Duration)
		var mu sync.Mutex
		var done sync.WaitGroup
		for _, model := range []string{"gpt-a", "gpt-b", "gpt-c"} {
			done.Go(func() {
				w, err := testkit.Serve(h, testkit.Script(testkit.Fine), asking(model))
				mu.Lock()
				defer mu.Unlock()
				if served[model] = time.Since(began); err != nil || w.Code != http.StatusOK {
					t.Errorf("%s got %d, %v", model, w.Code, err)
				}
			})
			synctest.Wait() // so they come one after the other
		}
		done.Wait()
		for model, want := range map[string]time.Duration{"gpt-a": time.Minute, "gpt-b": 40 * time.Second, "gpt-c": 20 * time.Second} {
			if served[model] != want {
				t.Errorf("%s was served after %s, want %s", model, served[model], want)
			}
		}
	})
}

// While nothing is ready for its model, a request is paced as if the pool had no other keys.
func TestThePaceSeesTheModelsKeys(t *testing.T) {
	h := provision(t, 1, offering(block("gpt-a", "a1"), block("gpt-b", "b1")))
	x := exchangeFor(t, h, asking("gpt-a"))
	h.KeyPool().Cool(time.Now(), 0, rotator.Cooldown{For: time.Hour})
	if x.othersReady(time.Now())() {
		t.Error("the key of another model counts as ready")
	}
	x = exchangeFor(t, h, asking("gpt-b"))
	if !x.othersReady(time.Now())() {
		t.Error("its own key does not")
	}
}

// exchangeFor returns an exchange that has begun, and ends with the test.
func exchangeFor(t *testing.T, h *Gateway, r *http.Request) *exchange {
	x := exchanges.Get().(*exchange)
	x.begin(h, httptest.NewRecorder(), r)
	t.Cleanup(func() { x.end(nil) })
	return x
}

// What an address fails counts besides the model, and neither changes the other.
func TestLotsThatAreShut(t *testing.T) {
	h := provision(t, 1, offering(block("gpt-a", "a1"), block("gpt-b", "b1"), block("gpt-*", "c1")))
	x := exchangeFor(t, h, asking("gpt-b"))
	plain := nameOfLots(x.shut())
	x.closed.Add(1)
	if both := x.shut(); !both.Has(0) || !both.Has(1) || both.Has(2) {
		t.Errorf("shut are %v", both)
	}
	if nameOfLots(x.shut()) == plain {
		t.Error("requests that want other lots stand in one line")
	}
	if n := testing.AllocsPerRun(100, func() { x.shut() }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
	x.closed = x.closed[:0]
	if l := x.shut(); nameOfLots(l) != plain || l.Has(1) {
		t.Errorf("then %v", l)
	}
	if nameOfLots(rotator.Lots{0, 0}) != "" || nameOfLots(rotator.Lots{1}) != nameOfLots(rotator.Lots{1, 0}) {
		t.Error("equal sets have different names")
	}
}

// Its key does not serve the model: no other one could find the file.
func TestAResourceOfAnotherModelsKey(t *testing.T) {
	h := provision(t, 1, offering(block("gpt-a", "a1"), block("gpt-b", "b1")))
	made := &testkit.Upstream{Answer: func(_ int, w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(200)
		_, err := io.WriteString(w, `{"id":"resp_123","object":"response"}`)
		return err
	}}
	post := func(body string) *http.Request {
		r := httptest.NewRequest("POST", "/v1/responses", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		return r
	}
	if w, err := testkit.Serve(h, made, post(`{"model":"gpt-a","input":"x"}`)); err != nil || w.Code != 200 || made.Keys()[0] != "a1" {
		t.Fatalf("%d, %v", w.Code, err)
	}
	u := testkit.Script(testkit.Fine)
	if testkit.Serve(h, u, post(`{"model":"gpt-a","previous_response_id":"resp_123"}`)); !slices.Equal(u.Keys(), []string{"a1"}) {
		t.Errorf("with its model: %v", u.Keys())
	}
	if w, err := testkit.Serve(h, never(t), post(`{"model":"gpt-b","previous_response_id":"resp_123"}`)); err != nil || w.Code != http.StatusNotFound {
		t.Errorf("with another one: %d, %v", w.Code, err)
	}
}

func TestTheListOfModels(t *testing.T) {
	openAI := func(id string) string {
		return `{"id":"` + id + `","object":"model","created":0,"owned_by":"keycycler"}`
	}
	anthropic := func(id string) string {
		return `{"type":"model","id":"` + id + `","display_name":"` + id + `","created_at":"1970-01-01T00:00:00Z"}`
	}
	gemini := func(id string) string {
		return `{"name":"models/` + id + `","displayName":"` + id + `","supportedGenerationMethods":["generateContent","countTokens"]}`
	}
	list := `{"object":"list","data":[` + openAI("a/b") + "," + openAI("m1") + "," + openAI("m2") + "]}"
	for _, row := range []struct {
		provider, method, path string
		status                 int
		body                   string // "": it goes to the upstream
	}{
		{"openai", "GET", "/v1/models", 200, list},
		{"openai", "HEAD", "/v1/models", 200, list},
		{"openai", "GET", "/v1/models/m1", 200, openAI("m1")},
		{"openai", "GET", "/v1/models/a/b", 200, openAI("a/b")},
		{"openai", "GET", "/v1/models/gpt-4o", 200, openAI("gpt-4o")},
		{"openai", "GET", "/v1/models/m3", 404, `{"error":{"message":"The model ` + "`m3`" + ` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}`},
		{"openai", "POST", "/v1/models", 200, ""},
		{"openai", "DELETE", "/v1/models/m1", 200, ""},
		{"openai", "GET", "/v1/models/", 200, ""},
		{"openai", "GET", "/v1/modelsx", 200, ""},
		{"openai", "GET", "/v1/files", 200, ""},
		{"anthropic", "GET", "/v1/models", 200, `{"data":[` + anthropic("a/b") + "," + anthropic("m1") + "," + anthropic("m2") + `],"has_more":false,"first_id":"a/b","last_id":"m2"}`},
		{"anthropic", "GET", "/v1/models/m2", 200, anthropic("m2")},
		{"gemini", "GET", "/v1beta/models", 200, `{"models":[` + gemini("a/b") + "," + gemini("m1") + "," + gemini("m2") + `]}`},
		{"gemini", "GET", "/v1beta/models/m1", 200, gemini("m1")},
		{"gemini", "GET", "/v1beta/openai/models", 200, list},
		{"gemini", "GET", "/v1beta/models/m3", 404, `{"error":{"code":404,"message":"models/m3 is not found. Call ListModels to see the list of available models and their supported methods.","status":"NOT_FOUND"}}`},
		{"azure", "GET", "/openai/models", 200, list},
		{"azure", "GET", "/openai/v1/models/m1", 200, openAI("m1")},
		{"cohere", "GET", "/v1/models", 200, `{"models":[{"name":"a/b"},{"name":"m1"},{"name":"m2"}]}`},
		{"cohere", "GET", "/compatibility/v1/models", 200, list},
		{"github", "GET", "/v1/models", 200, list},
		{"volcengine", "GET", "/api/v3/models", 200, list},
		{"generic", "GET", "/v1/models", 200, list},
	} {
		t.Run(row.provider+" "+row.method+" "+row.path, func(t *testing.T) {
			renaming := block("m2 m1 gpt-*", "a1")
			renaming.Place.Offer.Renames = []catalog.Rename{{From: "m1", To: "east-m1"}, {From: "gone", To: "x"}}
			other := keyset.Group{Rank: plainRank, Texts: []string{"b1"}, Place: &keyset.Place{Offer: &catalog.Offer{Renames: []catalog.Rename{{From: "a/b", To: "c"}, {From: "z*", To: "c"}}}}}
			h := provision(t, 1, func(c *Config) {
				offering(renaming, other)(c)
				c.Provider, c.ModelsEndpoint = provider.Presets[row.provider], true
			})
			u := testkit.Script(testkit.Fine)
			w, err := testkit.Serve(h, u, httptest.NewRequest(row.method, row.path, nil))
			if err != nil || w.Code != row.status || (row.body == "") != (len(u.Keys()) == 1) {
				t.Fatalf("%d, %v, %d calls: %s", w.Code, err, len(u.Keys()), w.Body)
			}
			if row.body != "" && w.Body.String() != row.body+"\n" {
				t.Errorf("answered %swant     %s", w.Body, row.body)
			}
		})
	}
}

// The list is for those who may use the pool, and for nobody where it is off.
func TestWhoGetsTheListOfModels(t *testing.T) {
	h := provision(t, 1, func(c *Config) {
		offering(block("m1", "a1"))(c)
		c.ModelsEndpoint = true
		c.Tokens = &client.Source{From: &keyset.Inputs{Texts: []string{"ada:token-of-ada-1234"}}, Log: c.Logger}
	})
	ask := func(token string, next caddyhttp.Handler) int {
		r := httptest.NewRequest("GET", "/v1/models", nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w, err := testkit.Serve(h, next, r)
		if err != nil {
			t.Error(err)
		}
		return w.Code
	}
	if a, b, c := ask("token-of-ada-1234", never(t)), ask("wrong", never(t)), ask("", never(t)); a != 200 || b != 401 || c != 401 {
		t.Errorf("answered %d, %d, %d", a, b, c)
	}
	h = provision(t, 1, offering(block("m1", "a1")))
	if u := testkit.Script(testkit.Fine); ask("", u) != 200 || len(u.Keys()) != 1 {
		t.Error("the list does not come from the upstream, though it is off")
	}
}

// Keys that a reload adds serve who waits for their model.
func TestPlacesOutliveAReload(t *testing.T) {
	h := provision(t, 1, offering(block("gpt-a", "a1"), block("gpt-b", "b1")))
	*h.Keys.Groups = []keyset.Group{block("gpt-b", "b1"), block("gpt-c", "c1")}
	if err := h.reloadKeys(); err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]int{"gpt-a": 404, "gpt-b": 200, "gpt-c": 200} {
		if w, err := testkit.Serve(h, testkit.Script(testkit.Fine), asking(model)); err != nil || w.Code != want {
			t.Errorf("%s got %d, %v, want %d", model, w.Code, err, want)
		}
	}
}
