package sdk

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// used is what the admin API says of a client, a model or a key.
type used struct {
	Answers    int64 `json:"answers"`
	Unknown    int64 `json:"unknown"`
	Input      int64 `json:"input"`
	Cached     int64 `json:"cached"`
	CacheWrite int64 `json:"cache_write"`
	Output     int64 `json:"output"`
	Reasoning  int64 `json:"reasoning"`
}

func (u *used) add(other used) {
	u.Answers, u.Unknown = u.Answers+other.Answers, u.Unknown+other.Unknown
	u.Input, u.Cached, u.CacheWrite = u.Input+other.Input, u.Cached+other.Cached, u.CacheWrite+other.CacheWrite
	u.Output, u.Reasoning = u.Output+other.Output, u.Reasoning+other.Reasoning
}

// spent is what a package says that its answers have used, in the provider's own words.
type spent struct {
	Requests int   `json:"requests"`
	Input    int64 `json:"input"`
	Output   int64 `json:"output"`
}

func (s *spent) add(other spent) {
	s.Requests, s.Input, s.Output = s.Requests+other.Requests, s.Input+other.Input, s.Output+other.Output
}

// teller is an upstream that makes up what each answer has used, says so in the provider's
// form, and keeps the books.
type teller struct {
	url  string
	over chan struct{} // the test has ended: wait for nothing

	mu     sync.Mutex
	random *rand.Rand
	known  map[string]bool             // pools that have met a limit
	books  map[string]map[string]*used // pool → client, model or key's id → what it has used
	spent  map[string]*spent           // pool → what packages were told
}

// numbers are what an answer has used.
type numbers struct{ in, cached, written, out, thought int64 }

// answering is a request that a teller answers.
type answering struct {
	*teller
	w     http.ResponseWriter
	r     *http.Request
	to    io.Writer    // w, or what compresses before it
	zip   *gzip.Writer // that; or nil
	pool  string
	kind  string
	names []string // the client, the model, the key's id
	numbers
}

func startTeller(t *testing.T) *teller {
	t.Helper()
	u := &teller{
		over: make(chan struct{}), random: rand.New(rand.NewPCG(18, 7)), known: make(map[string]bool),
		books: make(map[string]map[string]*used), spent: make(map[string]*spent),
	}
	server := httptest.NewServer(u)
	u.url = server.URL
	t.Cleanup(func() {
		close(u.over)
		server.CloseClientConnections()
		server.Close()
	})
	return u
}

// draw makes up what an answer has used.
func (u *teller) draw() numbers {
	u.mu.Lock()
	defer u.mu.Unlock()
	return numbers{100 + u.random.Int64N(1000), u.random.Int64N(100), u.random.Int64N(50), 60 + u.random.Int64N(1000), 1 + u.random.Int64N(50)}
}

// meetsLimit tells whether this is the pool's first request, which meets a limit.
func (u *teller) meetsLimit(pool string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.known[pool]
	u.known[pool] = true
	return !known
}

// ServeHTTP implements http.Handler. What kind of answer is wanted, and by whom, stands in
// headers of the request.
func (u *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Model string }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := &answering{teller: u, w: w, r: r, to: w, pool: "openai", kind: r.Header.Get("X-Kind"), numbers: u.draw()}
	if _, call, ok := strings.Cut(r.URL.Path, "/models/"); ok {
		a.pool = "gemini"
		asked.Model, _, _ = strings.Cut(call, ":")
	} else if strings.HasSuffix(r.URL.Path, "/messages") {
		a.pool = "anthropic"
	}
	a.names = []string{r.Header.Get("X-Who"), asked.Model, idOf(keyIn(r.Header))}
	if u.meetsLimit(a.pool) {
		rateLimited(40).answer(w)
		return
	}
	a.answer()
}

