package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// fallbacks are ways for a request to come to a second upstream, by path. {pool} stands
// for keycycler or nothing, {down} for an upstream that reads the body and says 503, {limits}
// for one that says 429, {breaks} for one that breaks off after it has read the body.
var fallbacks = map[string]string{
	"handle_errors": `{pool}
		reverse_proxy 127.0.0.1:1`,
	"broken_off": `{pool}
		reverse_proxy {breaks}`,
	"exhausted": `intercept {
			@out status 429
			handle_response @out {
				header -Content-Length
				reverse_proxy {second}
			}
		}
		{pool}
		reverse_proxy {limits}`,
	"raised": `{pool}
		reverse_proxy {limits}`,
	"raised_to_a_pool": `{pool}
		reverse_proxy {limits}`,
	"raised_limited_in_size": `request_body {
			max_size 30MiB
		}
		{pool}
		reverse_proxy {limits}`,
	"intercept": `intercept {
			@down status 503
			handle_response @down {
				reverse_proxy {second}
			}
		}
		{pool}
		reverse_proxy {down}`,
	"intercept_fails": `intercept {
			@down status 503
			handle_response @down {
				reverse_proxy 127.0.0.1:1
			}
		}
		{pool}
		reverse_proxy {down}`,
	"another_pool": `{pool}
		reverse_proxy 127.0.0.1:1`,
	"limited_in_size": `request_body {
			max_size 30MiB
		}
		{pool}
		reverse_proxy {breaks}`,
}

// bareToo tells with which of them bare Caddy sends the whole body as well.
var bareToo = map[string]bool{"handle_errors": true, "another_pool": true}

// A regression would send the second upstream nothing, or half.
func TestWhoComesAfterUsFindsTheBody(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	files := t.TempDir()
	t.Setenv("TMPDIR", files)
	g := startGateway(t, fallbackSites(t))
	clients := g.protocolClients()
	for way := range fallbacks {
		for _, before := range []string{"", "traced-", "asked-"} {
			for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
				c := clients[protocol]
				target := c.url + "/" + before + way
				t.Run(before+way+"/"+protocol, func(t *testing.T) {
					sendsAllSizes(t, c.client, target+"-keys", before == "asked-" && !bareToo[way])
					if bareToo[way] {
						sendsAllSizes(t, c.client, target+"-bare", false)
					}
				})
			}
		}
	}
	live.Eventually(t, "no temporary file is left", func() bool { return filesIn(files) == 0 })
}

// A regression would send the second upstream what the first one has left of a body
// that could not be kept, as if it were all.
func TestWhoComesAfterUsGetsNoPartOfABody(t *testing.T) {
	breaks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 100_000)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(breaks.Close)
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	t.Cleanup(second.Close)
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	const pool = "keycycler {\n keys sk-part-1 sk-part-2\n replay {\n memory 0\n disk 0\n }\n }"
	g := startGateway(t, fmt.Sprintf(`
		handle /traced {
			route {
				tracing
				%[1]s
				reverse_proxy %[2]s
			}
		}
		handle {
			%[1]s
			reverse_proxy %[2]s
		}
		handle_errors {
			reverse_proxy %[3]s
		}`, pool, breaks.URL, second.URL))
	for protocol, c := range g.protocolClients() {
		for _, path := range []string{"/", "/traced"} {
			r, err := http.NewRequest(http.MethodPost, c.url+path, struct{ io.Reader }{bytes.NewReader(make([]byte, 10<<20))})
			if err != nil {
				t.Fatal(err)
			}
			res, err := c.client.Do(r)
			if err != nil {
				continue // the server may hang up before the whole body has come
			}
			if res.Body.Close(); res.StatusCode == http.StatusOK {
				t.Errorf("%s, %s: the second upstream took a part for all", protocol, path)
			}
		}
	}
}

// sendsAllSizes sends bodies of many sizes. With fewer, those that are read whole before
// the first attempt are left out.
func sendsAllSizes(t *testing.T, client *http.Client, target string, fewer bool) {
	t.Helper()
	for _, size := range []int{0, 100, 60_000, 200_000, 30 << 20} {
		for _, chunked := range []bool{false, true} {
			if fewer || chunked && size > 1<<20 {
				continue
			}
			body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			r, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if chunked {
				r.Body, r.ContentLength = io.NopCloser(struct{ io.Reader }{bytes.NewReader(body)}), -1
			}
			res, got := live.Do(t, client, r)
			if want := fmt.Sprintf("%d %x", size, sha256.Sum256(body)); res.StatusCode != 200 || string(got) != want {
				t.Errorf("%s: of %d bytes, in chunks: %t, the second upstream got %d, %.30s", target, size, chunked, res.StatusCode, got)
			}
		}
	}
}

