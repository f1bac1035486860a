package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/quota"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// limitedTo returns a gateway whose clients have these terms, each, in a pool of its own.
func limitedTo(t testing.TB, terms quota.Terms, configure func(*Config)) *Gateway {
	return provision(t, 4, func(c *Config) {
		c.Pool, c.Usage = testkit.FreshPool("quota"), true
		if configure != nil {
			configure(c)
		}
		if c.Desk == nil {
			c.Desk = client.NewDesk(c.Pool, quota.NewPlan(nil, &terms), client.UserPlaceholder)
		}
	})
}

// perMinute is a limit of so much in a minute.
func perMinute(k quota.Kind, most int64) quota.Limit {
	return quota.Limit{Kind: k, Most: most, Period: quota.Period{Per: time.Minute}}
}

// chat is a request of a model.
func chat(body string) *http.Request {
	r, _ := inCaddy(testkit.Post(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// asks serves the request, whose answer may break off, and returns what the client gets.
func asks(g *Gateway, next *testkit.Upstream, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	func() {
		defer func() { _ = recover() }()
		_ = g.ServeHTTP(w, r, next)
	}()
	return w
}

// left returns how much the client is told that is left.
func left(t testing.TB, g *Gateway, what string) int {
	t.Helper()
	w := asks(g, testkit.Script(testkit.Fine), chat(`{"model":"probe"}`))
	n, err := strconv.Atoi(w.Header().Get("X-Ratelimit-Remaining-" + what))
	if err != nil {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	return n
}

// Over its limit a client gets a 429 before a key is drawn and before its body is read, is
// told the truth, and so are operators, once.
func TestClientOverItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 3)}}, func(c *Config) { c.Logger = zap.New(core) })
		up := testkit.Script(testkit.Fine)
		for i := range 3 {
			w := asks(g, up, chat("{}"))
			if w.Code != 200 || w.Header().Get("X-Ratelimit-Limit-Requests") != "3" || w.Header().Get("X-Ratelimit-Remaining-Requests") != fmt.Sprint(2-i) {
				t.Fatalf("request %d: %d %v", i, w.Code, w.Header())
			}
			time.Sleep(time.Second)
		}
		var w *httptest.ResponseRecorder
		for range 3 {
			r, repl := inCaddy(testkit.Post("{}"))
			r.Body, r.ContentLength = unreadBody{t}, 1000
			w = asks(g, up, r)
			if outcome, _ := repl.GetString("http.keycycler.outcome"); outcome != observe.OutcomeLimited {
				t.Errorf("the outcome is %q", outcome)
			}
		}
		seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if err != nil || w.Code != 429 || len(up.Keys()) != 3 || !strings.Contains(w.Body.String(), "You are at the limit that this gateway has for you: 3 requests.") {
			t.Fatalf("%d %s, %d calls", w.Code, w.Body, len(up.Keys()))
		}
		if w.Header().Get("X-Ratelimit-Remaining-Requests") != "0" || w.Header().Get("X-Ratelimit-Reset-Requests") == "" {
			t.Errorf("the client is told %v", w.Header())
		}
		if c := g.roster.Load().Pool.Census(time.Now()); c.Ready != 4 {
			t.Errorf("%+v", c)
		}
		time.Sleep(time.Duration(seconds)*time.Second - 3*time.Second)
		if w := asks(g, up, chat("{}")); w.Code != 429 {
			t.Errorf("three seconds too early: %d", w.Code)
		}
		time.Sleep(3 * time.Second)
		if w := asks(g, up, chat("{}")); w.Code != 200 {
			t.Errorf("after just that time: %d %s", w.Code, w.Body)
		}
		if n := logs.FilterMessage("client is at its limit").Len(); n != 1 {
			t.Errorf("the log tells %d times", n)
		}
		if n := gather(t, g.Registry)[fmt.Sprintf("caddy_keycycler_client_limited_total{limit=%q,pool=%q}", "requests", g.Pool)]; n != 4 {
			t.Errorf("%v are counted", n)
		}
	})
}

