package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/resource"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

var resourceTests int

// ownKeys gives the handler keys that no other test has: what is known about
// resources is the process's.
func ownKeys(n int, groups ...string) func(*Config) {
	resourceTests++
	return func(c *Config) {
		(*c.Keys.Groups)[0].Texts = nil
		for i := range n {
			key := fmt.Sprintf("sk-demo-resources-%d-%d", resourceTests, i)
			if i < len(groups) && groups[i] != "" {
				*c.Keys.Groups = append(*c.Keys.Groups, keyset.Group{Name: groups[i], Rank: plainRank, Texts: []string{key}})
				continue
			}
			(*c.Keys.Groups)[0].Texts = append((*c.Keys.Groups)[0].Texts, key)
		}
	}
}

// answering returns an upstream that always answers so.
func answering(contentType, body string, header ...string) *testkit.Upstream {
	r := testkit.Reply{Status: 200, Header: map[string]string{"Content-Type": contentType}, Body: body}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = header[i+1]
	}
	return testkit.Script(r)
}

func resourceRequest(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// usedKey sends a request and returns the key that the upstream saw.
func usedKey(t *testing.T, h *Gateway, next *testkit.Upstream, r *http.Request) string {
	t.Helper()
	if _, err := testkit.Serve(h, next, r); err != nil {
		t.Fatal(err)
	}
	keys := next.Keys()
	return keys[len(keys)-1]
}

// sticks tells whether requests like that always go out with the key.
func sticks(t *testing.T, h *Gateway, key string, request func() *http.Request) bool {
	t.Helper()
	next := answering("text/plain", "fine")
	for range 40 {
		if usedKey(t, h, next, request()) != key {
			return false
		}
	}
	return true
}

// sealedBy is what an upstream seals: as long as that is, and told apart by how it begins.
func sealedBy(id string) string { return "gAAAAABm" + id + strings.Repeat("Zm9v", 800) }

func TestResourcesAreLearned(t *testing.T) {
	for i, row := range []struct {
		sentence      string
		provider      string
		method, path  string
		next          func(id string) *testkit.Upstream
		use           string // a path, if it begins with a slash, or a body; %s is the id
		wanted        bool
		request, head string // the client's body; "Name: value"
	}{
		{"a file that was uploaded", "openai", "POST", "/v1/files",
			func(id string) *testkit.Upstream { return answering("application/json", `{"id":"file-`+id+`"}`) }, "/v1/files/file-%s", true, "", ""},
		{"a file that a list shows", "openai", "GET", "/v1/files",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"data":[{"id":"file-x`+id+`"},{"id":"file-`+id+`"}]}`)
			}, `{"file_id":"file-%s"}`, true, "", ""},
		{"a response in a stream", "openai", "POST", "/v1/responses",
			func(id string) *testkit.Upstream {
				return answering("text/event-stream", "event: response.created\ndata: {\"response\":{\"id\":\"resp_"+id+"\"}}\n\n")
			}, `{"previous_response_id":"resp_%s"}`, true, `{"input":"hi"}`, ""},
		{"an item of a response", "openai", "POST", "/v1/responses",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"id":"resp_x","output":[{"id":"rs_`+id+`"}]}`)
			}, `{"input":[{"type":"item_reference","id":"rs_%s"}]}`, true, `{"input":"hi"}`, ""},
		{"what only its key can read", "openai", "POST", "/v1/responses",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"output":[{"type":"reasoning","summary":[],"encrypted_content":"`+sealedBy(id)+`"}]}`)
			}, `{"input":[{"role":"user","content":"hi"},{"type":"reasoning","encrypted_content":"` + sealedBy("%s") + `"}]}`, true, `{"input":"hi"}`, ""},
		{"what only its key can read, at a stream's end", "openai", "POST", "/v1/responses",
			func(id string) *testkit.Upstream {
				return answering("text/event-stream", strings.Repeat("data: {\"type\":\"response.output_text.delta\",\"delta\":\"word\"}\n\n", 1000)+
					"data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"compaction\",\"encrypted_content\":\""+sealedBy(id)+"\"}}\n\n")
			}, `{"input":[{"type":"compaction","encrypted_content":"` + sealedBy("%s") + `"}]}`, true, `{"input":"hi"}`, ""},
		{"what a chat's answer seals is not followed", "openai", "POST", "/v1/chat/completions",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"encrypted_content":"`+sealedBy(id)+`"}`)
			}, `{"encrypted_content":"` + sealedBy("%s") + `"}`, false, `{}`, ""},
		{"what Anthropic seals any key can read", "anthropic", "POST", "/v1/messages",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"content":[{"encrypted_content":"`+sealedBy(id)+`"}]}`)
			}, `{"messages":[{"encrypted_content":"` + sealedBy("%s") + `"}]}`, false, `{}`, "Anthropic-Beta: code-execution-2025-08-25"},
		{"a fine-tuned model", "openai", "GET", "/v1/fine_tuning/jobs/ftjob-1",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"fine_tuned_model":"ft:gpt:acme::`+id+`"}`)
			}, `{"model":"ft:gpt:acme::%s"}`, true, "", ""},
		{"a call of the realtime API, by its Location", "openai", "POST", "/v1/realtime/calls",
			func(id string) *testkit.Upstream {
				return answering("application/sdp", "v=0", "Location", "/v1/realtime/calls/rtc_"+id)
			}, "/v1/realtime/calls/rtc_%s/hangup", true, "", ""},
		{"a UUID", "openai", "POST", "/v1/files",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"id":"`+uuidOf(id)+`"}`)
			}, "/v1/files/00000000-0000-0000-0000-%s", true, "", ""},
		{"Anthropic's batch", "anthropic", "POST", "/v1/messages/batches",
			func(id string) *testkit.Upstream { return answering("application/json", `{"id":"msgbatch_`+id+`"}`) }, "/v1/messages/batches/msgbatch_%s/results", true, "", ""},
		{"Anthropic's container", "anthropic", "POST", "/v1/messages",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"container":{"id":"container_`+id+`"}}`)
			}, `{"container":"container_%s"}`, true, `{}`, "Anthropic-Beta: code-execution-2025-08-25"},
		{"Gemini's file by its URL", "gemini", "POST", "/upload/v1beta/files",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"file":{"name":"files/`+id+`"}}`)
			},
			`{"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/%s"}}]}]}`, true, "", ""},
		{"Gemini's cache", "gemini", "POST", "/v1beta/cachedContents",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"name":"cachedContents/`+id+`"}`)
			},
			`{"cachedContent":"cachedContents/%s"}`, true, `{}`, ""},
		{"Gemini's upload, by the URL that it is given", "gemini", "POST", "/upload/v1beta/files",
			func(id string) *testkit.Upstream {
				return answering("text/plain", "", "X-Goog-Upload-URL", "https://example.com/upload/v1beta/files?upload_id="+id)
			}, "/upload/v1beta/files?upload_id=%s", true, `{}`, ""},
		{"a chat's text that says one", "openai", "POST", "/v1/chat/completions",
			func(id string) *testkit.Upstream { return answering("application/json", `{"id":"file-`+id+`"}`) }, "/v1/files/file-%s", false, `{}`, ""},
		{"the client's own words", "openai", "POST", "/v1/responses",
			func(id string) *testkit.Upstream {
				return answering("application/json", `{"id":"resp_y","metadata":{"id":"file-`+id+`"},"output":[{"content":[{"text":"file-`+id+`"}]}]}`)
			}, "/v1/files/file-%s", false, `{}`, ""},
		{"an error", "openai", "GET", "/v1/files/file-1",
			func(id string) *testkit.Upstream {
				return testkit.Script(testkit.Reply{Status: 404, Header: map[string]string{"Content-Type": "application/json"}, Body: `{"id":"file-` + id + `"}`})
			}, "/v1/files/file-%s", false, "", ""},
		{"a file's content", "openai", "GET", "/v1/files/file-1/content",
			func(id string) *testkit.Upstream { return answering("application/json", `{"id":"file-`+id+`"}`) }, "/v1/files/file-%s", false, "", ""},
		{"what is beyond what is read", "openai", "GET", "/v1/files",
			func(id string) *testkit.Upstream {
				return answering("application/json", strings.Repeat(" ", resource.MaxLearned)+`{"id":"file-`+id+`"}`)
			}, "/v1/files/file-%s", false, "", ""},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			h := provision(t, 0, func(c *Config) {
				ownKeys(30)(c)
				c.Provider, c.Auth = provider.Presets[row.provider], &provider.Auth{Bearer: true}
			})
			id := fmt.Sprintf("%012d", i)
			r := resourceRequest(row.method, row.path, row.request)
			if name, value, ok := strings.Cut(row.head, ": "); ok {
				r.Header.Set(name, value)
			}
			key := usedKey(t, h, row.next(id), r)
			use := func() *http.Request {
				text := fmt.Sprintf(row.use, id)
				if text[0] == '/' {
					return resourceRequest("GET", text, "")
				}
				return resourceRequest("POST", "/v1/anything", text)
			}
			if got := sticks(t, h, key, use); got != row.wanted {
				t.Errorf("it sticks to the key that made it: %t", got)
			}
		})
	}
}