func fallbackSites(t *testing.T) string {
	start := func(f http.HandlerFunc) string {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return s.URL
	}
	down := start(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		http.NewResponseController(w).Flush() // intercept would double a length
	})
	limits := start(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", "40")
		http.Error(w, live.RateLimitBody, http.StatusTooManyRequests)
	})
	breaks := start(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	second := start(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
		if err != nil {
			fmt.Fprint(w, err)
		}
	})
	allows := start(func(w http.ResponseWriter, r *http.Request) {})
	var sites strings.Builder
	for way, directives := range fallbacks {
		for prefix, before := range map[string]string{
			"":        "",
			"traced-": "tracing",
			"asked-":  "forward_auth " + strings.TrimPrefix(allows, "http://") + " {\n uri /\n }",
		} {
			for suffix, pool := range map[string]string{"-bare": "", "-keys": "keycycler " + prefix + way + " {\n keys sk-1-" + prefix + way + " sk-2-" + prefix + way + raised(way) + "\n }"} {
				fmt.Fprintf(&sites, "handle /%s {\n route {\n %s\n", prefix+way+suffix, before)
				sites.WriteString(strings.NewReplacer("{pool}", pool, "{down}", down, "{limits}", limits, "{breaks}", breaks, "{second}", second).Replace(directives))
				sites.WriteString("\n }\n }\n")
			}
		}
	}
	fmt.Fprintf(&sites, "handle_errors {\n @another path *_pool-keys\n keycycler @another second {\n keys sk-demo-3\n }\n reverse_proxy %s\n }", second)
	return sites.String()
}

// raised is the option of pools that raise what they have no key for.
func raised(way string) string {
	if strings.HasPrefix(way, "raised") {
		return "\n exhausted error"
	}
	return ""
}

// filesIn counts this process's open files in dir, with or without a name.
func filesIn(dir string) (count int) {
	links, _ := os.ReadDir("/proc/self/fd")
	for _, link := range links {
		if target, err := os.Readlink("/proc/self/fd/" + link.Name()); err == nil && strings.HasPrefix(target, dir) {
			count++
		}
	}
	return count
}

// The server ends a request whose body pauses, by a deadline that must not outlive the
// body: an answer that takes longer would be cut off. A busy machine may let a body pause: what
// has not come whole is sent again.
func TestTheIdleTimeoutOfABodyEndsWithIt(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	const idle = 100 * time.Millisecond
	var whole sync.Map
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Store(r.Header.Get("X-Request"), true)
		}
		select {
		case <-r.Context().Done():
		case <-time.After(4 * idle): // the deadline has passed, if there is one
		}
		fmt.Fprint(w, "late")
	}))
	t.Cleanup(upstream.Close)
	g := newGateway(t)
	g.global = fmt.Sprintf("servers {\ntimeouts {\nread_body_idle %s\n}\n}", idle)
	g.start(fmt.Sprintf(`
		@fails path /fails /traced
		tracing /traced
		keycycler {
			keys sk-idle-1
		}
		reverse_proxy @fails 127.0.0.1:1
		reverse_proxy %[1]s
		handle_errors {
			reverse_proxy %[1]s
		}`, upstream.URL))
	t.Run("each", func(t *testing.T) {
		for protocol, c := range g.protocolClients() {
			for _, path := range []string{"/", "/fails", "/traced"} {
				t.Run(protocol+path, func(t *testing.T) {
					t.Parallel()
					for _, size := range []int{100, 200_000} {
						tries := 0
						live.Eventually(t, "a body to come without a pause", func() bool {
							r := live.Request(t, http.MethodPost, c.url+path, strings.Repeat("x", size))
							tries++
							r.Header.Set("X-Request", fmt.Sprint(protocol, path, size, tries))
							res, got := live.Do(t, c.client, r)
							_, came := whole.Load(r.Header.Get("X-Request"))
							if came && string(got) != "late" {
								t.Errorf("%d bytes: %s, %q", size, res.Status, got)
							}
							return came
						})
					}
				})
			}
		}
	})
}