// What a request used counts when its answer has ended, whatever becomes of that.
func TestTokensAreSettled(t *testing.T) {
	const most, held = 10_000, 2_000
	gone := stating(eventStream, saidTwice[:strings.Index(saidTwice, "data: {\"type\":\"message_delta")])
	gone.Panics = http.ErrAbortHandler
	for _, row := range []struct {
		what    string
		replies []testkit.Reply
		used    int
	}{
		{"JSON", []testkit.Reply{stating("application/json", saidOnce)}, 29},
		{"a stream", []testkit.Reply{stating(eventStream, saidTwice)}, 40},
		{"a stream that breaks off", []testkit.Reply{gone}, 26},
		{"behind a rejection", []testkit.Reply{testkit.Limited, stating("application/json", saidOnce)}, 29},
		{"the answer does not say", []testkit.Reply{stating("application/json", `{}`)}, held},
		{"the upstream's error", []testkit.Reply{{Status: 400, Body: "bad"}}, 0},
		{"every key refuses it", []testkit.Reply{testkit.Limited}, 0},
		{"the upstream is not there", []testkit.Reply{{Err: errors.New("refused")}}, 0},
		{"a handler panics", []testkit.Reply{{Panics: "at the disco"}}, 0},
		{"a handler panics behind the head", []testkit.Reply{{Status: 200, Body: "x", Panics: "at the disco"}}, held},
	} {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprint(row.what, on), func(t *testing.T) {
				g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Tokens, most), {Kind: quota.Concurrency, Most: 1}}}, func(c *Config) { c.Usage, c.ProbeOff = on, true })
				body := `{"model":"gpt-demo","max_tokens":1990}`
				asks(g, testkit.Script(row.replies...), chat(body))
				var now int
				quota.BookOf(g.Pool).Meters(func(_ string, m *quota.Meter) {
					if n := int(m.Used(time.Now().UnixNano())); m.Kind() == quota.Tokens {
						now = n
					} else if n != 0 {
						t.Errorf("%d requests are under way", n)
					}
				})
				if now != row.used {
					t.Errorf("%d are used, want %d", now, row.used)
				}
				if lines, _ := g.ledger.By("model", time.Now()); !on && len(lines) > 0 {
					t.Errorf("the ledger has %v", lines)
				}
			})
		}
	}
}

// A request that gets no answer gives its place back, and one is told what is left.
func TestRequestsWithoutAnAnswer(t *testing.T) {
	for _, row := range []struct {
		what  string
		reply testkit.Reply
		used  int
	}{
		{"served", testkit.Fine, 1},
		{"the upstream's error", testkit.Reply{Status: 500}, 1},
		{"every key refuses it", testkit.Limited, 0},
		{"the upstream is not there", testkit.Reply{Err: errors.New("refused")}, 0},
		{"a handler panics", testkit.Reply{Panics: "at the disco"}, 0},
	} {
		g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 10)}}, func(c *Config) { c.Policy.Min, c.Policy.Max, c.Policy.Default = 0, time.Nanosecond, time.Nanosecond })
		w := asks(g, testkit.Script(row.reply), chat("{}"))
		if w.Code == 429 && w.Header().Get("X-Ratelimit-Limit-Requests") != "10" {
			t.Errorf("%s: the client is told %v", row.what, w.Header())
		}
		if got := left(t, g, "Requests"); got != 9-row.used {
			t.Errorf("%s: %d are left, want %d", row.what, got, 9-row.used)
		}
	}
}

