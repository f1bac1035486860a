package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// using answers that so many tokens were used; below 0, it does not say.
func using(in, cached, out int) testkit.Reply {
	body := fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}}`, in, out, cached)
	if in < 0 {
		body = `{"choices":[]}`
	}
	return testkit.Reply{Status: 200, Body: body, Header: map[string]string{"Content-Type": "application/json"}}
}

// wanting is a request of so many bytes, whose answer may have so many tokens.
func wanting(bytes, most int) *http.Request {
	body := fmt.Sprintf(`{"model":"m","max_tokens":%d,"text":"`, most)
	body += strings.Repeat("x", max(bytes-len(body)-2, 0)) + `"}`
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// room returns how many tokens of a request the only key has room for, of at most 10,000.
func room(h *Gateway) int64 {
	pool, now := h.roster.Load().Pool, time.Now()
	least, most := int64(0), int64(10_000)
	for least < most {
		n := (least + most + 1) / 2
		if d, ok := pool.Draw(now, rotator.Want{Tokens: n, Model: "m"}); ok {
			pool.Finish(now, d, rotator.Used{})
			least = n
		} else {
			most = n - 1
		}
	}
	return least
}

// What an answer says counts, and otherwise the estimate; what has failed counts nothing.
func TestLimitOfTokens(t *testing.T) {
	limit := rotator.Limit{Tokens: 10_000, TokensPer: time.Minute, Reason: reason.Limit, Source: reason.SourceConfig}
	byModel := limit
	byModel.ByModel = true
	for _, row := range []struct {
		sentence string
		reply    testkit.Reply
		usage    bool
		provider string
		limit    rotator.Limit
		used     int64
	}{
		{"what the answer says", using(700, 300, 55), true, "openai", limit, 755},
		{"also where usage is off", using(700, 300, 55), false, "openai", limit, 755},
		{"by model", using(700, 300, 55), true, "openai", byModel, 755},
		{"Anthropic counts nothing for what is read from a cache", using(700, 300, 55), true, "anthropic", limit, 455},
		{"an answer that does not say", using(-1, 0, 0), true, "openai", limit, 100 + 500},
		{"one that is no JSON", testkit.Reply{Status: 200, Body: "fine", Header: map[string]string{"Content-Type": "text/plain"}}, true, "openai", limit, 100 + 500},
		{"an error that is passed on", testkit.Reply{Status: 404, Body: "{}"}, true, "openai", limit, 0},
		{"an upstream that fails", testkit.Reply{Status: 500, Body: "{}"}, true, "openai", limit, 0},
		{"a refusal", testkit.Limited, true, "openai", limit, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 1, func(c *Config) {
				c.Limit, c.Usage, c.Provider, c.ProbeOff = &row.limit, row.usage, provider.Presets[row.provider], false
			})
			if _, err := testkit.Serve(h, testkit.Script(row.reply), wanting(400, 500)); err != nil {
				t.Fatal(err)
			}
			h.roster.Load().Pool.Clear(time.Now(), 0)
			h.roster.Load().Pool.Enable(time.Now(), 0)
			if got := 10_000 - room(h); got != row.used {
				t.Errorf("%s: %d are used, want %d", row.sentence, got, row.used)
			}
			time.Sleep(time.Minute + 2*time.Second)
			if got := room(h); got != 10_000 {
				t.Errorf("%s: there is room for %d a minute later", row.sentence, got)
			}
		})
	}
}

// Nothing stays held, whatever ends an attempt, and what is held is held meanwhile.
func TestTokensAreHeldWhileUnderWay(t *testing.T) {
	for sentence, end := range map[string]func(w http.ResponseWriter) error{
		"nothing is written":       func(http.ResponseWriter) error { return nil },
		"an error":                 func(http.ResponseWriter) error { return fmt.Errorf("lost") },
		"a panic":                  func(http.ResponseWriter) error { panic(http.ErrAbortHandler) },
		"a panic behind an answer": func(w http.ResponseWriter) error { w.WriteHeader(500); panic(http.ErrAbortHandler) },
	} {
		h := provision(t, 1, func(c *Config) { tokensOf10k(c) })
		held := int64(0)
		next := handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			held = 10_000 - room(h)
			return end(w)
		})
		func() {
			defer func() { _ = recover() }()
			_, _ = testkit.Serve(h, next, wanting(400, 500))
		}()
		if held != 600 || room(h) != 10_000 {
			t.Errorf("%s: %d were held, then there is room for %d", sentence, held, room(h))
		}
	}
}