// note books what the answer says, to those who hear that.
func (a *answering) note(what used, told spent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what.Answers = 1
	if a.books[a.pool] == nil {
		a.books[a.pool], a.spent[a.pool] = make(map[string]*used), new(spent)
	}
	for _, name := range a.names {
		if a.books[a.pool][name] == nil {
			a.books[a.pool][name] = new(used)
		}
		a.books[a.pool][name].add(what)
	}
	told.Requests = 1
	a.spent[a.pool].add(told)
}

// answer answers in the form of the pool's provider.
func (a *answering) answer() {
	if strings.HasSuffix(a.kind, "-gzip") {
		a.w.Header().Set("Content-Encoding", "gzip")
		a.zip = gzip.NewWriter(a.w)
		a.to = a.zip
		defer a.zip.Close()
	}
	switch stream := strings.HasPrefix(a.kind, "stream") || a.kind == "abort"; {
	case a.pool == "gemini":
		a.gemini(stream)
	case a.pool == "anthropic":
		a.anthropic(stream)
	case strings.HasSuffix(a.r.URL.Path, "/embeddings"):
		a.embeddings()
	case strings.HasSuffix(a.r.URL.Path, "/responses"):
		a.response(stream)
	default:
		a.chat(stream)
	}
}

// json sends the whole answer.
func (a *answering) json(v any) {
	a.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(a.to).Encode(v) // the client may have left
}

// event sends an event of a stream, at once.
func (a *answering) event(name string, v any) {
	a.w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(a.to, sse(name, v)) // as above
	if a.zip != nil {
		a.zip.Flush() // as above
	}
	a.w.(http.Flusher).Flush()
}

// left waits for a client that aborts, and tells whether it is one.
func (a *answering) left() bool {
	if a.kind != "abort" {
		return false
	}
	select {
	case <-a.r.Context().Done():
	case <-a.over:
	}
	return true
}

// decoy is a text in which usage does not count.
const decoy = `tokens: {"usage":{"prompt_tokens":1,"completion_tokens":1}}`

// openAI is what is booked of an answer in OpenAI's form.
func (a *answering) openAI() (used, spent) {
	return used{Input: a.in - a.cached, Cached: a.cached, Output: a.out, Reasoning: a.thought}, spent{Input: a.in, Output: a.out}
}

func (a *answering) chat(stream bool) {
	usage := map[string]any{
		"prompt_tokens": a.in, "completion_tokens": a.out, "total_tokens": a.in + a.out,
		"prompt_tokens_details": map[string]any{"cached_tokens": a.cached}, "completion_tokens_details": map[string]any{"reasoning_tokens": a.thought},
	}
	if !stream {
		c := completion("chat.completion", "message", decoy)
		if a.kind == "tools" {
			c = completion("chat.completion", "message", "")
			c["choices"].([]any)[0].(map[string]any)["message"].(map[string]any)["tool_calls"] = []any{map[string]any{
				"id": "call_demo", "type": "function", "function": map[string]any{"name": "keys", "arguments": decoy},
			}}
		}
		c["usage"] = usage
		a.note(a.openAI())
		a.json(c)
		return
	}
	c := completion("chat.completion.chunk", "delta", decoy)
	c["usage"] = nil
	if a.kind == "abort" || a.kind == "stream-silent" { // what is not said is not guessed
		a.note(used{Unknown: 1}, spent{})
	} else {
		a.note(a.openAI())
	}
	for range 3 {
		if a.event("", c); a.left() {
			return
		}
	}
	if a.kind != "stream-silent" {
		c["choices"], c["usage"] = []any{}, usage
		a.event("", c)
	}
	io.WriteString(a.to, "data: [DONE]\n\n") // the client may have left
}

func (a *answering) embeddings() {
	a.note(used{Input: a.in}, spent{Input: a.in})
	a.json(map[string]any{
		"object": "list", "model": "demo", "data": []any{map[string]any{"object": "embedding", "index": 0, "embedding": []float64{0.5, -0.25}}},
		"usage": map[string]any{"prompt_tokens": a.in, "total_tokens": a.in},
	})
}

