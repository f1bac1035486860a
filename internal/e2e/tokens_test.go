package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// counting is an upstream that counts what each key uses: of each request 60 tokens and, as
// its answer says, in a stream or not, as many as it may have.
type counting struct {
	mu   sync.Mutex
	used map[string]int
}

func (c *counting) serve(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Most   int  `json:"max_tokens"`
		Stream bool `json:"stream"`
	}
	body, _ := io.ReadAll(r.Body)
	if json.Unmarshal(body, &asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.used[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] += 60 + asked.Most
	c.mu.Unlock()
	said := fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":60,"completion_tokens":%d}}`, asked.Most)
	w.Header().Set("X-Ratelimit-Limit-Tokens", "1000000")
	w.Header().Set("X-Ratelimit-Remaining-Tokens", "900000")
	w.Header().Set("X-Ratelimit-Reset-Tokens", "6m0s")
	if !asked.Stream {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, said)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, "data: {\"choices\":[]}\n\n")
	w.(http.Flusher).Flush()
	io.WriteString(w, "data: "+said+"\n\ndata: [DONE]\n\n")
}

// No key uses more than the limit, however many come at once, and nearly all of it can be used;
// a reload forgets nothing; operators are told what the upstream states.
func TestTokensThroughCaddy(t *testing.T) {
	const keys, most = 3, 2000
	c := &counting{used: make(map[string]int)}
	directives := fmt.Sprintf(`
		keycycler tokens-e2e {
			keys %s
			limit {
				tokens 2k 1h
			}
			usage off
		}
		reverse_proxy %s`, demoKeys(keys), live.StartProvider(t, c.serve).URL)
	g := startGateway(t, directives)
	post := func(n, tokens int) (refused int) {
		t.Helper()
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				body := fmt.Sprintf(`{"model":"demo","stream":%t,"max_tokens":%d,"text":%q}`, i%2 == 0, tokens, strings.Repeat("x", 200))
				r := live.Request(t, "POST", g.plain+"/v1/chat/completions", body)
				r.Header.Set("Content-Type", "application/json")
				r.Close = true // a reload closes connections that nobody uses
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				io.Copy(io.Discard, res.Body)
				mu.Lock()
				defer mu.Unlock()
				switch res.StatusCode {
				case http.StatusTooManyRequests:
					refused++
				case http.StatusOK:
				default:
					t.Errorf("status %d", res.StatusCode)
				}
			})
		}
		all.Wait()
		return refused
	}
	post(60, 140)
	for range 20 { // of those that were held back by what others held
		post(1, 40)
	}
	c.mu.Lock()
	for key, n := range c.used {
		if n > most || n < most-200 {
			t.Errorf("%s has used %d of %d tokens", key, n, most)
		}
	}
	if len(c.used) != keys {
		t.Errorf("%d keys were used", len(c.used))
	}
	c.mu.Unlock()
	if n := post(5, 400); n != 5 {
		t.Errorf("%d of 5 requests were refused", n)
	}
	g.load(directives + "\nheader X-Reloaded yes")
	if n := post(5, 400); n != 5 {
		t.Errorf("%d of 5 requests were refused after a reload", n)
	}
	saysUsageIsOff(t, true)
	page := adminapi.AskFor[observe.KeysPage](t, "GET", "/keycycler/pools/tokens-e2e/keys", "")
	for _, k := range page.Keys {
		if len(k.Allowance) != 1 || k.Allowance[0].Of != "tokens" || k.Allowance[0].Remaining != 900_000 {
			t.Errorf("operators are told %+v", k.Allowance)
		}
	}
}

// saysUsageIsOff checks what the API says of the only pool.
func saysUsageIsOff(t *testing.T, off bool) {
	t.Helper()
	if pools := adminapi.AskFor[[]observe.PoolStatus](t, "GET", "/keycycler/pools", ""); len(pools) != 1 || pools[0].UsageOff != off {
		t.Errorf("the pool's usage is off: want %t, got %+v", off, pools)
	}
}
