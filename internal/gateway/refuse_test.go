package gateway

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/testkit"
)

func statusOf(err error) int {
	var failed caddyhttp.HandlerError
	if errors.As(err, &failed) {
		return failed.StatusCode
	}
	return 0
}

func TestMethodsThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		method  string
		major   int
		proto   string
		tunnel  string // the header :protocol
		refused bool
	}{
		{"what APIs use passes", "POST", 1, "HTTP/1.1", "", false},
		{"whatever the method is called", "PURGE", 1, "HTTP/1.1", "", false},
		{"TRACE would be answered with the key", "TRACE", 1, "HTTP/1.1", "", true},
		{"in lower case some take it for the same", "trace", 2, "HTTP/2.0", "", true},
		{"TRACK is Microsoft's TRACE", "TRACK", 1, "HTTP/1.1", "", true},
		{"CONNECT is for forward proxies", "CONNECT", 1, "HTTP/1.1", "", true},
		{"a header that HTTP/1.1 cannot have does not help", "CONNECT", 1, "HTTP/1.1", "websocket", true},
		{"nor does lower case", "connect", 1, "HTTP/1.1", "", true},
		{"a websocket over HTTP/2 passes", "CONNECT", 2, "HTTP/2.0", "websocket", false},
		{"another tunnel does not", "CONNECT", 2, "HTTP/2.0", "connect-udp", true},
		{"a websocket over HTTP/3 passes", "CONNECT", 3, "websocket", "", false},
		{"another tunnel does not", "CONNECT", 3, "HTTP/3.0", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, upstream := provision(t, 2, nil), testkit.Script(testkit.Fine)
			r := testkit.Post("")
			r.Method, r.ProtoMajor, r.Proto = test.method, test.major, test.proto
			if test.tunnel != "" {
				r.Header[":protocol"] = []string{test.tunnel}
			}
			w, err := testkit.Serve(h, upstream, r)
			if refused := statusOf(err) == http.StatusMethodNotAllowed; refused != test.refused || refused == (len(upstream.Keys()) > 0) {
				t.Errorf("refused: %t, with %v, after %d calls", refused, err, len(upstream.Keys()))
			}
			if test.refused && !strings.Contains(w.Header().Get("Allow"), "POST") {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
		})
	}
}

// An upstream that resolves a path and one that takes it as it is would want the key
// in different headers: a client could make one of them refuse every key.
func TestPathsThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		name, provider, target string
		refused                bool
	}{
		{"the imitation", "anthropic", "/v1/chat/completions", false},
		{"the API itself", "anthropic", "/v1/messages", false},
		{"dots that lead out of the imitation", "anthropic", "/v1/chat/completions/../../messages", true},
		{"dots that lead into it", "anthropic", "/v1/messages/../chat/completions", true},
		{"escaped dots", "anthropic", "/v1/messages/%2e%2e/chat/completions", true},
		{"an escaped slash", "anthropic", "/v1/chat%2Fcompletions", true},
		{"an escaped letter", "anthropic", "/v1/ch%61t/completions", true},
		{"doubled slashes", "anthropic", "//v1//chat/completions", true},
		{"an escaped backslash", "anthropic", "/v1/chat%5Ccompletions", true},
		{"what leads to no imitation either way", "anthropic", "//v1/../v1/%6dessages", false},
		{"an escaped slash behind the imitation", "gemini", "/v1beta/openai/models/a%2Fb", false},
		{"the imitation's root", "gemini", "/v1beta/openai/", false},
		{"dots that lead out of Google's", "gemini", "/v1beta/openai/../models", true},
		{"a key that travels one way only", "cohere", "/compatibility/v1/../x", false},
		{"no imitation", "openai", "/v1/../x", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, upstream := provision(t, 2, func(c *Config) { c.Provider = provider.Presets[test.provider] }), testkit.Script(testkit.Fine)
			_, err := testkit.Serve(h, upstream, httptest.NewRequest(http.MethodPost, "http://a"+test.target, nil))
			if refused := statusOf(err) == http.StatusBadRequest; refused != test.refused || refused == (len(upstream.Calls) > 0) {
				t.Errorf("refused: %t, with %v, after %d calls", refused, err, len(upstream.Calls))
			}
		})
	}
	t.Run("where auth says how the key travels, no path is refused", func(t *testing.T) {
		h := provision(t, 2, func(c *Config) { c.Provider, c.Auth = provider.Presets["anthropic"], &provider.Auth{Bearer: true} })
		if _, err := testkit.Serve(h, testkit.Script(testkit.Fine), httptest.NewRequest(http.MethodPost, "http://a/v1/chat%2Fcompletions", nil)); err != nil {
			t.Error(err)
		}
	})
}

// What is not ambiguous leads to the imitation in both readings or in none.
func FuzzAmbiguousPath(f *testing.F) {
	for _, seed := range []string{"/v1/chat/completions", "/v1/chat/completions/../x", "//v1/chat%2fcompletions", `\v1\chat\completions`, ""} {
		f.Add(seed)
	}
	p := provider.Presets["anthropic"]
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return // a server refuses it
		}
		if !p.Ambiguous(u) && p.Imitates(u.Path) != strings.HasPrefix(u.EscapedPath(), p.OpenAI) && !strings.Contains(u.Path, "..") {
			t.Errorf("%q is read in two ways", raw)
		}
	})
}
