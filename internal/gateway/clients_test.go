package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/admin"
	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/ttl"
)

const (
	adasToken  = "demo-token-of-ada-01"
	otherToken = "demo-token-unnamed-2"
	wrongToken = "demo-token-of-nobody"
)

// guarded returns a handler that wants a token.
func guarded(t testing.TB, configure func(*Config)) *Gateway {
	return provision(t, 4, func(c *Config) {
		c.Tokens = &client.Source{From: &keyset.Inputs{Texts: []string{"ada:" + adasToken, otherToken}}, Log: c.Logger}
		if configure != nil {
			configure(c)
		}
	})
}

// inCaddy gives a request what Caddy's server gives it.
func inCaddy(r *http.Request) (*http.Request, *caddy.Replacer) {
	repl := caddy.NewReplacer()
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, make(map[string]any))
	return r.WithContext(ctx), repl
}

// unreadBody is a body that must not be read.
type unreadBody struct{ t *testing.T }

func (u unreadBody) Read([]byte) (int, error) { u.t.Error("the body was read"); return 0, io.EOF }
func (u unreadBody) Close() error             { return nil }

func TestWhoIsLetIn(t *testing.T) {
	h := guarded(t, nil)
	many := strings.Repeat("X-API-Key:"+wrongToken+"\n", client.MaxPresented-1)
	for _, test := range []struct {
		name      string
		query     string
		header    string
		client    string
		in        bool
		challenge string
	}{
		{"nobody presents anything", "", "", "", false, `Bearer realm="keycycler"`},
		{"credentials of another kind are not presented to us", "", "Authorization:Basic x", "", false, `Bearer realm="keycycler"`},
		{"an empty token", "key=", "Authorization:Bearer \nApi-Key:", "", false, `Bearer realm="keycycler"`},
		{"a wrong token", "", "Authorization:Bearer " + wrongToken, "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"a wrong one anywhere", "access_token=" + wrongToken, "", "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"a token that is nearly right", "", "X-API-Key:" + adasToken[:len(adasToken)-1], "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"one with something behind it", "", "X-API-Key:" + adasToken + "x", "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"one with its name", "", "X-API-Key:ada:" + adasToken, "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"the token's hash, from a config that leaked", "", "X-API-Key:" + testkit.HashOf(adasToken), "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"a list that has the token", "", "Authorization:Bearer " + adasToken + ", Bearer x", "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"a token longer than any", "key=" + strings.Repeat("t", 1<<16), "", "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"a key of the pool's is no token", "", "Authorization:Bearer sk-demo-1", "", false, `Bearer realm="keycycler", error="invalid_token"`},
		{"a token that is one too late", "", many + "X-API-Key:" + wrongToken + "\nX-API-Key:" + adasToken, "", false, `Bearer realm="keycycler", error="invalid_token"`},

		{"a bearer token", "", "Authorization:Bearer " + adasToken, "ada", true, ""},
		{"a token without a name", "", "Authorization:Bearer " + otherToken, "", true, ""},
		{"in the query, escaped", "%6bey=%64" + adasToken[1:], "", "ada", true, ""},
		{"beside another's default", "", "Authorization:Bearer " + wrongToken + "\nApi-Key:" + adasToken, "ada", true, ""},
		{"beside a user's password", "", "Authorization:Basic x\nX-API-Key:" + adasToken, "ada", true, ""},
		{"of two valid ones the first counts", "", "Authorization:Bearer " + otherToken + "\nApi-Key:" + adasToken, "", true, ""},
		{"the last that is looked at", "", many + "X-API-Key:" + adasToken, "ada", true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, repl := inCaddy(testkit.Presenting(test.query, test.header))
			if !test.in {
				r.Body, r.ContentLength = unreadBody{t}, 1000
			}
			upstream := testkit.Script(testkit.Fine)
			w, err := testkit.Serve(h, upstream, r)
			if err != nil {
				t.Fatal(err)
			}
			user, known := repl.Get(client.UserPlaceholder)
			who, _ := repl.GetString("http.keycycler.client")
			if who != test.client || known != (test.client != "") || known && caddy.ToString(user) != test.client {
				t.Errorf("the client is %q, the user %v", who, user)
			}
			if test.in {
				if w.Code != 200 || len(upstream.Calls) != 1 || !strings.HasPrefix(upstream.Calls[0].Key, "sk-demo-") {
					t.Errorf("%d, %d calls", w.Code, len(upstream.Calls))
				}
				return
			}
			outcome, _ := repl.GetString("http.keycycler.outcome")
			pool, _ := repl.GetString("http.keycycler.pool")
			if w.Code != 401 || len(upstream.Calls) != 0 || outcome != "unauthorized" || pool != "default" {
				t.Errorf("%d, %d calls, outcome %q of %q", w.Code, len(upstream.Calls), outcome, pool)
			}
			header := w.Header()
			if got := header["Www-Authenticate"]; len(got) != 1 || got[0] != test.challenge ||
				header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" || header.Get("Retry-After") != "" {
				t.Errorf("header %v", header)
			}
			if text := w.Body.String() + fmt.Sprint(header); strings.Contains(text, "demo-token") || strings.Contains(text, "sk-demo") {
				t.Errorf("the answer shows what was presented: %s", text)
			}
		})
	}
}