func (a *answering) response(stream bool) {
	r := map[string]any{
		"id": "resp_demo", "object": "response", "created_at": 1, "status": "completed", "model": "demo", "output": []any{},
		"usage": map[string]any{
			"input_tokens": a.in, "output_tokens": a.out, "total_tokens": a.in + a.out,
			"input_tokens_details": map[string]any{"cached_tokens": a.cached}, "output_tokens_details": map[string]any{"reasoning_tokens": a.thought},
		},
	}
	a.note(a.openAI())
	if !stream {
		a.json(r)
		return
	}
	a.event("response.output_text.delta", map[string]any{"type": "response.output_text.delta", "delta": decoy, "sequence_number": 1})
	a.event("response.completed", map[string]any{"type": "response.completed", "response": r, "sequence_number": 2})
}

func (a *answering) anthropic(stream bool) {
	usage := func(out int64) map[string]any {
		return map[string]any{"input_tokens": a.in, "cache_read_input_tokens": a.cached, "cache_creation_input_tokens": a.written, "output_tokens": out}
	}
	booked := used{Input: a.in, Cached: a.cached, CacheWrite: a.written, Output: a.out}
	m := message(textBlock(decoy))
	if !stream {
		if a.kind == "tools" {
			m = message(map[string]any{"type": "tool_use", "id": "toolu_demo", "name": "keys", "input": map[string]any{"usage": map[string]any{"input_tokens": 1}}})
		}
		m["usage"] = usage(a.out)
		a.note(booked, spent{Input: a.in, Output: a.out})
		a.json(m)
		return
	}
	told := spent{Input: a.in, Output: a.out}
	if a.kind == "abort" { // what has come until then
		booked.Output, told = 1, spent{}
	}
	a.note(booked, told)
	m = message()
	m["usage"] = usage(1)
	a.event("message_start", map[string]any{"type": "message_start", "message": m})
	a.event("content_block_start", map[string]any{"type": "content_block_start", "index": 0, "content_block": textBlock("")})
	a.event("content_block_delta", map[string]any{"type": "content_block_delta", "index": 0, "delta": map[string]any{"type": "text_delta", "text": decoy}})
	if a.left() {
		return
	}
	a.event("content_block_stop", map[string]any{"type": "content_block_stop", "index": 0})
	a.event("message_delta", map[string]any{"type": "message_delta", "delta": map[string]any{"stop_reason": "end_turn", "stop_sequence": nil}, "usage": map[string]any{"output_tokens": a.out}})
	a.event("message_stop", map[string]any{"type": "message_stop"})
}

func (a *answering) gemini(stream bool) {
	first, whole := content(decoy), content(decoy)
	first["usageMetadata"] = map[string]any{"promptTokenCount": a.in, "cachedContentTokenCount": a.cached, "candidatesTokenCount": 1, "totalTokenCount": a.in + 1}
	whole["usageMetadata"] = map[string]any{
		"promptTokenCount": a.in, "cachedContentTokenCount": a.cached, "candidatesTokenCount": a.out,
		"thoughtsTokenCount": a.thought, "totalTokenCount": a.in + a.out + a.thought,
	}
	booked, told := used{Input: a.in - a.cached, Cached: a.cached, Output: a.out + a.thought, Reasoning: a.thought}, spent{Input: a.in, Output: a.out}
	if a.kind == "abort" {
		booked.Output, booked.Reasoning, told = 1, 0, spent{}
	}
	a.note(booked, told)
	if !stream {
		a.json(whole)
		return
	}
	if a.event("", first); a.left() {
		return
	}
	a.event("", whole)
}

// book returns what is booked under the name, as text.
func (u *teller) book(pool, name string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if b := u.books[pool][name]; b != nil {
		return fmt.Sprintf("%+v", *b)
	}
	return "nothing"
}

// told returns what packages were told in all, and booked how many names are booked.
func (u *teller) told(pool string) spent {
	u.mu.Lock()
	defer u.mu.Unlock()
	return *u.spent[pool]
}

func (u *teller) booked(pool string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.books[pool])
}