func uuidOf(id string) string { return "00000000-0000-0000-0000-" + id }

// owned makes a key of the handler's the owner of the id and returns the key.
func owned(t *testing.T, h *Gateway, s rotator.Slot, id string) string {
	t.Helper()
	pool := h.roster.Load().Pool
	pool.Own(time.Now(), s, h.Provider.Made.Resource([]byte(id)))
	return pool.Key(s).Secret()
}

func TestResourcesAreFollowed(t *testing.T) {
	h := provision(t, 0, ownKeys(30))
	key := owned(t, h, 3, "file-follow")
	owned(t, h, 4, "file-another")
	secret := owned(t, h, 5, "ek_follow")
	padding := strings.Repeat("a b ", 8<<10)
	for _, row := range []struct {
		sentence string
		request  func() *http.Request
		want     string // "": any
	}{
		{"in the path", func() *http.Request { return resourceRequest("GET", "/v1/files/file-follow/content", "") }, key},
		{"in the query", func() *http.Request { return resourceRequest("GET", "/v1/files?after=file-follow", "") }, key},
		{"in the body", func() *http.Request { return resourceRequest("POST", "/v1/batches", `{"input_file_id":"file-follow"}`) }, key},
		{"deep in the body", func() *http.Request {
			return resourceRequest("POST", "/v1/responses", `{"input":[{"content":[{"type":"input_file","file_id":"file-follow"}]}]}`)
		}, key},
		{"behind others that are not known", func() *http.Request {
			return resourceRequest("POST", "/v1/x", `{"a":"file-unknown","b":"file-follow"}`)
		}, key},
		{"the path comes first", func() *http.Request { return resourceRequest("POST", "/v1/files/file-follow", `{"a":"file-another"}`) }, key},
		{"then the body's order", func() *http.Request {
			return resourceRequest("POST", "/v1/x", `{"a":"file-follow","b":"file-another"}`)
		}, key},
		{"32 KiB into the body", func() *http.Request {
			return resourceRequest("POST", "/v1/x", `{"a":"`+padding+`","b":"file-follow"}`)
		}, key},
		{"in a body without a length", func() *http.Request {
			r := resourceRequest("POST", "/v1/x", `{"b":"file-follow"}`)
			r.ContentLength = -1
			return r
		}, key},
		{"beyond 64 KiB it is not looked for", func() *http.Request {
			return resourceRequest("POST", "/v1/x", `{"a":"`+padding+padding+padding+`","b":"file-follow"}`)
		}, ""},
		{"in a client's notes it means nothing", func() *http.Request { return resourceRequest("POST", "/v1/x", `{"metadata":{"a":"file-follow"}}`) }, ""},
		{"nor within a text", func() *http.Request { return resourceRequest("POST", "/v1/x", `{"a":"see file-follow"}`) }, ""},
		{"nor in what is no JSON", func() *http.Request {
			r := resourceRequest("POST", "/v1/x", `"file-follow"`)
			r.Header.Set("Content-Type", "text/plain")
			return r
		}, ""},
		{"an ephemeral secret", func() *http.Request {
			r := resourceRequest("POST", "/v1/realtime/calls", "")
			r.Header.Set("Authorization", "Bearer ek_follow")
			return r
		}, secret},
		{"one of a browser", func() *http.Request {
			r := resourceRequest("GET", "/v1/realtime", "")
			r.Header.Set("Sec-Websocket-Protocol", "realtime, openai-insecure-api-key.ek_follow")
			return r
		}, secret},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			if row.want != "" && !sticks(t, h, row.want, row.request) {
				t.Error("it went out with another key")
			}
			if row.want == "" && (sticks(t, h, key, row.request) || sticks(t, h, secret, row.request)) {
				t.Error("it sticks to a key")
			}
		})
	}
}