// The answer says the same whatever was presented, and each provider's clients read it.
func TestTheErrorOfAWrongToken(t *testing.T) {
	const text = "Incorrect API key provided: this gateway wants a token of its own as API key."
	openAI := `{"error":{"message":"` + text + `","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`
	for _, test := range []struct{ provider, path, want string }{
		{"openai", "/v1/chat/completions", openAI},
		{"generic", "/v1/chat/completions", openAI},
		{"anthropic", "/v1/messages", `{"type":"error","error":{"type":"authentication_error","message":"` + text + `"},"request_id":null}`},
		{"anthropic", "/v1/chat/completions", openAI},
		{"gemini", "/v1beta/models/m:generateContent", `{"error":{"code":401,"message":"` + text + `","status":"UNAUTHENTICATED"}}`},
		{"gemini", "/v1beta/openai/chat/completions", openAI},
		{"azure", "/openai/deployments/d/chat/completions", `{"error":{"code":"401","message":"` + text + `"}}`},
		{"cohere", "/v2/chat", `{"message":"` + text + `"}`},
		{"github", "/inference/chat/completions", `{"error":{"code":"unauthorized","message":"` + text + `"}}`},
	} {
		h := guarded(t, func(c *Config) { c.Provider = provider.Presets[test.provider] })
		for _, query := range []string{"", "key=" + wrongToken, "key=" + strings.Repeat("t", 9999)} {
			r := testkit.Presenting(query, "")
			r.URL.Path = test.path
			w, err := testkit.Serve(h, testkit.Script(testkit.Fine), r)
			if err != nil || w.Code != 401 || w.Body.String() != test.want+"\n" {
				t.Errorf("%s %s: %d %s, %v", test.provider, test.path, w.Code, w.Body, err)
			}
			// A gateway before this one takes it for what it is.
			v := h.Provider.Dialect.Judge(ttl.Response{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes(), Now: time.Now()})
			if v.Class != ttl.InvalidKey && test.provider != "generic" && !h.Provider.Imitates(test.path) {
				t.Errorf("%s: reads as %s", test.provider, v.Class)
			}
		}
	}
}

func TestWithoutTokensEverybodyIsLetIn(t *testing.T) {
	if w, err := testkit.Serve(provision(t, 1, nil), testkit.Script(testkit.Fine), testkit.Post("x")); err != nil || w.Code != 200 {
		t.Error(w.Code, err)
	}
}

// Whoever an authentication handler has found stays the user; so the token's name is
// no way to become another one.
func TestATokenIsNoUser(t *testing.T) {
	h := guarded(t, nil)
	for _, test := range []struct {
		name     string
		user     string // as an authentication handler found
		token    string
		want     string
		operates bool
	}{
		{"a named client is the user, but nobody who operates", "", adasToken, "ada", false},
		{"one without a name is nobody", "", otherToken, "", false},
		{"who is a user already stays so", "operator", adasToken, "operator", true},
		{"also without a name", "operator", otherToken, "operator", true},
		{"and where the token is wrong", "operator", wrongToken, "operator", true},
	} {
		r, repl := inCaddy(testkit.Presenting("key="+test.token, ""))
		if test.user != "" {
			repl.Set(client.UserPlaceholder, test.user)
		}
		w, err := testkit.Serve(h, testkit.Script(testkit.Fine), r)
		if got, _ := repl.GetString(client.UserPlaceholder); got != test.want || err != nil || (w.Code == 200) != (test.token != wrongToken) {
			t.Errorf("%s: user %q, %d, %v", test.name, got, w.Code, err)
		}
		page := httptest.NewRecorder()
		r.Method = http.MethodGet
		err = new(admin.StatusPage).ServeHTTP(page, r, nil)
		if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[test.operates]; err != nil || page.Code != want {
			t.Errorf("%s: the status page answers %d, %v", test.name, page.Code, err)
		}
		// Who logs in afterwards is a user, whatever a token said before.
		repl.Set(client.UserPlaceholder, "ada")
		if client.UserOf(repl) != "ada" {
			t.Errorf("%s: a user of the same name is taken for a client", test.name)
		}
	}
}

