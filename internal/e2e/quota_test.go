package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/live"
)

// ask sends a request, and returns what came of it.
func (g *gateway) ask(t *testing.T, path, body string, header map[string]string) *http.Response {
	t.Helper()
	r := live.Request(t, "POST", g.plain+path, body)
	r.Header.Set("Content-Type", "application/json")
	r.Close = true // a reload closes connections that are idle
	for name, value := range header {
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// left returns how many tokens the answer says are left.
func left(t *testing.T, res *http.Response, what string) int {
	t.Helper()
	n, err := strconv.Atoi(res.Header.Get("x-ratelimit-remaining-" + what))
	if err != nil {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	return n
}

func drain(res *http.Response) string {
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	return string(body)
}

// Each kind of client has its limits: by its token from a file, by its login, by a header.
func TestClientsLimitsThroughCaddy(t *testing.T) {
	upstream := fineUpstream(t)
	tokens := testkit.WriteFile(t, "tokens", "ada:"+adasToken+"\ngrace:demo-token-of-grace-1\n")
	const block = "clients %s {\n ada {\n requests 2 1m\n models gpt-4o*\n }\n * {\n requests 1 1m\n }\n }"
	for _, row := range []struct {
		what, before, options, placeholder string
		ada, grace                         map[string]string
	}{
		{"tokens from a file", "", "client_tokens_file " + tokens, "", map[string]string{"X-Api-Key": adasToken}, map[string]string{"Authorization": "Bearer demo-token-of-grace-1"}},
		{"basic_auth", "basic_auth bcrypt {\n ada " + demoHash + "\n grace " + demoHash + "\n}", "", "", map[string]string{"Authorization": "Basic YWRhOmRlbW8="}, map[string]string{"Authorization": "Basic Z3JhY2U6ZGVtbw=="}},
		{"a placeholder", "", "", "{header.X-Team}", map[string]string{"X-Team": "ada"}, map[string]string{"X-Team": "grace"}},
	} {
		t.Run(row.what, func(t *testing.T) {
			before := len(upstream.Seen())
			g := startGateway(t, fmt.Sprintf("log_append outcome {http.keycycler.outcome}\n%s\nkeycycler %s {\n keys %s\n %s\n %s\n}\nreverse_proxy %s",
				row.before, testkit.FreshPool("e2e"), demoKeys(3), row.options, fmt.Sprintf(block, row.placeholder), upstream.URL))
			for i, step := range []struct {
				who    map[string]string
				model  string
				status int
				says   string
			}{
				{row.ada, "gpt-4o", 200, "fine"},
				{row.ada, "o3", 403, "model_not_found"},
				{row.ada, "gpt-4o-mini", 200, "fine"},
				{row.ada, "gpt-4o", 429, "rate_limit_exceeded"},
				{row.grace, "o3", 200, "fine"},
				{row.grace, "gpt-4o", 429, "rate_limit_exceeded"},
			} {
				res := g.ask(t, "/v1/chat/completions", fmt.Sprintf(`{"model":%q}`, step.model), step.who)
				if body := drain(res); res.StatusCode != step.status || !strings.Contains(body, step.says) {
					t.Errorf("request %d: %d %s", i, res.StatusCode, body)
				}
				if res.StatusCode == 429 && (left(t, res, "requests") != 0 || res.Header.Get("Retry-After") == "") {
					t.Errorf("request %d: %v", i, res.Header)
				}
			}
			if n := len(upstream.Seen()) - before; n != 3 {
				t.Errorf("%d calls, want 3", n)
			}
			live.Eventually(t, "the access log tells who was limited", func() bool {
				n := 0
				for _, e := range g.logged("handled request") {
					if e["outcome"] == "limited" {
						n++
					}
				}
				return n == 3
			})
		})
	}
}

// A client that comes after just the time that it is told is served.
func TestRetryAfterOfAClientIsTrue(t *testing.T) {
	upstream := fineUpstream(t)
	g := startGateway(t, fmt.Sprintf("keycycler %s {\n keys %s\n clients {\n * {\n requests 2 1s\n }\n }\n}\nreverse_proxy %s", testkit.FreshPool("e2e"), demoKeys(3), upstream.URL))
	for round := range 2 {
		var res *http.Response
		for {
			res = g.ask(t, "/", "{}", nil)
			drain(res)
			if res.StatusCode == 429 {
				break
			}
		}
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 1 || seconds > 2 {
			t.Fatalf("Retry-After: %v", res.Header)
		}
		again := time.Now().Add(time.Duration(seconds) * time.Second)
		live.Eventually(t, "the client is served again", func() bool {
			late := time.Now().After(again)
			res := g.ask(t, "/", "{}", nil)
			if drain(res); res.StatusCode != 200 && late {
				t.Errorf("round %d: %d after the time that it was told", round, res.StatusCode)
			}
			return res.StatusCode == 200
		})
	}
}

// A stream is settled when it ends, also by a client that leaves; a reload forgets nothing,
// and its numbers count at once.
func TestClientsTokensThroughCaddy(t *testing.T) {
	directives := func(tokens int, pool string) string {
		return fmt.Sprintf("keycycler %s {\n keys %s\n usage off\n clients {\n * {\n tokens %d 1h\n concurrency 1\n }\n }\n}\nreverse_proxy %s", pool, demoKeys(3), tokens, telling(t).URL)
	}
	pool := testkit.FreshPool("e2e")
	g := startGateway(t, directives(10_000, pool))
	begun := func(path string) (res *http.Response) {
		live.Eventually(t, "no other request is under way", func() bool {
			if res = g.ask(t, path, `{"model":"demo","max_tokens":4000}`, nil); res.StatusCode != 200 {
				drain(res)
			}
			return res.StatusCode == 200
		})
		return res
	}
	res := begun("/v1/messages")
	if n := left(t, res, "tokens"); n != 10_000-4000-9 {
		t.Errorf("while it streams %d are left", n)
	}
	drain(res)
	settled := func(what, path string, want int) {
		t.Helper()
		live.Eventually(t, what, func() bool {
			res := g.ask(t, path, `{"model":"demo"}`, nil)
			drain(res)
			return res.StatusCode == 200 && left(t, res, "tokens") == want-4
		})
	}
	const stream, embedding, gone = 140, 8, 126
	settled("the stream has used what it says", "/v1/embeddings", 10_000-stream)
	res = begun("/v1/gone")
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); !strings.Contains(line, "message_start") {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	if busy := g.ask(t, "/v1/embeddings", "{}", nil); busy.StatusCode != 429 || busy.Header.Get("Retry-After") != "1" {
		t.Errorf("beside it: %d %v", busy.StatusCode, busy.Header)
	} else {
		drain(busy)
	}
	res.Body.Close()
	settled("the client that left has used what was stated until then", "/v1/embeddings", 10_000-stream-embedding-gone)
	g.load(directives(5_000, pool))
	settled("a reload keeps it", "/v1/embeddings", 5_000-stream-2*embedding-gone)
	g.load(directives(100, pool))
	if res := g.ask(t, "/v1/embeddings", "{}", nil); res.StatusCode != 429 {
		t.Errorf("with less than was used: %d", res.StatusCode)
	} else {
		drain(res)
	}
}