func tokensOf10k(c *Config) {
	c.Limit = &rotator.Limit{Tokens: 10_000, TokensPer: time.Minute, Reason: reason.Limit, Source: reason.SourceConfig}
}

// A key that is refused gives back what was held for it, and the next one has used it.
func TestTokensOfARefusedAttempt(t *testing.T) {
	h := provision(t, 2, tokensOf10k)
	w, err := testkit.Serve(h, testkit.Script(testkit.Limited, using(4000, 0, 0)), wanting(400, 5000))
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	pool, now := h.roster.Load().Pool, time.Now()
	pool.Clear(now, 0)
	pool.Clear(now, 1)
	for _, tokens := range []int64{10_000, 6_000} {
		if _, ok := pool.Draw(now, rotator.Want{Tokens: tokens}); !ok {
			t.Errorf("no key has room for %d", tokens)
		}
	}
	if _, ok := pool.Draw(now, rotator.Want{Tokens: 1}); ok {
		t.Error("there is more room than that")
	}
}

// A request for which keys have too little room waits until one has, or is told when.
func TestWaitingForTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 2, func(c *Config) {
			tokensOf10k(c)
			c.MaxWait = 90 * time.Second
		})
		up := testkit.Script(using(8000, 0, 0))
		for range 2 {
			testkit.Serve(h, up, wanting(400, 0))
		}
		began := time.Now()
		if w, _ := testkit.Serve(h, up, wanting(400, 1000)); w.Code != http.StatusOK || time.Since(began) != 0 {
			t.Errorf("a small one has status %d after %s", w.Code, time.Since(began))
		}
		w, _ := testkit.Serve(h, up, wanting(400, 3000))
		if took := time.Since(began); w.Code != http.StatusOK || took < time.Minute || took > time.Minute+2*time.Second {
			t.Errorf("a large one has status %d after %s", w.Code, took)
		}
		h.MaxWait = 0
		before := len(up.Keys())
		testkit.Serve(h, up, wanting(400, 0))
		w, _ = testkit.Serve(h, up, wanting(400, 9000))
		after := w.Header().Get("Retry-After")
		if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "at the limit that is configured") || after < "50" || after > "62" {
			t.Errorf("status %d, Retry-After %s, %s", w.Code, after, w.Body)
		}
		if n := len(up.Keys()) - before; n > 1 {
			t.Errorf("the upstream was called %d times", n)
		}
	})
}

// Who waits for what a request holds gets it when that ends.
func TestWaitingForHeldTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 1, func(c *Config) {
			tokensOf10k(c)
			c.MaxWait = time.Minute
		})
		up := handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(5 * time.Second)
			return using(10, 0, 10).Write(w)
		})
		done := make(chan int, 2)
		began := time.Now()
		for range 2 {
			go func() {
				w, _ := testkit.Serve(h, up, wanting(400, 8000))
				done <- w.Code
			}()
		}
		if first, second := <-done, <-done; first != http.StatusOK || second != http.StatusOK || time.Since(began) != 10*time.Second {
			t.Errorf("status %d and %d after %s", first, second, time.Since(began))
		}
	})
}

// What answers state is known of the key, and other keys come first while it is little.
func TestLearnedLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := provision(t, 3, nil)
		scarce := testkit.DemoKeys(3)[0]
		up := &testkit.Upstream{}
		var used []string
		up.Answer = func(_ int, w http.ResponseWriter, r *http.Request) error {
			key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			used = append(used, key)
			if key == scarce {
				w.Header().Set("X-Ratelimit-Limit-Tokens", "1000")
				w.Header().Set("X-Ratelimit-Remaining-Tokens", "10")
				w.Header().Set("X-Ratelimit-Reset-Tokens", "60s")
			}
			return testkit.Fine.Write(w)
		}
		ask := func(n int) (times int) {
			used = nil
			for range n {
				testkit.Serve(h, up, testkit.Post("x"))
				time.Sleep(time.Millisecond)
			}
			for _, key := range used {
				if key == scarce {
					times++
				}
			}
			return times
		}
		if n := ask(3); n != 1 {
			t.Errorf("the key has %d of 3 turns", n)
		}
		if n := ask(20); n != 0 {
			t.Errorf("the key has %d of 20 turns, though little is left", n)
		}
		time.Sleep(30 * time.Second)
		if n := ask(3); n != 1 {
			t.Errorf("the key has %d of 3 turns when it is filled up", n)
		}
	})
}