// Of what a client leaves while the upstream is at work for it nobody knows what that has used:
// what the request has asked for counts, for the client and for the key.
func TestClientLeavesTheUpstreamAtWork(t *testing.T) {
	for _, row := range []struct {
		what   string
		whole  bool // the request has come
		status int
		used   int64
	}{
		{"it has asked", true, 499, 2000},
		{"it was still asking", false, 499, 0},
		{"the upstream's own word", true, 400, 0},
	} {
		limit := rotator.Limit{Tokens: 10_000, TokensPer: time.Minute, Reason: reason.Limit, Source: reason.SourceConfig}
		h := provision(t, 1, func(c *Config) {
			c.Pool, c.Usage, c.Limit = testkit.FreshPool("quota"), true, &limit
			c.Desk = client.NewDesk(c.Pool, quota.NewPlan(nil, &quota.Terms{Limits: []quota.Limit{perMinute(quota.Tokens, 10_000)}}), client.UserPlaceholder)
		})
		r := chat(`{"model":"gpt-demo","max_tokens":1990}`)
		if !row.whole {
			r.ContentLength = -1
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"max_tokens":1990,`), iotest.ErrReader(io.ErrUnexpectedEOF)))
		}
		before := room(h)
		ctx, leave := context.WithCancel(r.Context())
		err := h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx), handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			io.Copy(io.Discard, r.Body)
			leave()
			w.WriteHeader(row.status)
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		quota.BookOf(h.Pool).Meters(func(_ string, m *quota.Meter) {
			if n := m.Used(time.Now().UnixNano()); n != row.used {
				t.Errorf("%s: %d count for the client, want %d", row.what, n, row.used)
			}
		})
		if got := before - room(h); got != row.used {
			t.Errorf("%s: %d count for the key, want %d", row.what, got, row.used)
		}
	}
}

// After just the time that a client is told its request passes, also where only the body says how
// much it needs.
func TestRetryAfterOfWhatTheBodyAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Tokens, 1000)}}, func(c *Config) { c.Logger = zap.New(core) })
		asks(g, testkit.Script(using(200, 0, 0)), chat(`{"model":"m"}`))
		time.Sleep(30 * time.Second)
		asks(g, testkit.Script(using(750, 0, 0)), chat(`{"model":"m"}`))
		body := `{"max_tokens":500,"x":"` + strings.Repeat("x", 400) + `"}`
		up := testkit.Script(testkit.Fine)
		w := asks(g, up, chat(body))
		seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if err != nil || w.Code != 429 || seconds < 58 || seconds > 62 {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		time.Sleep(time.Duration(seconds)*time.Second - 3*time.Second)
		if w := asks(g, up, chat(body)); w.Code != 429 {
			t.Errorf("three seconds too early: %d", w.Code)
		}
		time.Sleep(3 * time.Second)
		if w := asks(g, up, chat(body)); w.Code != 200 || len(up.Keys()) != 1 {
			t.Errorf("after just that time: %d %v, %d calls", w.Code, w.Header(), len(up.Keys()))
		}
		if n := logs.FilterMessage("client is at its limit").Len(); n != 1 {
			t.Errorf("the log tells %d times", n)
		}
	})
}

// While a request is under way it holds what it may use.
func TestTokensAreHeld(t *testing.T) {
	g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Tokens, 1000)}}, nil)
	for _, row := range []struct {
		what, kind, body string
		length           int64 // stated; 0: as it is
		want             string
	}{
		{"what it asks for", "application/json", `{"model":"m","max_tokens":500}`, 0, "492"},
		{"its bytes", "application/json; charset=utf-8", `{"model":"m","x":"` + strings.Repeat("x", 380) + `"}`, 0, "900"},
		{"bytes of no stated length", "application/json", `{"x":"` + strings.Repeat("x", 392) + `"}`, -1, "900"},
		{"what it calls its body is of no account", "text/plain", `{"model":"m","max_tokens":500}`, 0, "492"},
		{"nor that it is called nothing", "", `{"model":"m","max_tokens":500}`, 0, "492"},
		{"nor a mixture", "multipart/mixed; boundary=x", `{"model":"m","max_tokens":500}`, 0, "492"},
		{"nor a form", "multipart/form-data; boundary=x", `{"model":"m","max_tokens":500}`, 0, "492"},
		{"nor a form that is none", "multipart/form-data", `{"model":"m","max_tokens":500}`, 0, "492"},
		{"nor in which letters", "Application/JSON", `{"model":"m","max_tokens":500}`, 0, "492"},
		{"a file", "video/mp4", strings.Repeat("x", 400), 0, "1000"},
		{"what is uploaded costs no tokens", "multipart/form-data; boundary=x", strings.Repeat("x", 400), 0, "1000"},
		{"a request that is too large for any time", "application/json", `{"max_tokens":100000}`, 0, "0"},
	} {
		r := chat(row.body)
		r.Header.Set("Content-Type", row.kind)
		if row.length != 0 {
			r.ContentLength = row.length
		}
		// An error uses nothing: what is told is what the request held.
		told := asks(g, testkit.Script(testkit.Reply{Status: 500}), r).Header().Get("X-Ratelimit-Remaining-Tokens")
		if told != row.want {
			t.Errorf("%s: %s are left, want %s", row.what, told, row.want)
		}
	}
}

// A request for which too little is left is turned away when its body says so, and holds
// nothing of its client's.
func TestTooMuchIsAsked(t *testing.T) {
	g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Tokens, 1000), perMinute(quota.Requests, 100)}}, nil)
	asks(g, testkit.Script(stating("application/json", saidOnce)), chat(`{"model":"m"}`))
	up := testkit.Script(testkit.Fine)
	for range 3 {
		w := asks(g, up, chat(`{"model":"m","max_tokens":980}`))
		if w.Code != 429 || len(up.Keys()) > 0 || !strings.Contains(w.Body.String(), `"type":"tokens"`) || w.Header().Get("X-Ratelimit-Remaining-Requests") != "99" {
			t.Fatalf("%d %s %v, %d calls", w.Code, w.Body, w.Header(), len(up.Keys()))
		}
	}
	if w := asks(g, up, chat(`{"model":"m","max_tokens":100}`)); w.Code != 200 {
		t.Errorf("a smaller one: %d %s", w.Code, w.Body)
	}
}

// A budget of dollars is used by what models cost, and its end is for longer than clients
// wait.
func TestBudgetOfDollars(t *testing.T) {
	terms := quota.Terms{Limits: []quota.Limit{{Kind: quota.USDBudget, Most: 1e9, Period: quota.Period{Calendar: quota.Month, Zone: time.UTC}}}}
	g := limitedTo(t, terms, func(c *Config) {
		c.Usage, c.Prices = true, pricesFile(t, `{"dear": {"input": 10000, "output": 10000}}`)
	})
	said := testkit.Script(stating("application/json", saidOnce))
	for i, want := range []int{200, 200, 200, 200, 429} { // 0.29 USD each
		w := asks(g, said, chat(`{"model":"dear"}`))
		if w.Code != want {
			t.Fatalf("request %d: %d %s", i, w.Code, w.Body)
		}
		if want == 429 && (!strings.Contains(w.Body.String(), "a budget of 1 USD") || !strings.Contains(w.Body.String(), "insufficient_quota")) {
			t.Errorf("%s", w.Body)
		}
	}
	if w := asks(limitedTo(t, terms, nil), said, chat(`{"model":"dear"}`)); w.Code != 200 {
		t.Errorf("without prices: %d", w.Code)
	}
}

// A client that may ask for some models only gets a 403 for others, wherever the request names
// them, and no way around.
func TestModelsOfAClient(t *testing.T) {
	padding := `"x":"` + strings.Repeat("x", 100_000) + `",`
	form := "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n%s\r\n--b--\r\n"
	for _, row := range []struct {
		what, path, kind, coding, body string
		status, calls                  int
	}{
		{"one that it may", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o-mini"}`, 200, 1},
		{"one that it may not", "/v1/chat/completions", "application/json", "", `{"model":"o3"}`, 403, 0},
		{"none", "/v1/chat/completions", "application/json", "", `{}`, 200, 1},
		{"the last one counts", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o","model":"o3"}`, 403, 0},
		{"a form", "/v1/audio/transcriptions", "multipart/form-data; boundary=b", "", fmt.Sprintf(form, "o3"), 403, 0},
		{"a form that may", "/v1/audio/transcriptions", "multipart/form-data; boundary=b", "", fmt.Sprintf(form, "gpt-4o-audio"), 200, 1},
		{"in the path", "/v1beta/models/o3:generateContent", "application/json", "", `{"model":"gpt-4o"}`, 403, 0},
		{"in the body, whatever the path", "/v1beta/models/gpt-4o:generateContent", "application/json", "", `{"model":"o3"}`, 403, 0},
		{"a type that is none of JSON", "/v1/chat/completions", "text/plain", "", `{"model":"o3"}`, 403, 0},
		{"no type", "/v1/chat/completions", "", "", `{"model":"o3"}`, 403, 0},
		{"compressed", "/v1/chat/completions", "application/json", "gzip", `{"model":"o3"}`, 403, 0},
		{"compressed, one that it may", "/v1/chat/completions", "application/json", "br", `{"model":"gpt-4o"}`, 200, 1},
		{"in a coding that nobody knows", "/v1/chat/completions", "application/json", "snappy", `{"model":"gpt-4o"}`, 403, 0},
		{"behind what is looked at of a compressed body", "/v1/chat/completions", "application/json", "gzip", `{` + strings.Repeat(padding, 8) + `"model":"gpt-4o"}`, 403, 0},
		{"upstreams differ in which one counts", "/v1/chat/completions", "application/json", "", `{"model":"o3","model":"gpt-4o"}`, 403, 0},
		{"several that it may", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o","model":"gpt-4o-mini"}`, 200, 1},
		{"in capitals, as Go's parser takes it", "/v1/chat/completions", "application/json", "", `{"Model":"o3"}`, 403, 0},
		{"in capitals, beside another one", "/v1/chat/completions", "application/json", "", `{"MODEL":"o3","model":"gpt-4o"}`, 403, 0},
		{"with an escape", "/v1/chat/completions", "application/json", "", `{"m\u006fdel":"\u006f3"}`, 403, 0},
		{"within something else it is none", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o","metadata":{"Model":"another"},"models":"x"}`, 200, 1},
		{"a batch's", "/v1/messages/batches", "application/json", "", `{"requests":[{"custom_id":"a","params":{"model":"gpt-4o","max_tokens":1}},{"custom_id":"b","params":{"max_tokens":1,"model":"o3"}}]}`, 403, 0},
		{"a batch's that it may", "/v1/messages/batches", "application/json", "", `{"requests":[{"custom_id":"a","params":{"model":"gpt-4o","messages":[{"role":"user","content":[{"model":"another"}]}]}}]}`, 200, 1},
		{"a batch's, compressed", "/v1/messages/batches", "application/json", "gzip", `{"requests":[{"params":{"model":"o3"}}]}`, 403, 0},
		{"a batch's, said to be something else", "/v1/messages/batches", "text/plain", "", `{"requests":[{"params":{"model":"o3"}}]}`, 403, 0},
		{"a batch's, in capitals and with an escape", "/v1/messages/batches", "application/json", "", `{"Requests":[{"p\u0061rams":{"MODEL":"o3"}}]}`, 403, 0},
		{"a batch's, late in a large body", "/v1/messages/batches", "application/json", "", `{"requests":[{"params":{` + padding + `"model":"o3"}}]}`, 0, 0},
		{"a batch's, late in a large body, one that it may", "/v1/messages/batches", "application/json", "", `{"requests":[{"params":{` + padding + `"model":"gpt-4o"}}]}`, 200, 1},
		{"a realtime session's", "/v1/realtime/client_secrets", "application/json", "", `{"session":{"type":"realtime","model":"o3"}}`, 403, 0},
		{"a realtime session's that it may", "/v1/realtime/client_secrets", "application/json", "", `{"session":{"type":"realtime","model":"gpt-4o-realtime"}}`, 200, 1},
		{"a tool's", "/v1/responses", "application/json", "", `{"model":"gpt-4o","tools":[{"type":"image_generation","model":"o3"}]}`, 403, 0},
		{"a tool that has a parameter of that name", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o","tools":[{"type":"function","function":{"name":"model","parameters":{"type":"object","properties":{"model":{"type":"string"}}}}}]}`, 200, 1},
		{"those to fall back on", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o","models":["gpt-4o-mini","o3"]}`, 403, 0},
		{"what is no name", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o\n"}`, 403, 0},
		{"what is too long for a name", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o` + strings.Repeat("x", 300) + `"}`, 403, 0},
		{"what is no text", "/v1/chat/completions", "application/json", "", `{"model":["o3"]}`, 403, 0},
		{"null is none", "/v1/chat/completions", "application/json", "", `{"model":null}`, 200, 1},
		{"UTF-16", "/v1/chat/completions", "application/json", "", "\xff\xfe{\x00\"\x00m\x00", 403, 0},
		{"UTF-16 without its mark", "/v1/chat/completions", "", "", "{\x00\"\x00m\x00", 403, 0},
		{"JSON that is said to be a form", "/v1/chat/completions", "multipart/form-data; boundary=b", "", `{"model":"o3"}`, 403, 0},
		{"JSON that is said to be a mixture", "/v1/chat/completions", "multipart/mixed; boundary=b", "", `{"model":"o3"}`, 403, 0},
		{"a mixture", "/upload/v1beta/files", "multipart/mixed; boundary=b", "", "--b\r\n\r\nx\r\n--b--\r\n", 200, 1},
		{"a form without a boundary", "/v1/audio/transcriptions", "multipart/form-data", "", fmt.Sprintf(form, "o3"), 403, 0},
		{"a form of the other kind", "/v1/chat/completions", "application/x-www-form-urlencoded", "", "model=o3", 403, 0},
		{"two fields of a form", "/v1/audio/transcriptions", "multipart/form-data; boundary=b", "", strings.TrimSuffix(fmt.Sprintf(form, "o3"), "--b--\r\n") + fmt.Sprintf(form, "gpt-4o"), 403, 0},
		{"what is uploaded", "/upload/v1beta/files", "audio/mpeg", "", "\xff\xfb\x90{", 200, 1},
		{"late in a large body, one that it may", "/v1/chat/completions", "application/json", "", `{` + padding + `"model":"gpt-4o"}`, 200, 1},
		{"late in a large body", "/v1/chat/completions", "application/json", "", `{` + padding + `"model":"o3"}`, 0, 0},
		{"late in a large body, another one", "/v1/chat/completions", "application/json", "", `{"model":"gpt-4o",` + padding + `"model":"o3"}`, 0, 0},
	} {
		t.Run(row.what, func(t *testing.T) {
			body := row.body
			if row.coding == "gzip" || row.coding == "br" {
				body = testkit.Compress(t, row.coding, body)
			}
			r := httptest.NewRequest("POST", row.path, strings.NewReader(body))
			r.Header.Set("Content-Type", row.kind)
			if row.coding != "" {
				r.Header.Set("Content-Encoding", row.coding)
			}
			asksWithModels(t, r, body, row.status, row.calls)
		})
	}
}

// asksWithModels fails unless the request of a client that may ask for gpt-4o* only is answered so;
// a status of 0 is that of one that is cut off.
func asksWithModels(t *testing.T, r *http.Request, body string, status, calls int) {
	t.Helper()
	g := limitedTo(t, quota.Terms{Models: &catalog.Offer{Models: []string{"gpt-4o*"}}}, nil)
	up := testkit.Script(testkit.Fine)
	r, _ = inCaddy(r)
	w := httptest.NewRecorder()
	err := g.ServeHTTP(w, r, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		var came bytes.Buffer
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &came), r.Body}
		err := up.ServeHTTP(w, r)
		if strings.Contains(came.String(), `"o3"`) {
			t.Error("the upstream has got the name of another model")
		}
		return err
	}))
	if status == 0 {
		if err == nil || len(up.Keys()) != 0 {
			t.Errorf("%d, %d calls, %v", w.Code, len(up.Keys()), err)
		}
		return
	}
	if w.Code != status || len(up.Keys()) != calls || status == 200 && up.Calls[0].Body != body {
		t.Errorf("%d %s, %d calls", w.Code, w.Body, len(up.Keys()))
	}
}

// Whoever a client is, its name is found, and its limits are its own.
func TestWhoseLimit(t *testing.T) {
	one := &quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 1)}}
	for _, row := range []struct {
		what, whose string
		tokens      bool
		names       []string // of what is presented: a header each
		want        []int
		shown       string // {http.keycycler.client} at the end
	}{
		{"a token's name", client.UserPlaceholder, true, []string{"Authorization:Bearer " + adasToken, "Authorization:Bearer " + adasToken, "Authorization:Bearer " + otherToken}, []int{200, 429, 200}, ""},
		{"a placeholder", "http.request.header.X-Team", false, []string{"X-Team:red", "X-Team:blue", "X-Team:red", "X-Team:blue"}, []int{200, 200, 429, 429}, ""},
		{"clients without a name are one", "http.request.header.X-Team", false, []string{"X-A:b", "X-A:c"}, []int{200, 429}, ""},
		{"one that the config names is shown", "http.request.header.X-Team", false, []string{"X-Team:named"}, []int{200}, "named"},
		{"a token without a name, and a placeholder", "http.request.header.X-Team", true, []string{"Authorization:Bearer " + otherToken + "\nX-Team:red", "Authorization:Bearer " + otherToken + "\nX-Team:blue"}, []int{200, 200}, ""},
	} {
		t.Run(row.what, func(t *testing.T) {
			configure := func(c *Config) {
				c.Pool = testkit.FreshPool("whose")
				c.Desk = client.NewDesk(c.Pool, quota.NewPlan(map[string]*quota.Terms{"named": one}, one), row.whose)
			}
			g := provision(t, 2, configure)
			if row.tokens {
				g = guarded(t, configure)
			}
			shown := ""
			for i, header := range row.names {
				r, repl := inCaddy(testkit.Presenting("", header))
				for name := range r.Header {
					repl.Set("http.request.header."+name, r.Header.Get(name))
				}
				if w := asks(g, testkit.Script(testkit.Fine), r); w.Code != row.want[i] {
					t.Errorf("request %d: %d, want %d", i, w.Code, row.want[i])
				}
				shown, _ = repl.GetString("http.keycycler.client")
			}
			if shown != row.shown {
				t.Errorf("the client is %q, want %q", shown, row.shown)
			}
		})
	}
}

