package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// With a bearer key, nothing in a full run's DEBUG log is part of a key: rejections
// of every kind, echoes, an aborted stream, an exhausted pool, a doubled key.
func TestNoKeyIsLogged(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch r.URL.Path {
		case "/echo":
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error":{"message":"%s may not do this (%s*******%s)"}}`, key, key[:8], key[len(key)-4:])
		case "/invalid":
			w.WriteHeader(401)
			fmt.Fprintf(w, `{"error":{"message":"Incorrect API key provided: %s","code":"invalid_api_key"}}`, key)
		case "/spent":
			w.Header().Set("X-Ratelimit-Remaining-Requests", "0")
			w.Header().Set("X-Ratelimit-Reset-Requests", "1h")
			w.WriteHeader(429)
		case "/abort":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "begin")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			io.WriteString(w, "fine")
		}
	})
	keysFile := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keysFile, []byte("sk-demo-filed-1 filed\nsk-demo-filed-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Caddy logs the whole config at DEBUG: keys belong into files or the environment.
	t.Setenv("DEMO_KEY_1", "sk-demo-secret-1")
	t.Setenv("DEMO_KEY_2", "sk-demo-secret-2")
	g := startGateway(t, fmt.Sprintf("keycycler {\n keys {env.DEMO_KEY_1} {env.DEMO_KEY_2}\n keys_file %s\n}\nreverse_proxy %s", keysFile, upstream.URL))
	r := live.Request(t, "POST", g.plain+"/echo?key=sk-client-query", "x")
	r.Header.Set("Authorization", "Bearer sk-client-bearer")
	_, body := live.Do(t, http.DefaultClient, r)
	if strings.Contains(string(body), "sk-demo") || strings.Contains(string(body), "ret-") {
		t.Errorf("the upstream's echo of the key was passed on: %s", body)
	}
	if res, err := http.Get(g.plain + "/abort"); err == nil {
		io.ReadAll(res.Body)
		res.Body.Close()
	}
	for _, path := range []string{"/fine", "/invalid", "/spent", "/exhausted"} {
		live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+path, ""))
	}
	// What is no key, nor a name, is not told either: each is read within a
	// second, by both sites.
	for i, bad := range []string{"sk-demo-filed-2 sk-demo-filed-3", "Bearer sk-demo-filed-4", "KEY=sk-demo-filed-5", "sk-demo-filed-6,sk-demo-filed-7",
		"sk-demo-filed-8 # sk-demo-filed-9", "0123456789 sk-demo-filed", "sk-demo-filed-1 same\nsk-demo-filed-2 same"} {
		if err := os.WriteFile(keysFile+".new", []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(keysFile+".new", keysFile); err != nil { // it is never seen empty
			t.Fatal(err)
		}
		live.Eventually(t, "the log tells of a bad file", func() bool {
			return len(g.logged("keys were not read again: going on with the last good ones")) == sites*(i+1)
		})
	}
	log := g.log()
	for _, wanted := range []string{"key is cooling", "no key is ready", "key stands twice", "key's name is that of another", "looks like another key", "aborting with incomplete response", "upstream roundtrip"} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the log has no %q: this test looks at nothing\n%s", wanted, log)
		}
	}
	for _, secret := range []string{"sk-demo-secret", "sk-demo-filed", "sk-client-bearer"} {
		if strings.Contains(log, secret) {
			at := strings.Index(log, secret)
			t.Errorf("the log has %q: …%s…", secret, log[max(at-300, 0):min(at+100, len(log))])
		}
	}
}

// Caddy does not redact other headers than its own: the filter that security.md
// tells to add does.
func TestTheLogFilterClosesTheHole(t *testing.T) {
	filter := live.LogFilter(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") == "" && r.URL.Query().Get("key") == "" {
			t.Errorf("the upstream got no key: %v %s", r.Header, r.URL)
		}
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "begin")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer live.CloseServer(t, upstream)
	for _, auth := range []string{"header X-Api-Key", "query key"} {
		for _, filtered := range []bool{false, true} {
			t.Run(fmt.Sprintf("auth %s, filtered: %t", auth, filtered), func(t *testing.T) {
				g := newGateway(t)
				if filtered {
					g.format = filter
				}
				t.Setenv("DEMO_KEY", "sk-demo-secret-1")
				g.start(fmt.Sprintf("keycycler {\n keys {env.DEMO_KEY}\n auth %s\n}\nreverse_proxy %s", auth, upstream.URL))
				r := live.Request(t, "GET", g.plain+"/?key=sk-client-demo", "")
				r.Header.Set("X-Api-Key", "sk-client-demo")
				if res, err := http.DefaultClient.Do(r); err == nil {
					io.ReadAll(res.Body)
					res.Body.Close()
				}
				log := g.log()
				if !strings.Contains(log, "aborting with incomplete response") {
					t.Fatal("no stream was aborted: this test looks at nothing")
				}
				shows := strings.Contains(log, "sk-demo-secret")
				if want := !filtered && auth == "header X-Api-Key"; shows != want {
					t.Errorf("the pool's key is in the log: %t, want %t", shows, want)
				}
				if filtered && strings.Contains(log, "sk-client-demo") {
					t.Error("the client's key is in the log")
				}
			})
		}
	}
}