// A pool that handle_errors falls back to tells whose token it was, too.
func TestASecondPoolNamesItsOwnClient(t *testing.T) {
	first := guarded(t, nil)
	second := guarded(t, func(c *Config) { c.Pool, c.Tokens.From.Texts = "second", []string{"bob:" + adasToken} })
	r, repl := inCaddy(testkit.Presenting("key="+adasToken, ""))
	for _, h := range []*Gateway{first, second} {
		if w, err := testkit.Serve(h, testkit.Script(testkit.Fine), r); err != nil || w.Code != 200 {
			t.Fatal(w.Code, err)
		}
	}
	by, _ := repl.GetString("http.keycycler.client")
	if user, _ := repl.GetString(client.UserPlaceholder); user != "bob" || by != "bob" {
		t.Errorf("user %q, client %q", user, by)
	}
}

func TestUnauthorizedRequestsAreCounted(t *testing.T) {
	h := guarded(t, func(c *Config) { c.Pool = testkit.FreshPool("unauthorized-test") })
	registry := prometheus.NewRegistry()
	if _, err := observe.NewMetrics(registry, h.seen); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{adasToken, wrongToken, "", adasToken} {
		testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Presenting("key="+token, ""))
	}
	got := gather(t, registry)
	for name, want := range map[string]float64{
		`caddy_keycycler_unauthorized_total{pool="` + h.Pool + `"}`:              2,
		`caddy_keycycler_attempts_total{outcome="served",pool="` + h.Pool + `"}`: 2,
		`caddy_keycycler_request_attempts{pool="` + h.Pool + `"} count`:          2,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// A flood of bad tokens is in the log at DEBUG alone, and not as a flood.
func TestAFloodOfBadTokensIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		h := guarded(t, nil)
		h.announcer.Sampled = observe.Sampled(zap.New(core))
		for range 1000 {
			testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Presenting("key="+wrongToken, ""))
		}
		if n := logs.Len(); n != observe.LogFirst+(1000-observe.LogFirst)/observe.LogEach {
			t.Errorf("%d lines", n)
		}
		for _, entry := range logs.All() {
			if entry.Level != zapcore.DebugLevel || strings.Contains(fmt.Sprint(entry), "demo-token") {
				t.Fatalf("logged %v", entry)
			}
		}
	})
}