// Of a config that fails, its requests were the last that its limits held for.
func TestLimitsAfterAConfigThatFails(t *testing.T) {
	g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 3)}}, nil)
	asks(g, testkit.Script(testkit.Fine), chat("{}"))
	fails := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 100)}}, func(c *Config) { c.Pool = g.Pool })
	asks(fails, testkit.Script(testkit.Fine), chat("{}"))
	fails.Close()
	for _, want := range []int{200, 429} {
		if w := asks(g, testkit.Script(testkit.Fine), chat("{}")); w.Code != want || w.Header().Get("X-Ratelimit-Limit-Requests") != "3" {
			t.Errorf("%d, want %d: %v", w.Code, want, w.Header())
		}
	}
}

// Names that nobody knows have no limit where there is none for all.
func TestNoLimitForOthers(t *testing.T) {
	g := limitedTo(t, quota.Terms{}, func(c *Config) {
		plan := quota.NewPlan(map[string]*quota.Terms{"ada": {Limits: []quota.Limit{perMinute(quota.Requests, 1)}}}, nil)
		c.Desk = client.NewDesk(c.Pool, plan, client.UserPlaceholder)
	})
	for range 5 {
		if w := asks(g, testkit.Script(testkit.Fine), chat("{}")); w.Code != 200 || w.Header().Get("X-Ratelimit-Limit-Requests") != "" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
	}
}