func TestResourcesOff(t *testing.T) {
	h := provision(t, 0, func(c *Config) {
		ownKeys(10)(c)
		c.Resources = false
	})
	usedKey(t, h, answering("application/json", `{"id":"file-off"}`), resourceRequest("POST", "/v1/files", ""))
	if _, ok := h.roster.Load().Pool.Owner(time.Now(), rotator.ResourceOf([]byte("file-off"))); ok {
		t.Error("an id was learned")
	}
	key := owned(t, h, 3, "file-off")
	if sticks(t, h, key, func() *http.Request { return resourceRequest("GET", "/v1/files/file-off", "") }) {
		t.Error("an id was followed")
	}
}

func TestResourceWhoseKeyIsNotReady(t *testing.T) {
	file := func() *http.Request { return resourceRequest("GET", "/v1/files/file-busy", "") }
	t.Run("the request waits for that key alone", func(t *testing.T) {
		h := provision(t, 0, ownKeys(10))
		key := owned(t, h, 3, "file-busy")
		next := testkit.Script(used, testkit.Fine)
		w, err := testkit.Serve(h, next, file())
		if err != nil || w.Code != 429 || w.Header().Get("Retry-After") == "" || len(next.Keys()) != 1 || next.Keys()[0] != key {
			t.Errorf("answer %d, %v, after %v (%v)", w.Code, w.Header(), next.Keys(), err)
		}
		if !strings.Contains(w.Body.String(), "made what the request names") {
			t.Errorf("the answer does not say why: %s", w.Body)
		}
		for range 20 {
			if w, _ := testkit.Serve(h, next, file()); w.Code != 429 {
				t.Fatalf("a foreign key answered %d", w.Code)
			}
			if w, _ := testkit.Serve(h, next, testkit.Post("")); w.Code != 200 {
				t.Fatalf("another request was answered %d", w.Code)
			}
		}
	})
	t.Run("another key of its group serves", func(t *testing.T) {
		h := provision(t, 0, ownKeys(6, "", "acme", "", "acme"))
		roster := h.roster.Load()
		slot := rotator.Slot(roster.Pool.Len() - 1)
		sibling := roster.Pool.Key(roster.Family(slot)[0]).Secret()
		owned(t, h, slot, "file-busy")
		if w, _ := testkit.Serve(h, testkit.Script(testkit.BadKey, testkit.Fine), file()); w.Code != 200 {
			t.Fatalf("answered %d", w.Code)
		}
		if !sticks(t, h, sibling, file) {
			t.Error("it went out with another key than the one of its group")
		}
	})
	t.Run("a key that is disabled makes it unavailable", func(t *testing.T) {
		h := provision(t, 0, ownKeys(10))
		owned(t, h, 3, "file-busy")
		h.roster.Load().Pool.Disable(time.Now(), 3)
		w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), file())
		if w.Code != 503 || w.Header().Get("Retry-After") != "" || !strings.Contains(w.Body.String(), "It is disabled") {
			t.Errorf("answered %d, %v: %s", w.Code, w.Header(), w.Body)
		}
	})
	t.Run("a key that was removed is as if nothing was known", func(t *testing.T) {
		h := provision(t, 0, ownKeys(10))
		gone := provision(t, 0, ownKeys(1))
		owned(t, gone, 0, "file-gone")
		next := testkit.Script(testkit.Fine)
		if w, _ := testkit.Serve(h, next, resourceRequest("GET", "/v1/files/file-gone", "")); w.Code != 200 {
			t.Errorf("answered %d", w.Code)
		}
	})
}

