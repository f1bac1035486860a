package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// keeper is an upstream that keeps what is made with a key for that key alone, as a
// provider does for organisations: to others it is a 404.
type keeper struct {
	*httptest.Server

	mu      sync.Mutex
	made    map[string]string // id → key
	limited map[string]bool   // keys
	missed  int               // requests for what another key has made
}

func startKeeper(t testing.TB) *keeper {
	t.Helper()
	k := &keeper{made: make(map[string]string), limited: make(map[string]bool)}
	k.Server = httptest.NewServer(k)
	t.Cleanup(func() { closeServer(t, k.Server) })
	return k
}

// make makes a resource and returns its id.
func (k *keeper) make(prefix, key string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := fmt.Sprintf("%s%024d", prefix, len(k.made))
	k.made[id] = key
	return id
}

// has tells whether the key may use the resource; "" names none.
func (k *keeper) has(key, id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" || k.made[id] == key {
		return true
	}
	k.missed++
	return false
}

func (k *keeper) misses() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.missed
}

func (k *keeper) isLimited(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.limited[key]
}

// limit makes the key that has made the resource meet its limit from now on.
func (k *keeper) limit(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limited[k.made[id]] = true
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	body, _ := io.ReadAll(r.Body)
	var named struct {
		Previous string `json:"previous_response_id"`
		File     string `json:"input_file_id"`
		Messages []struct {
			Content []struct {
				File struct {
					ID string `json:"file_id"`
				}
			}
		}
		Stream bool
	}
	_ = json.Unmarshal(body, &named)
	collection, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	id, content, _ := strings.Cut(id, "/")
	if collection == "chat" {
		id = ""
	}
	for _, m := range named.Messages {
		for _, c := range m.Content {
			named.File = c.File.ID
		}
	}
	switch {
	case k.isLimited(key):
		w.Header().Set("Retry-After", "40")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, rateLimitBody)
	case !k.has(key, id) || !k.has(key, named.Previous) || !k.has(key, named.File):
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"message":"No such object"}}`)
	case content == "content":
		io.WriteString(w, "what the file holds")
	case collection == "responses" && named.Stream:
		k.stream(w, k.make("resp_", key))
	default:
		if prefix := map[string]string{"files": "file-", "batches": "batch_", "responses": "resp_"}[collection]; id == "" {
			id = k.make(prefix, key)
		}
		k.answer(w, r, fmt.Sprintf(`{"id":%q,"object":"x"}`, id))
	}
}

// answer answers in JSON, compressed where the client allows that.
func (k *keeper) answer(w http.ResponseWriter, r *http.Request, text string) {
	w.Header().Set("Content-Type", "application/json")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		io.WriteString(w, text)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	io.WriteString(z, text)
	z.Close()
}

// stream sends the events of a response, in pieces that are cut anywhere.
func (k *keeper) stream(w http.ResponseWriter, id string) {
	w.Header().Set("Content-Type", "text/event-stream")
	text := fmt.Sprintf("event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":%q}}\n\n", id) +
		"event: response.output_text.delta\ndata: {\"delta\":\"hello there\"}\n\n"
	for len(text) > 0 {
		n := min(len(text), 7)
		io.WriteString(w, text[:n])
		http.NewResponseController(w).Flush()
		text = text[n:]
	}
}

// apiClient speaks to a gateway as an SDK does.
type apiClient struct {
	t   testing.TB
	url string
}

func (c apiClient) call(method, path, contentType, body string) (int, string) {
	c.t.Helper()
	r := request(c.t, method, c.url+path, body)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept-Encoding", "gzip")
	res, answer := do(c.t, http.DefaultClient, r)
	if res.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(answer))
		if err != nil {
			c.t.Fatal(err)
		}
		answer, _ = io.ReadAll(z)
	}
	return res.StatusCode, string(answer)
}

func (c apiClient) json(method, path, body string) (int, string) {
	c.t.Helper()
	return c.call(method, path, "application/json", body)
}

// must returns the id in an answer that must be a success.
func (c apiClient) must(status int, answer string) string {
	c.t.Helper()
	if status != http.StatusOK {
		c.t.Fatalf("answered %d: %s", status, answer)
	}
	_, id, _ := strings.Cut(answer, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	return id
}

func (c apiClient) upload() string {
	c.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	w.WriteField("purpose", "batch")
	part, _ := w.CreateFormFile("file", "input.jsonl")
	io.WriteString(part, strings.Repeat("{}\n", 100))
	w.Close()
	return c.must(c.call("POST", "/v1/files", w.FormDataContentType(), form.String()))
}

// use goes through the life of a file, and reports the statuses that were no success.
func (c apiClient) use(file string) (failures []int) {
	c.t.Helper()
	for _, step := range [][3]string{
		{"GET", "/v1/files/" + file, ""},
		{"POST", "/v1/chat/completions", `{"model":"gpt-demo","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"` + file + `"}}]}]}`},
		{"POST", "/v1/batches", `{"input_file_id":"` + file + `","endpoint":"/v1/chat/completions"}`},
		{"GET", "/v1/files/" + file + "/content", ""},
		{"DELETE", "/v1/files/" + file, ""},
	} {
		if status, _ := c.json(step[0], step[1], step[2]); status != http.StatusOK {
			failures = append(failures, status)
		}
	}
	return failures
}