// A websocket is under way until it ends, and says nothing of tokens.
func TestLimitOfWebsockets(t *testing.T) {
	g := limitedTo(t, quota.Terms{Limits: []quota.Limit{{Kind: quota.Concurrency, Most: 1}, perMinute(quota.Tokens, 100), perMinute(quota.Requests, 10)}}, nil)
	end := make(chan struct{})
	next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		<-end
		return conn.Close()
	})
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		if err := g.ServeHTTP(w, r, next); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: demo\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	var head [4096]byte
	n, err := conn.Read(head[:])
	if err != nil || !bytes.Contains(bytes.ToLower(head[:n]), []byte("x-ratelimit-remaining-tokens: 100")) {
		t.Errorf("%s %v", head[:n], err)
	}
	up := testkit.Script(testkit.Fine)
	if w := asks(g, up, chat("{}")); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("beside it: %d %v", w.Code, w.Header())
	}
	close(end)
	<-done
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	w := asks(g, up, chat("{}"))
	if w.Code != 200 || w.Header().Get("X-Ratelimit-Remaining-Requests") != "8" {
		t.Errorf("behind it: %d %v", w.Code, w.Header())
	}
}

// The upstream's headers of these names give way, others stay.
func TestUpstreamsOwnLimits(t *testing.T) {
	g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 7)}}, nil)
	reply := testkit.Fine
	reply.Header = map[string]string{"X-RateLimit-Limit-Requests": "5000", "X-Ratelimit-Remaining-Requests": "4999", "X-Ratelimit-Reset-Requests": "12ms", "X-Ratelimit-Limit-Tokens": "9"}
	w := asks(g, testkit.Script(reply), chat("{}"))
	for name, want := range map[string]string{"Limit-Requests": "7", "Remaining-Requests": "6", "Limit-Tokens": "9"} {
		if got := w.Header().Values("X-Ratelimit-" + name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	refused := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 7)}}, nil)
	limited := testkit.Limited
	limited.Header = map[string]string{"X-Ratelimit-Limit-Requests": "5000", "Retry-After": "40"}
	bad := testkit.BadKey
	bad.Header = limited.Header
	for _, reply := range []testkit.Reply{bad, limited} {
		w = asks(refused, testkit.Script(reply), chat("{}"))
		if got := w.Header().Values("X-Ratelimit-Limit-Requests"); w.Code != reply.Status || len(got) != 1 || got[0] != "7" {
			t.Errorf("with the upstream's refusal: %d %v", w.Code, w.Header())
		}
	}
}

