package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/usage"
)

// counting returns a gateway that counts usage, in a pool of its own.
func counting(t testing.TB, configure func(*Config)) *Gateway {
	return provision(t, 4, func(c *Config) {
		c.Pool, c.Usage = testkit.FreshPool("usage"), true
		if configure != nil {
			configure(c)
		}
	})
}

// stating is an answer of 200 in a form.
func stating(media, body string) testkit.Reply {
	return testkit.Reply{Status: 200, Header: map[string]string{"Content-Type": media}, Body: body}
}

const (
	saidOnce  = `{"choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}`
	saidTwice = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n"
)

// TestUsage counts what answers say, and sees it in placeholders.
func TestUsage(t *testing.T) {
	gone := stating(eventStream, saidTwice[:strings.Index(saidTwice, "data: {\"type\":\"message_delta")])
	gone.Panics = http.ErrAbortHandler
	refused := testkit.Reply{Status: 400, Header: map[string]string{"Content-Type": "application/json"}, Body: saidOnce}
	coded := stating("application/json", "")
	coded.Header["Content-Encoding"], coded.Body = "gzip", testkit.Compress(t, "gzip", saidOnce)
	for _, row := range []struct {
		sentence, method, model string
		off                     bool
		replies                 []testkit.Reply
		answers, unknown        int64
		shown                   string
	}{
		{"JSON", "POST", "gpt-demo", false, []testkit.Reply{stating("application/json", saidOnce)}, 1, 0, "15 4  10 3"},
		{"compressed JSON", "POST", "gpt-demo", false, []testkit.Reply{coded}, 1, 0, "15 4  10 3"},
		{"a stream", "POST", "gpt-demo", false, []testkit.Reply{stating(eventStream, saidTwice)}, 1, 0, "25   15 "},
		{"a stream that breaks off", "POST", "gpt-demo", false, []testkit.Reply{gone}, 1, 0, "25   1 "},
		{"behind a rejection", "POST", "gpt-demo", false, []testkit.Reply{testkit.Limited, stating("application/json", saidOnce)}, 1, 0, "15 4  10 3"},
		{"no model is named, and the answer says it", "POST", "", false, []testkit.Reply{stating("application/json", saidOnce)}, 1, 0, "15 4  10 3"},
		{"the answer does not say", "POST", "gpt-demo", false, []testkit.Reply{stating("application/json", `{}`)}, 1, 1, "    "},
		{"no answer of this kind says", "POST", "gpt-demo", false, []testkit.Reply{stating("audio/mpeg", saidOnce)}, 1, 1, "    "},
		{"no model is named, and the answer does not say", "POST", "", false, []testkit.Reply{stating("application/json", `{}`)}, 0, 0, "    "},
		{"a refusal", "POST", "gpt-demo", false, []testkit.Reply{refused}, 0, 0, "    "},
		{"an old answer", "GET", "", false, []testkit.Reply{stating("application/json", saidOnce)}, 0, 0, "    "},
		{"it is off", "POST", "gpt-demo", true, []testkit.Reply{stating("application/json", saidOnce)}, 0, 0, "    "},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			g := counting(t, func(c *Config) { c.Usage = !row.off })
			body := "{}"
			if row.model != "" {
				body = fmt.Sprintf(`{"model":%q}`, row.model)
			}
			r, repl := inCaddy(httptest.NewRequest(row.method, "/v1/chat/completions", strings.NewReader(body)))
			r.Header.Set("Content-Type", "application/json")
			serveBroken(t, g, testkit.Script(row.replies...), r)
			const p = "{http.keycycler.usage."
			shown := repl.ReplaceKnown(p+"input} "+p+"cached} "+p+"cache_write} "+p+"output} "+p+"reasoning}", "")
			if shown != row.shown {
				t.Errorf("placeholders show %q, want %q", shown, row.shown)
			}
			lines, _ := g.ledger.By("model", time.Now())
			var all usage.Counts
			for _, line := range lines {
				for _, b := range line.Minutes {
					all.Add(b.Counts)
				}
			}
			if all.Answers != row.answers || all.Unknown != row.unknown {
				t.Errorf("%d answers, %d unknown", all.Answers, all.Unknown)
			}
		})
	}
}