func TestTokenFilesAreWatched(t *testing.T) {
	const added = "demo-token-added-003"
	for _, test := range []struct {
		name   string
		change func(t *testing.T, path string)
		in     []string
		out    []string
		log    string
	}{
		{"a token is added", func(t *testing.T, path string) { writeKeys(t, path, adasToken, added) }, []string{adasToken, added}, []string{wrongToken}, "client tokens have changed"},
		{"a token is removed", func(t *testing.T, path string) { writeKeys(t, path, added) }, []string{added}, []string{adasToken}, "client tokens have changed"},
		{"a token gets a name", func(t *testing.T, path string) { writeKeys(t, path, "ada:"+adasToken) }, []string{adasToken}, nil, "client tokens have changed"},
		{"the file is written again as it was", func(t *testing.T, path string) { writeKeys(t, path, "# now with a comment", adasToken) }, []string{adasToken}, nil, ""},
		{"all tokens are removed: that opens nothing", func(t *testing.T, path string) { writeKeys(t, path, "# none") }, nil, []string{adasToken, ""}, "no client token is left: nobody is let in"},
		{"the file is emptied", func(t *testing.T, path string) { writeKeys(t, path) }, nil, []string{adasToken, ""}, "no client token is left: nobody is let in"},
		{"the file is gone: the last good tokens stay", func(_ *testing.T, path string) { os.Remove(path) }, []string{adasToken}, []string{""}, "client tokens were not read again: going on with the last good ones"},
		{"a line is bad: so do they", func(t *testing.T, path string) { writeKeys(t, path, added, "demo token") }, []string{adasToken}, []string{added, ""}, "client tokens were not read again: going on with the last good ones"},
		{"tokens come back", func(t *testing.T, path string) { writeKeys(t, path); settle(); writeKeys(t, path, added) }, []string{added}, []string{adasToken, ""}, "client tokens have changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				path := filepath.Join(t.TempDir(), "tokens")
				writeKeys(t, path, adasToken)
				h := provision(t, 1, func(c *Config) { c.Tokens = &client.Source{From: &keyset.Inputs{Paths: []string{path}}, Log: c.Logger} })
				h.clients.Stop()
				h.Tokens.Log = zap.New(core)
				if err := h.loadClients(); err != nil {
					t.Fatal(err)
				}
				test.change(t, path)
				settle()
				for _, token := range append(test.in, test.out...) {
					want := 401
					for _, good := range test.in {
						if token == good {
							want = 200
						}
					}
					if w, err := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Presenting("key="+token, "")); err != nil || w.Code != want {
						t.Errorf("%q: %d, %v", token, w.Code, err)
					}
				}
				settle() // what is said once is not said again
				all := logs.All()
				if test.log == "" && len(all) > 0 || test.log != "" && (len(all) == 0 || all[len(all)-1].Message != test.log || logs.FilterMessage(test.log).Len() != 1) {
					t.Errorf("logged %v", all)
				}
				if strings.Contains(fmt.Sprint(all), "demo") {
					t.Errorf("a token is in the log: %v", all)
				}
			})
		})
	}
}

// A token in a {file.…} placeholder changes like one in a file.
func TestTokenPlaceholdersAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		writeKeys(t, path, adasToken)
		h := provision(t, 1, func(c *Config) {
			c.Tokens = &client.Source{From: &keyset.Inputs{Texts: []string{"ada:{file." + path + "}"}}, Log: c.Logger}
		})
		writeKeys(t, path, otherToken)
		settle()
		for token, want := range map[string]int{adasToken: 401, otherToken: 200} {
			if w, err := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Presenting("key="+token, "")); err != nil || w.Code != want {
				t.Errorf("%s: %d, %v", token, w.Code, err)
			}
		}
	})
}

func TestWithoutTokensTheLogSaysSo(t *testing.T) {
	const line = "no client tokens: whoever reaches this site may use its keys"
	for _, tokens := range [][]string{nil, {adasToken}} {
		core, logs := observer.New(zap.InfoLevel)
		g := new(Gateway)
		g.Logger = zap.New(core)
		if tokens != nil {
			g.Tokens = &client.Source{From: &keyset.Inputs{Texts: tokens}, Log: g.Logger}
		}
		if err := g.loadClients(); err != nil {
			t.Fatal(err)
		}
		if said := logs.FilterMessage(line).Len() == 1; said != (tokens == nil) {
			t.Errorf("tokens %v: logged %v", tokens, logs.All())
		}
	}
}

// What is not let in costs no more than the answer, and what is let in nothing.
func TestAdmittingAllocatesNothing(t *testing.T) {
	h := guarded(t, nil)
	for name, r := range map[string]*http.Request{
		"a right token":     testkit.Presenting("model=x", "Authorization:Bearer "+adasToken+"\nContent-Type:application/json"),
		"in the query":      testkit.Presenting("model=x&key="+adasToken, ""),
		"a wrong token":     testkit.Presenting("", "Authorization:Bearer "+wrongToken),
		"a long one":        testkit.Presenting("", "Authorization:Bearer "+strings.Repeat("t", 512)),
		"far too long":      testkit.Presenting("", "X-API-Key:"+strings.Repeat("t", 1<<20)),
		"as many as fit":    testkit.Presenting("", strings.Repeat("X-API-Key:"+wrongToken+"\n", 1000)),
		"nothing at all":    testkit.Presenting("", ""),
		"a sub-protocol":    testkit.Presenting("", credential.ProtocolHeader+":realtime, openai-insecure-api-key."+adasToken),
		"a user's password": testkit.Presenting("", "Authorization:Basic dXNlcjpkZW1v"),
	} {
		if n := testing.AllocsPerRun(100, func() { h.clients.Admit(r) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
