package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// usageCaddyfile has a pool for each provider, at /<provider>/.
const usageCaddyfile = `
{
	admin %[1]s
	persist_config off
	auto_https off
	grace_period 10s
	%[2]s
}

http://127.0.0.1:%[3]d {
	bind fd/3
	handle /ready {
		respond 204
	}
	%[4]s
}
`

const usageBlock = `
handle_path /%[1]s/* {
	keycycler usage-%[1]s {
		provider %[1]s
		keys %[2]s
		client_tokens ada:%[3]s-ada bob:%[3]s-bob
	}
	reverse_proxy %[4]s
}
`

// errand is a request that is to be sent.
type errand struct {
	Kind    string            `json:"kind"`
	Model   string            `json:"model"`
	Token   string            `json:"token"`
	Headers map[string]string `json:"headers"` // for the upstream
}

// What the packages are asked for, as often each. There are 1,000 requests in all.
var errands = map[string][]string{
	"openai":    {"chat", "tools", "stream", "stream-silent", "chat-gzip", "stream-gzip", "abort", "embeddings", "responses", "responses-stream"},
	"anthropic": {"message", "tools", "stream", "message-gzip", "stream-gzip", "abort"},
	"gemini":    {"content", "stream", "content-gzip", "stream-gzip", "abort"},
}

// plan returns n errands for the package.
func plan(provider string, n int) (all []errand) {
	kinds := errands[provider]
	for i := range n {
		who := []string{"ada", "bob"}[i/len(kinds)%2]
		kind := kinds[i%len(kinds)]
		all = append(all, errand{
			Kind: kind, Model: fmt.Sprint("demo-", i%7), Token: clientKey + "-" + who,
			Headers: map[string]string{"X-Who": who, "X-Kind": strings.TrimPrefix(kind, "responses-")},
		})
	}
	return all
}

// TestUsage lets each package send many requests of all kinds. What the gateway has counted at
// the end, by client, model and key, is what the answers have said, to the token: of those that
// were aborted what had come until then.
func TestUsage(t *testing.T) {
	up := startTeller(t)
	admin, base := startCounting(t, up)
	told := map[string]*spent{"openai": new(spent), "anthropic": new(spent), "gemini": new(spent)}
	*told["openai"] = askWithGo(t, base+"/openai/v1", plan("openai", 250))
	for provider, n := range map[string]int{"openai": 250, "anthropic": 250, "gemini": 250} {
		asked, err := json.Marshal(plan(provider, n))
		if err != nil {
			t.Fatal(err)
		}
		told[provider].add(runNode[spent](t, &stage{up: &upstream{url: up.url}, base: base}, asked, "usage.mjs", provider))
	}
	for provider, said := range told {
		awaitAnswers(t, admin, provider, int64(said.Requests))
		if want := up.told(provider); *said != want {
			t.Errorf("%s: the packages were told of %+v, want %+v", provider, *said, want)
		}
		names := 0
		for _, by := range []string{"client", "model", "key"} {
			for name, got := range usageBy(t, admin, provider, by) {
				names++
				if got, want := fmt.Sprintf("%+v", got), up.book(provider, name); got != want {
					t.Errorf("%s, %s %s: %s, want %s", provider, by, name, got, want)
				}
			}
		}
		if want := up.booked(provider); names != want || want < 2+7+2 {
			t.Errorf("%s: %d clients, models and keys, want %d", provider, names, want)
		}
	}
}

// startCounting starts a gateway with a pool for each provider, and returns where its admin
// endpoint is and where it answers.
func startCounting(t *testing.T, up *teller) (admin, base string) {
	t.Helper()
	plain, address := listen(t), "127.0.0.1:"+quietPort(t)
	base = fmt.Sprintf("http://127.0.0.1:%d", port(plain))
	var blocks strings.Builder
	for i, provider := range []string{"openai", "anthropic", "gemini"} {
		keys := fmt.Sprintf("%[1]s%[2]d %[1]s%[3]d %[1]s%[4]d", keyPrefix, 3*i+1, 3*i+2, 3*i+3)
		fmt.Fprintf(&blocks, usageBlock, provider, keys, clientKey, strings.TrimPrefix(up.url, "http://"))
	}
	g := &gateway{plain: base + "/v1"}
	g.start(t, fmt.Sprintf(usageCaddyfile, address, logFilter(t), port(plain), &blocks), plain)
	return "http://" + address, base
}

// usageBy asks the admin API.
func usageBy(t *testing.T, admin, provider, by string) map[string]used {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("%s/keycycler/pools/usage-%s/usage?by=%s", admin, provider, by))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var lines []struct {
		Name  string
		Month used
	}
	if err := json.NewDecoder(response.Body).Decode(&lines); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the admin API says %s: %v", response.Status, err)
	}
	all := make(map[string]used)
	for _, line := range lines {
		all[line.Name] = line.Month
	}
	return all
}

// awaitAnswers waits until so many answers are counted: a client that leaves knows nothing of
// when the gateway notices.
func awaitAnswers(t *testing.T, admin, provider string, want int64) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		var n int64
		for _, u := range usageBy(t, admin, provider, "client") {
			n += u.Answers
		}
		if n == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: %d answers are counted, want %d", provider, n, want)
		}
	}
}

// askWithGo runs errands with the Go module, several at a time.
func askWithGo(t *testing.T, base string, all []errand) (sum spent) {
	transport := newTransport(t)
	var mu sync.Mutex
	var done sync.WaitGroup
	next := make(chan errand)
	for range 8 {
		done.Go(func() {
			for e := range next {
				said, err := askOne(t, base, transport, e)
				if err != nil {
					t.Errorf("%s: %v", e.Kind, err)
				}
				said.Requests = 1
				mu.Lock()
				sum.add(said)
				mu.Unlock()
			}
		})
	}
	for _, e := range all {
		next <- e
	}
	close(next)
	done.Wait()
	return sum
}

func askOne(t *testing.T, base string, transport http.RoundTripper, e errand) (spent, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	options := []option.RequestOption{option.WithBaseURL(base), option.WithAPIKey(e.Token), option.WithMaxRetries(0), option.WithHTTPClient(&http.Client{Transport: transport})}
	for name, value := range e.Headers {
		options = append(options, option.WithHeader(name, value))
	}
	api := openai.NewClient(options...)
	switch {
	case e.Kind == "embeddings":
		answer, err := api.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: e.Model, Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("keys")}})
		if err != nil {
			return spent{}, err
		}
		return spent{Input: answer.Usage.PromptTokens}, nil
	case strings.HasPrefix(e.Kind, "responses"):
		return respond(ctx, api, e)
	case e.Kind == "abort" || strings.HasPrefix(e.Kind, "stream"):
		return streamChat(ctx, cancel, api, e)
	}
	q := question()
	q.Model = e.Model
	answer, err := api.Chat.Completions.New(ctx, q)
	if err != nil {
		return spent{}, err
	}
	return spent{Input: answer.Usage.PromptTokens, Output: answer.Usage.CompletionTokens}, nil
}

func streamChat(ctx context.Context, abort func(), api openai.Client, e errand) (said spent, err error) {
	q := question()
	q.Model, q.StreamOptions.IncludeUsage = e.Model, openai.Bool(e.Kind != "stream-silent")
	stream := api.Chat.Completions.NewStreaming(ctx, q)
	defer stream.Close()
	for stream.Next() {
		if e.Kind == "abort" {
			abort()
			return spent{}, nil
		}
		usage := stream.Current().Usage
		said.Input, said.Output = said.Input+usage.PromptTokens, said.Output+usage.CompletionTokens
	}
	return said, stream.Err()
}