// serveBroken serves a request whose answer may break off.
func serveBroken(t testing.TB, g *Gateway, next caddyhttp.Handler, r *http.Request) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	t.Helper()
	if _, err := testkit.Serve(g, next, r); err != nil {
		t.Fatal(err)
	}
}

// mixed makes an answer, and what it states: input, cached, cache-write, output, reasoning.
func mixed(t testing.TB, n int) (testkit.Reply, *usage.Tokens) {
	in, cached, out, thought := int64(rand.IntN(1000)+100), int64(rand.IntN(100)), int64(rand.IntN(1000)+50), int64(rand.IntN(50))
	words := strings.Repeat("data: {\"choices\":[{\"delta\":{\"content\":\" \\\"tokens\\\": 5\"}}],\"usage\":null}\n\n", rand.IntN(40))
	chat := fmt.Sprintf(`"usage":{"prompt_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d},"completion_tokens_details":{"reasoning_tokens":%d}}`, in, out, cached, thought)
	openAI := &usage.Tokens{in - cached, cached, -1, out, thought}
	message := fmt.Sprintf("data: {\"message\":{\"usage\":{\"input_tokens\":%d,\"cache_read_input_tokens\":%d,\"cache_creation_input_tokens\":7,\"output_tokens\":1}}}\n\n", in, cached)
	var r testkit.Reply
	used := openAI
	switch n % 10 {
	case 0:
		r = stating("application/json", `{"choices":[{"message":{"tool_calls":[{"function":{"arguments":"{\"usage\":{}}"}}]}}],`+chat+`}`)
	case 1:
		r = stating(eventStream, words+"data: {\"choices\":[],"+chat+"}\n\ndata: [DONE]\n\n")
	case 2:
		r, used = stating(eventStream, words+"data: [DONE]\n\n"), nil
	case 3:
		r, used = stating(eventStream, message+fmt.Sprintf("data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":%d}}\n\n", out)), &usage.Tokens{in, cached, 7, out, -1}
	case 4: // aborted
		r, used = stating(eventStream, message+"data: {\"type\":\"content_block_delta\"}\n\ndata: {\"usage\":{\"output"), &usage.Tokens{in, cached, 7, 1, -1}
		r.Panics = http.ErrAbortHandler
	case 5:
		r, used = stating("application/json", fmt.Sprintf(`{"usageMetadata":{"promptTokenCount":%d,"cachedContentTokenCount":%d,"candidatesTokenCount":%d,"thoughtsTokenCount":%d}}`, in, cached, out, thought)), &usage.Tokens{in - cached, cached, -1, out + thought, thought}
	case 6:
		r = stating("application/json", testkit.Compress(t, "gzip", "{"+chat+"}"))
		r.Header["Content-Encoding"] = "gzip"
	case 7:
		r = stating(eventStream, testkit.Compress(t, "br", words+"data: {"+chat+"}\n\n"))
		r.Header["Content-Encoding"] = "br"
	case 8:
		r, used = stating("application/json", fmt.Sprintf(`{"object":"list","data":[],"usage":{"prompt_tokens":%d,"total_tokens":%d}}`, in, in)), &usage.Tokens{in, -1, -1, -1, -1}
	default:
		r = stating(eventStream, words+fmt.Sprintf("data: {\"response\":{\"usage\":{\"input_tokens\":%d,\"input_tokens_details\":{\"cached_tokens\":%d},\"output_tokens\":%d,\"output_tokens_details\":{\"reasoning_tokens\":%d}}}}\n\n", in, cached, out, thought))
	}
	return r, used
}