// What the client gets is not touched: not a byte, and none is held back.
func TestLearningKeepsTheAnswer(t *testing.T) {
	h := provision(t, 0, ownKeys(2))
	body := `{"id":"file-kept","x":"` + strings.Repeat("y", 300_000) + `"}`
	next := &testkit.Upstream{Answer: func(_ int, w http.ResponseWriter, r *http.Request) error {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("the upstream was asked for %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader(body))
		return err
	}}
	r := resourceRequest("GET", "/v1/files", "")
	r.Header.Set("Accept-Encoding", "gzip")
	w, err := testkit.Serve(h, next, r)
	if err != nil || w.Body.String() != body {
		t.Errorf("%d bytes came of %d (%v)", w.Body.Len(), len(body), err)
	}
	if r.Header.Get("Accept-Encoding") != "gzip" {
		t.Error("the client's own request was changed")
	}
	if _, ok := h.roster.Load().Pool.Owner(time.Now(), rotator.ResourceOf([]byte("file-kept"))); !ok {
		t.Error("nothing was learned")
	}
}

// BenchmarkResources compares a chat request while no resource is known with one while
// 100,000 are.
func BenchmarkResources(b *testing.B) {
	content := []byte(`{"model":"gpt-demo","messages":[` + strings.Repeat(`{"role":"user","content":"`+strings.Repeat("some words ", 20)+`"},`, 4) +
		`{"role":"user","content":"hi"}]}`)
	next := handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusOK)
		return err
	})
	off := false
	for _, bench := range []struct {
		name      string
		resources *bool
		known     int
	}{{"off", &off, 100_000}, {"none known", nil, 0}, {"100000 known", nil, 100_000}} {
		b.Run(bench.name, func(b *testing.B) {
			h := provision(b, 20, func(c *Config) { c.Resources = bench.resources == nil || *bench.resources })
			pool := h.roster.Load().Pool
			for i := range bench.known {
				pool.Own(time.Now(), rotator.Slot(i%20), rotator.ResourceOf(fmt.Appendf(nil, "file-%d", i)))
			}
			r, body := benchRequest(content)
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(content)
				if err := h.ServeHTTP(w, r, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What comes by the thousand pushes nothing out that is made once.
func TestThousandsOfResponsesLeaveABatchItsKey(t *testing.T) {
	h := provision(t, 0, ownKeys(5))
	silence(h)
	key := usedKey(t, h, answering("application/json", `{"id":"batch_of-the-night"}`), resourceRequest("POST", "/v1/batches", ""))
	n := 0
	next := &testkit.Upstream{Answer: func(_ int, w http.ResponseWriter, _ *http.Request) error {
		n++
		body := fmt.Sprintf(`{"id":"resp_%[1]d","output":[{"id":"rs_%[1]d"},{"id":"fc_%[1]d"},{"id":"msg_%[1]d"}]}`, n)
		return testkit.Reply{Status: 200, Header: map[string]string{"Content-Type": "application/json"}, Body: body}.Write(w)
	}}
	for range 27_000 {
		usedKey(t, h, next, resourceRequest("POST", "/v1/responses", ""))
		next.Calls = nil
	}
	if !sticks(t, h, key, func() *http.Request { return resourceRequest("GET", "/v1/batches/batch_of-the-night", "") }) {
		t.Error("the batch is asked for with other keys")
	}
}