// A gateway that a reload makes goes on with what was counted, by its own numbers.
func TestReloadKeepsCounts(t *testing.T) {
	pool := testkit.FreshPool("reload")
	with := func(most int64) *Gateway {
		return limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, most)}}, func(c *Config) { c.Pool = pool })
	}
	up := testkit.Script(testkit.Fine)
	asks(with(3), up, chat("{}"))
	if w := asks(with(5), up, chat("{}")); w.Header().Get("X-Ratelimit-Remaining-Requests") != "3" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := asks(with(2), up, chat("{}")); w.Code != 429 {
		t.Errorf("a lower number: %d", w.Code)
	}
	if w := asks(with(3), up, chat("{}")); w.Code != 200 || w.Header().Get("X-Ratelimit-Remaining-Requests") != "0" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// Each provider's clients read their own form of it.
func TestOverLimitInEveryForm(t *testing.T) {
	for name, p := range provider.Presets {
		g := limitedTo(t, quota.Terms{Limits: []quota.Limit{perMinute(quota.Requests, 1)}, Models: &catalog.Offer{Models: []string{"a"}}}, func(c *Config) { c.Provider = p })
		up := testkit.Script(testkit.Fine)
		if w := asks(g, up, chat(`{"model":"b"}`)); w.Code != 403 || !strings.Contains(w.Body.String(), "b") || w.Header().Get("Retry-After") != "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		asks(g, up, chat(`{"model":"a"}`))
		if w := asks(g, up, chat(`{"model":"a"}`)); w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
