package live

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Keeper is an upstream that keeps what is made with a key for that key alone, as a
// provider does for organisations: to others it is a 404.
type Keeper struct {
	*httptest.Server

	mu      sync.Mutex
	made    map[string]string // id → key
	limited map[string]bool   // keys
	missed  int               // requests for what another key has made
}

// StartKeeper starts one, which ends with the test.
func StartKeeper(t testing.TB) *Keeper {
	t.Helper()
	k := &Keeper{made: make(map[string]string), limited: make(map[string]bool)}
	k.Server = httptest.NewServer(k)
	t.Cleanup(func() { CloseServer(t, k.Server) })
	return k
}

// make makes a resource and returns its id.
func (k *Keeper) make(prefix, key string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := fmt.Sprintf("%s%024d", prefix, len(k.made))
	k.made[id] = key
	return id
}

// has tells whether the key may use the resource; "" names none.
func (k *Keeper) has(key, id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" || k.made[id] == key {
		return true
	}
	k.missed++
	return false
}

// Misses counts the requests for what another key has made.
func (k *Keeper) Misses() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.missed
}

func (k *Keeper) isLimited(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.limited[key]
}

// Limit makes the key that has made the resource meet its limit from now on.
func (k *Keeper) Limit(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limited[k.made[id]] = true
}

func (k *Keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
		io.WriteString(w, RateLimitBody)
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
func (k *Keeper) answer(w http.ResponseWriter, r *http.Request, text string) {
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
func (k *Keeper) stream(w http.ResponseWriter, id string) {
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
