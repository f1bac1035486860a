package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// seen is what an upstream tells of a request.
type seen struct {
	Method, URI, Host, Body string
	Header                  map[string]string // those that the directives set
}

// startMirror starts an upstream that answers with what it was asked. It limits as many
// calls as it is told to.
func startMirror(t *testing.T) (url string, limit *atomic.Int32, keys *[]string) {
	t.Helper()
	limit, keys = new(atomic.Int32), new([]string)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s := seen{r.Method, r.URL.String(), r.Host, string(body), make(map[string]string)}
		for name := range r.Header {
			if strings.HasPrefix(name, "X-T-") {
				s.Header[name] = r.Header.Get(name)
			}
		}
		*keys = append(*keys, r.Header.Get("Authorization")) // the test sends one request at a time
		w.Header().Set("X-From", "mirror")
		if limit.Add(-1) >= 0 {
			w.Header().Set("X-From", "limit")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	t.Cleanup(mirror.Close)
	return mirror.URL, limit, keys
}

// mirrored is one row: directives between keycycler and reverse_proxy.
type mirrored struct{ what, directives, proxy string }

var mirroredRows = []mirrored{
	{"a prefix is taken off, and another put before", "uri strip_prefix /groq\nrewrite * /openai{uri}", ""},
	{"path and query", "uri strip_prefix /groq\nrewrite * /x{path}?was={query}", ""},
	{"a parameter that was added", "uri query +added yes\nrequest_header X-T-Added {http.request.uri.query.added}", ""},
	{"a part of the path", "uri strip_prefix /groq\nrequest_header X-T-Part {http.request.uri.path.0}", ""},
	{"a rewrite after a rewrite", "rewrite * /one{path}\nrewrite * /two{path}", ""},
	{"the body", "request_header X-T-Body {http.request.body}", ""},
	{"a matcher of the body", "@body vars {http.request.body} hello\nrequest_header @body X-T-Match yes", ""},
	{"a matcher of a large body", "@large vars_regexp {http.request.body} \"^x{1000}.*[$]$\"\nrequest_header @large X-T-Match yes", ""},
	{"a header", "request_header X-T-One 1\nrequest_header X-T-Two {http.request.header.X-T-One}2", ""},
	{"a header that was taken off", "request_header -X-T-Sent\nrequest_header X-T-Was \"<{http.request.header.X-T-Sent}>\"", ""},
	{"a matcher of a header", "request_header X-T-One 1\n@one header X-T-One 1\nrequest_header @one X-T-Match yes", ""},
	{"an expression", "request_header X-T-One 1\n@one expression `{http.request.header.X-T-One} == \"1\" && {path}.startsWith(\"/groq/\")`\nrequest_header @one X-T-Match yes", ""},
	{"an expression of what was rewritten", "uri strip_prefix /groq\n@bare expression `{path}.startsWith(\"/v1\")`\nrequest_header @bare X-T-Match yes", ""},
	{"a map", "uri strip_prefix /groq\nmap {path} {target} {\n/v1/x mapped\ndefault none\n}\nrequest_header X-T-Target {target}", ""},
	{"variables", "uri strip_prefix /groq\nvars at {path}\nrequest_header X-T-At {http.vars.at}\n@at vars at /v1/x\nrequest_header @at X-T-Match yes", ""},
	{"the method", "method PUT\nrequest_header X-T-Method {method}", ""},
	{"the host", "request_header Host other.test\nrequest_header X-T-Host {host}", ""},
	{"a capture", "@version path_regexp version ^/groq/(v\\d)/\nrequest_header @version X-T-Version {re.version.1}", ""},
	{"the original", "uri strip_prefix /groq\nrequest_header X-T-Orig {http.request.orig_uri}", ""},
	{"a file", "request_header X-T-File {file.%FILE%}", ""},
	{"a nested route", "handle_path /groq/* {\nrewrite * /inner{uri}\n}", ""},
	{"the proxy's own", "", "header_up X-T-Upstream {http.reverse_proxy.upstream.hostport}"},
	{"the proxy's retry, and the body", "request_header X-T-Body {http.request.body}",
		"lb_policy round_robin\nlb_retries 3\nheader_up X-T-Retried {http.reverse_proxy.upstream.hostport}"},
	{"the answer", "header >X-T-Answer \"{http.response.header.X-From} {http.reverse_proxy.status_code}\"", ""},
}

// site returns a site in which each row is asked for by a header, behind a pool and
// without one.
func (row mirrored) site(number int, pool, upstream, dead string) string {
	if strings.Contains(row.proxy, "lb_retries") {
		upstream = dead + " " + upstream
	}
	var b strings.Builder
	for _, keycycler := range []string{"", fmt.Sprintf("keycycler p%d {\n%s\n}\n", number, pool)} {
		name := fmt.Sprintf("%d-%t", number, keycycler != "")
		fmt.Fprintf(&b, "@r%s header X-Row %s\nhandle @r%s {\nroute {\nheader >X-Before \"{http.reverse_proxy.status_code} {http.response.header.X-From}\"\n%s%s\nreverse_proxy %s {\n%s\n}\n}\n}\n",
			name, name, name, keycycler, row.directives, upstream, row.proxy)
	}
	return b.String()
}

// Directives and placeholders after keycycler see what they see without it, in each
// attempt.
func TestWhatComesAfterUsSeesTheAttempt(t *testing.T) {
	upstream, limit, keys := startMirror(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("filed"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sites strings.Builder
	dead := "127.0.0.1:" + live.FreePort(t)
	for i, row := range mirroredRows {
		row.directives = strings.ReplaceAll(row.directives, "%FILE%", file)
		sites.WriteString(row.site(i, "keys "+demoKeys(9)+"\ncooldown {\nmin 0s\ndefault 1ms\njitter 0\n}", upstream, dead))
	}
	g := startGateway(t, sites.String())
	ask := func(row int, pool bool, limited int32) (*http.Response, seen) {
		limit.Store(limited)
		body := "hello"
		if strings.Contains(mirroredRows[row].what, "large") {
			body = strings.Repeat("x", 200<<10) + "$"
		}
		r := live.Request(t, "POST", g.plain+"/groq/v1/x?a=b&c", body)
		r.Header.Set("X-Row", fmt.Sprintf("%d-%t", row, pool))
		r.Header.Set("X-T-Sent", "sent")
		res, answer := live.Do(t, http.DefaultClient, r)
		var s seen
		if err := json.Unmarshal(answer, &s); err != nil {
			t.Fatalf("%s: %s %s", mirroredRows[row].what, res.Status, answer)
		}
		return res, s
	}
	for i, row := range mirroredRows {
		bareRes, bare := ask(i, false, 0)
		for limited := range int32(3) {
			*keys = nil
			res, got := ask(i, true, limited)
			if len(*keys) != int(limited)+1 || strings.Contains(strings.Join(*keys, ""), "client") {
				t.Errorf("%s: the upstream saw the keys %q", row.what, *keys)
			}
			if fmt.Sprint(got) != fmt.Sprint(bare) {
				t.Errorf("%s, attempt %d: the upstream saw\n%.500v, and without keycycler\n%.500v", row.what, limited+1, got, bare)
			}
			for _, name := range []string{"X-Before", "X-T-Answer"} {
				if g, w := res.Header.Get(name), bareRes.Header.Get(name); g != w {
					t.Errorf("%s, attempt %d: %s is %q, and without keycycler %q", row.what, limited+1, name, g, w)
				}
			}
		}
	}
}

// Access logs see what handlers have set, the request as it came, and no key, wherever
// they are told to look.
func TestTheAccessLogSeesTheRequest(t *testing.T) {
	upstream, limit, _ := startMirror(t)
	auth := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer auth.Close()
	t.Setenv("DEMO_KEY_1", "sk-demo-secret-1")
	t.Setenv("DEMO_KEY_2", "sk-demo-secret-2")
	for _, row := range []struct{ auth, place string }{
		{"auth bearer", "{http.request.header.Authorization}"},
		{"auth header X-Api-Key", "{http.request.header.X-Api-Key}"},
		{"auth query key", "{http.request.uri}"},
		{"auth query key", "{http.request.uri.query}"},
		{"auth query key", "{http.request.uri_escaped}"},
	} {
		t.Run(row.auth+" "+strings.Trim(row.place, "{}"), func(t *testing.T) {
			g := newGateway(t)
			g.level = "INFO" // at DEBUG handlers log the attempt's header: the filter of security.md is for that
			g.start(fmt.Sprintf(`route {
				log_append before_uri {http.request.uri.path}
				log_append before_target {target}
				log_append before_status {http.reverse_proxy.status_code}
				log_append before_upstream {http.reverse_proxy.upstream.hostport}
				log_append before_place %[1]s
				log_append before_var copied
				log_append before_copy {copy}
				log_append before_missing {http.no.such}
				forward_auth %[2]s {
					uri /
				}
				keycycler {
					keys {env.DEMO_KEY_1} {env.DEMO_KEY_2}
					%[3]s
				}
				uri strip_prefix /groq
				vars copied %[1]s
				map %[1]s {copy} {
					~(.*) "${1}"
				}
				map {path} {target} {
					/v1/x mapped
				}
				log_append after_uri {http.request.uri.path}
				log_append after_place %[1]s
				@matched expression `+"`%[1]s.contains(\"sk-demo\")`"+`
				request_header @matched X-T-Matched yes
				reverse_proxy %[4]s
			}`, row.place, auth.URL, row.auth, upstream))
			limit.Store(1)
			res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/groq/v1/x", ""))
			if res.StatusCode != http.StatusOK || !strings.Contains(string(body), "X-T-Matched") {
				t.Fatalf("%s: %s", res.Status, body)
			}
			live.Eventually(t, "the request is logged", func() bool { return len(g.logged("handled request")) == 1 })
			entry := g.logged("handled request")[0]
			for name, want := range map[string]any{
				"before_uri": "/groq/v1/x", "before_target": "mapped", "before_status": 200.0,
				"before_upstream": strings.TrimPrefix(upstream, "http://"), "after_uri": "/v1/x",
			} {
				if entry[name] != want {
					t.Errorf("%s is %v, want %v", name, entry[name], want)
				}
			}
			for _, name := range []string{"after_place", "before_var", "before_copy"} {
				if hidden, _ := entry[name].(map[string]any); hidden["redacted"] == nil {
					t.Errorf("%s, which holds the key, is logged as %v", name, entry[name])
				}
			}
			if log := g.log(); strings.Contains(log, "sk-demo-secret") {
				at := strings.Index(log, "sk-demo-secret")
				t.Errorf("the key is logged: …%s…", log[max(at-300, 0):min(at+60, len(log))])
			}
		})
	}
}