// TestMixedUsage sends 1,000 requests of all kinds, many at a time, some of which meet a
// limit first: what is counted is what the answers state, to the token.
func TestMixedUsage(t *testing.T) {
	g := counting(t, func(c *Config) {
		c.Policy.Min, c.Policy.Default, c.Policy.Jitter, c.ProbeOff = 0, time.Nanosecond, 0, true
		c.Tokens = &client.Source{From: &keyset.Inputs{Texts: []string{"ada:" + adasToken, "bob:" + otherToken}}, Log: c.Logger}
	})
	silence(g)
	turn := make(chan struct{}, 8)
	limited := testkit.Reply{Status: 429, Body: testkit.Limited.Body} // its key is back at once
	var wait sync.WaitGroup
	want := make(map[string]*usage.Counts) // by client and by model
	clients := map[string]string{"ada": adasToken, "bob": otherToken}
	for n := range 1000 {
		reply, used := mixed(t, n)
		name, model := []string{"ada", "bob"}[n%2], fmt.Sprint("model-", n%7)
		for _, to := range []string{name, model} {
			if want[to] == nil {
				want[to] = new(usage.Counts)
			}
			want[to].Add(countsOf(used))
		}
		wait.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			r := testkit.Post(fmt.Sprintf(`{"model":%q,"messages":[]}`, model))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+clients[name])
			serveBroken(t, g, testkit.Script(append(slices.Repeat([]testkit.Reply{limited}, n%3/2), reply)...), r)
		})
	}
	wait.Wait()
	got := make(map[string]*usage.Counts)
	var keys usage.Counts
	for _, by := range []string{"client", "model", "key"} {
		lines, _ := g.ledger.By(by, time.Now())
		for _, line := range lines {
			sum := new(usage.Counts)
			for _, b := range line.Days {
				sum.Add(b.Counts)
			}
			if by == "key" {
				keys.Add(*sum)
			} else {
				got[line.Name] = sum
			}
		}
	}
	for name, w := range want {
		if got[name] == nil || *got[name] != *w {
			t.Errorf("%s: %+v, want %+v", name, got[name], w)
		}
	}
	if both := *want["ada"]; keys.Answers != 1000 || len(got) != len(want) {
		both.Add(*want["bob"])
		t.Errorf("keys: %+v, want %+v; %d names", keys, both, len(got))
	}
}

// countsOf is what one answer counts.
func countsOf(used *usage.Tokens) (c usage.Counts) {
	c.Answers = 1
	if used == nil {
		c.Unknown = 1
		return c
	}
	for i := range used {
		c.Tokens[i] = used.Known(usage.Type(i))
	}
	return c
}

// Another config of the same pool counts on, and the API tells it by all that it can.
func TestUsageOutlivesConfigs(t *testing.T) {
	pool := testkit.FreshPool("usage-kept")
	for range 2 {
		g := provision(t, 1, func(c *Config) { c.Pool, c.Usage = pool, true })
		r := testkit.Post(`{"model":"gpt-demo"}`)
		r.Header.Set("Content-Type", "application/json")
		serveBroken(t, g, testkit.Script(stating("application/json", saidOnce)), r)
	}
	for by, name := range map[string]string{"": "", "?by=client": "", "?by=model": "gpt-demo", "?by=key": testkit.IDOf("sk-demo-1")} {
		all := adminapi.AskFor[[]observe.UsageStatus](t, "GET", "/keycycler/pools/"+pool+"/usage"+by, "")
		want := observe.UsageCounts{Answers: 2, Input: 30, Cached: 8, Output: 20, Reasoning: 6}
		if len(all) != 1 || all[0].Name != name || all[0].Hour != want || all[0].Month != want {
			t.Errorf("%s: %+v", by, all)
		}
		if len(all[0].Minutes) == 0 || len(all[0].Days) == 0 || all[0].Days[0].Day == "" {
			t.Errorf("%s: %+v", by, all)
		}
	}
	if status, text := adminapi.Ask("GET", "/keycycler/pools/"+pool+"/usage?by=colour", ""); status != 400 || !strings.Contains(text, "by: 'colour' is none of client, model, key") {
		t.Errorf("%d %s", status, text)
	}
}