func TestResourcesThroughCaddy(t *testing.T) {
	k := startKeeper(t)
	g := startGateway(t, "keycycler {\n keys "+demoKeys(50)+"\n}\nreverse_proxy "+k.URL)
	c := apiClient{t, g.plain}
	for range 20 {
		if failures := c.use(c.upload()); failures != nil {
			t.Fatalf("the life of a file met %v", failures)
		}
	}

	// A conversation of 200 turns, half of them streams, with other requests between.
	previous := c.must(c.json("POST", "/v1/responses", `{"input":"hi"}`))
	for turn := range 200 {
		c.must(c.json("POST", "/v1/chat/completions", `{"messages":[]}`))
		previous = c.must(c.json("POST", "/v1/responses",
			fmt.Sprintf(`{"stream":%t,"input":"more","previous_response_id":%q}`, turn%2 == 0, previous)))
	}
	if n := k.misses(); n > 0 {
		t.Errorf("%d requests went out with a foreign key", n)
	}

	// Its key meets a limit: whoever goes on is told to wait, all others are served.
	k.limit(previous)
	for range 10 {
		r := request(t, "POST", g.plain+"/v1/responses", `{"previous_response_id":"`+previous+`"}`)
		r.Header.Set("Content-Type", "application/json")
		res, body := do(t, http.DefaultClient, r)
		if wait := res.Header.Get("Retry-After"); res.StatusCode != 429 || len(wait) != 2 || wait < "38" || wait > "45" {
			t.Fatalf("answered %d, Retry-After %q: %s", res.StatusCode, wait, body)
		}
		c.must(c.json("POST", "/v1/responses", `{"input":"hi"}`))
	}
	if n := k.misses(); n > 0 {
		t.Errorf("%d requests went out with a foreign key", n)
	}
	if log := g.log(); strings.Contains(log, `"msg":"no key is ready"`) || !strings.Contains(log, "no key is ready that can use the resource") {
		t.Error("the log does not tell what is not ready")
	}
}

// Without it the same meets the upstream's 404.
func TestResourcesOffThroughCaddy(t *testing.T) {
	k := startKeeper(t)
	g := startGateway(t, "keycycler {\n keys "+demoKeys(50)+"\n resources off\n}\nreverse_proxy "+k.URL)
	c := apiClient{t, g.plain}
	for range 5 {
		c.use(c.upload())
	}
	if k.misses() == 0 {
		t.Error("no request went out with a foreign key")
	}
}

// A file of Gemini's is uploaded to the address that the upstream names, which must
// lead through the gateway.
func TestGeminiUploadThroughCaddy(t *testing.T) {
	const name = "files/abc-123"
	var owner string
	var upstream *httptest.Server
	upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, start := r.Header.Get("X-Goog-Api-Key"), r.URL.Query().Get("upload_id") == "" && r.Method == "POST" && strings.HasPrefix(r.URL.Path, "/upload")
		switch {
		case start:
			owner = key
			w.Header().Set("X-Goog-Upload-URL", upstream.URL+"/upload/v1beta/files?upload_id=AbCd&upload_protocol=resumable")
		case key != owner:
			w.WriteHeader(http.StatusForbidden)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "{\n  \"file\": {\n    \"name\": %q\n  }\n}\n", name)
		}
	}))
	defer closeServer(t, upstream)
	g := newGateway(t)
	g.start("keycycler {\n provider gemini\n keys " + demoKeys(50) + "\n}\nreverse_proxy " + upstream.URL + " {\n header_down X-Goog-Upload-URL " + upstream.URL + " " + g.plain + "\n}")
	res, _ := do(t, http.DefaultClient, request(t, "POST", g.plain+"/upload/v1beta/files", "{}"))
	where := res.Header.Get("X-Goog-Upload-URL")
	if !strings.HasPrefix(where, g.plain) {
		t.Fatalf("the upload goes to %s", where)
	}
	if res, body := do(t, http.DefaultClient, request(t, "POST", where, "the file")); res.StatusCode != 200 {
		t.Fatalf("the upload was answered %d: %s", res.StatusCode, body)
	}
	r := request(t, "POST", g.plain+"/v1beta/models/gemini-x:generateContent", `{"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/`+name+`"}}]}]}`)
	r.Header.Set("Content-Type", "application/json")
	if res, _ := do(t, http.DefaultClient, r); res.StatusCode != 200 {
		t.Fatalf("the file's use was answered %d", res.StatusCode)
	}
	if res, _ := do(t, http.DefaultClient, request(t, "GET", g.plain+"/v1beta/"+name, "")); res.StatusCode != 200 {
		t.Fatalf("the file was answered %d", res.StatusCode)
	}
}
