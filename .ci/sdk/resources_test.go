package sdk

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// keeper is an upstream that keeps files and responses for the key alone that they were
// made with.
type keeper struct {
	mu     sync.Mutex
	made   map[string]string // id → key
	missed int               // requests for what another key has made
}

func startKeeper(t *testing.T) (*keeper, *upstream) {
	t.Helper()
	k := &keeper{made: make(map[string]string)}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	return k, &upstream{url: server.URL}
}

// madeID finds the ids that a request names.
var madeID = regexp.MustCompile(`(file-|resp_)\d+`)

// ServeHTTP implements http.Handler.
func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	named := madeID.FindString(r.URL.Path + " " + string(body))
	key := keyIn(r.Header)
	k.mu.Lock()
	defer k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if named != "" && k.made[named] != key {
		k.missed++
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"message":"No such object","type":"invalid_request_error"}}`)
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/content"):
		io.WriteString(w, "the file")
	case r.URL.Path == "/v1/files":
		fmt.Fprintf(w, `{"id":%q,"object":"file"}`, k.make("file-", key))
	case r.URL.Path != "/v1/responses":
		fmt.Fprintf(w, `{"id":%q,"object":"file","deleted":true}`, named)
	case strings.Contains(string(body), `"stream":true`):
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":%q}}\n\n", k.make("resp_", key))
	default:
		fmt.Fprintf(w, `{"id":%q,"object":"response","output":[]}`, k.make("resp_", key))
	}
}

// make is called with k.mu held.
func (k *keeper) make(prefix, key string) string {
	id := fmt.Sprintf("%s%012d", prefix, len(k.made))
	k.made[id] = key
	return id
}

// Files that were uploaded through the gateway are used through it, and conversations
// go on that the upstream has stored, whichever of many keys each request could have.
func TestResources(t *testing.T) {
	k, up := startKeeper(t)
	g := startGateway(t, up, 20, "")
	client, ctx := goClient{}.connect(t, &stage{base: g.plain})
	for range 10 {
		file, err := client.Files.New(ctx, openai.FileNewParams{File: strings.NewReader("{}\n"), Purpose: openai.FilePurposeBatch})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Files.Get(ctx, file.ID); err != nil {
			t.Fatal(err)
		}
		content, err := client.Files.Content(ctx, file.ID)
		if err != nil {
			t.Fatal(err)
		}
		content.Body.Close()
		if _, err := client.Files.Delete(ctx, file.ID); err != nil {
			t.Fatal(err)
		}
	}
	params := responses.ResponseNewParams{Model: "gpt-demo", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hi")}}
	for range 20 {
		stream := client.Responses.NewStreaming(ctx, params)
		for stream.Next() {
			params.PreviousResponseID = openai.String(stream.Current().Response.ID)
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		whole, err := client.Responses.New(ctx, params)
		if err != nil {
			t.Fatal(err)
		}
		params.PreviousResponseID = openai.String(whole.ID)
	}
	if keys := k.keys(); k.missed > 0 || keys < 5 {
		t.Errorf("%d requests came with a foreign key, %d keys have made something", k.missed, keys)
	}
}

// keys returns how many keys have made something.
func (k *keeper) keys() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make(map[string]bool)
	for _, key := range k.made {
		keys[key] = true
	}
	return len(keys)
}
