package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// failing is an upstream with a certificate of its own that knows one key.
type failing struct {
	name  string
	url   string
	calls atomic.Int32
	fails atomic.Bool // as its name says; at first it does
}

// startFailing starts one that does as its name says.
func startFailing(t *testing.T, a *authority, name string, h2 bool) *failing {
	t.Helper()
	u := &failing{name: name}
	u.fails.Store(true)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.calls.Add(1)
		if r.Header.Get("Authorization") != "Bearer sk-demo-"+name {
			t.Errorf("%s got %q", name, r.Header.Get("Authorization"))
		}
		if u.fails.Load() && u.does(w, r) {
			return
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, r.Body); err != nil {
			return
		}
		w.Header().Set("X-Upstream", name)
		fmt.Fprintf(w, "%x", hash.Sum(nil))
	}))
	s.Config.ErrorLog, s.EnableHTTP2 = log.New(io.Discard, "", 0), h2
	until := time.Now().Add(time.Hour)
	if name == "expired" {
		until = time.Now().Add(-time.Hour)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue("127.0.0.1", until)}}
	s.StartTLS()
	t.Cleanup(func() { live.CloseServer(t, s) })
	if u.url = s.URL; name == "down" {
		u.url = "https://127.0.0.1:" + live.FreePort(t)
	}
	return u
}

// does answers as the name says, and tells whether it has.
func (u *failing) does(w http.ResponseWriter, r *http.Request) bool {
	switch u.name {
	case "limited":
		w.Header().Set("Retry-After", "40")
		w.WriteHeader(http.StatusTooManyRequests)
	case "unavailable":
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "not now")
	case "hanging":
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	case "resetting":
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler) // closes the connection, or resets the stream
	}
	return u.name != "well"
}

// startFailingAll starts a gateway before upstreams that do as their names say.
func startFailingAll(t *testing.T, h2 bool, options, transport string, names ...string) (*gateway, map[string]*failing) {
	t.Helper()
	a, all := newAuthority(t), make(map[string]*failing)
	var b strings.Builder
	for _, name := range names {
		u := startFailing(t, a, name, h2)
		all[name] = u
		fmt.Fprintf(&b, "keys sk-demo-%s {\n upstream %s\n }\n", name, u.url)
	}
	return startGateway(t, fmt.Sprintf(`keycycler {
		%s
		%s
	}
	reverse_proxy {
		dynamic keycycler
		transport %s {
			tls_trust_pool file %s
		}
	}
	handle_errors {
		respond "handled {err.status_code} {http.request.body}"
	}`, options, b.String(), transport, a.file)), all
}

func hashOf(body string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(body))) }

// firstByte is how long an upstream may take. One that is well answers sooner on a busy machine, too.
const firstByte = 2 * time.Second

// While one upstream is well, each request is answered, whatever the others do.
func TestUpstreamsThatFail(t *testing.T) {
	names := []string{"well", "limited", "down", "hanging", "expired", "resetting", "unavailable"}
	for _, h2 := range []bool{false, true} {
		for _, transport := range []string{"keycycler", "http"} {
			t.Run(fmt.Sprintf("transport %s, HTTP/2 %t", transport, h2), func(t *testing.T) {
				g, all := startFailingAll(t, h2, fmt.Sprintf("first_byte %s\n on reset timeout retry", firstByte), transport, names...)
				bodies := []string{"", "x", strings.Repeat("k", 1<<10), strings.Repeat("m", 1<<20)}
				if live.Long() && !h2 && transport == "keycycler" {
					bodies = append(bodies, strings.Repeat("u", 20<<20))
				}
				for name, client := range g.protocolClients() {
					var together sync.WaitGroup
					for worker := range 5 {
						together.Go(func() {
							for i := range 6 {
								body := bodies[(worker+i)%len(bodies)]
								began := time.Now()
								res, err := client.client.Do(live.Request(t, "POST", client.url+"/v1/x", body))
								if err != nil {
									t.Errorf("%s: %v", name, err)
									return
								}
								got, err := io.ReadAll(res.Body)
								res.Body.Close()
								if err != nil || res.StatusCode != 200 || res.Header.Get("X-Upstream") != "well" || string(got) != hashOf(body) {
									t.Errorf("%s: %s from %q, %.80q for %d bytes, %v", name, res.Status, res.Header.Get("X-Upstream"), got, len(body), err)
								}
								if took := time.Since(began); took > firstByte+live.Patience/4 {
									t.Errorf("%s: a request takes %s", name, took)
								}
							}
						})
					}
					together.Wait()
				}
				for _, e := range g.logged("key is cooling") {
					if e["class"] != "rate_limited" {
						t.Errorf("a key is blamed: %v", e)
					}
				}
				var rest []string
				for _, e := range g.logged("upstream rests") {
					for name, u := range all {
						if e["upstream"] == u.url {
							rest = append(rest, fmt.Sprint(name, " ", e["kind"]))
						}
					}
				}
				slices.Sort(rest)
				if rest = slices.Compact(rest); !slices.Equal(rest, []string{"down connect", "expired connect", "hanging timeout", "resetting reset", "unavailable unavailable"}) {
					t.Errorf("these rest: %q", rest)
				}
				for name, u := range all {
					if n := u.calls.Load(); name != "well" && n > 20 {
						t.Errorf("%s is called %d times", name, n)
					}
				}
			})
		}
	}
}

// Where all are out, the error is the client's, as with bare Caddy: handle_errors sees it,
// and the whole body.
func TestUpstreamsThatAllFail(t *testing.T) {
	body := strings.Repeat("the body ", 20_000)
	for want, names := range map[string][]string{
		"handled 502 ": {"down", "expired", "resetting"},
		"handled 504 ": {"hanging"},
		"not now":      {"unavailable"},
	} {
		if len(names) == 1 {
			names = append(names, "down")
		}
		patience := "10s"
		if slices.Contains(names, "hanging") {
			patience = "200ms"
		}
		g, all := startFailingAll(t, true, "first_byte "+patience+"\n on reset timeout retry\n select hash {http.request.header.X-Order}", "keycycler", names...)
		seen := make(map[string]bool)
		for i := 0; i < 100 && !seen[want]; i++ { // in each order; the last one counts
			r := live.Request(t, "POST", g.plain+"/v1/x", body)
			r.Header.Set("X-Order", fmt.Sprint(i))
			res, got := live.Do(t, http.DefaultClient, r)
			answer := strings.TrimSuffix(string(got), body)
			seen[answer] = true
			if handled := strings.HasPrefix(answer, "handled"); handled && len(got) != len(answer)+len(body) || res.StatusCode < 502 || res.StatusCode > 504 {
				t.Fatalf("%s: %d bytes, which begin with %.40q", res.Status, len(got), got)
			}
		}
		if !seen[want] || len(seen) > 2 {
			t.Errorf("%v: the clients get %v, want %q", names, seen, want)
		}
		if n := len(g.logged("key is cooling")); n > 0 {
			t.Errorf("%d keys cool", n)
		}
		for name, u := range all {
			u.fails.Store(false)
			if name == "down" || name == "expired" {
				continue
			}
			live.Eventually(t, name+" is well again, and used", func() bool {
				res, _ := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/v1/x", ""))
				return res.StatusCode == 200 && res.Header.Get("X-Upstream") == name
			})
		}
	}
}

// Over HTTP/2, Caddy's own transport does not tell that it was keycycler who has ended the
// attempt: the client, which is there still, gets no 499.
func TestFirstByteOverHTTP2(t *testing.T) {
	a := newAuthority(t)
	u := startFailing(t, a, "hanging", true)
	g := startGateway(t, fmt.Sprintf(`keycycler {
		keys sk-demo-hanging
		first_byte 100ms
	}
	reverse_proxy %s {
		transport http {
			tls_trust_pool file %s
		}
	}
	handle_errors {
		respond "handled {err.status_code} {http.request.body}"
	}`, u.url, a.file))
	for name, client := range g.protocolClients() {
		res, got := live.Do(t, client.client, live.Request(t, "POST", client.url, "the body"))
		if res.StatusCode != http.StatusGatewayTimeout || string(got) != "handled 504 the body" {
			t.Errorf("%s: %s %q", name, res.Status, got)
		}
	}
	if strings.Contains(g.log(), `"status":499`) {
		t.Error("a 499 is logged")
	}
}

// An upstream that takes no connections in time is one that is not there.
func TestFirstByteWhileDialing(t *testing.T) {
	a := newAuthority(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes them, and no TLS comes about
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	well := startFailing(t, a, "well", true)
	g := startGateway(t, fmt.Sprintf(`keycycler {
		keys sk-demo-silent {
			upstream https://%s
		}
		keys sk-demo-well {
			upstream %s
			tier 2
		}
		first_byte %s
	}
	reverse_proxy {
		dynamic keycycler
		transport keycycler {
			tls_trust_pool file %s
		}
	}`, silent.Addr(), well.url, firstByte, a.file))
	res, got := live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain, "the body"))
	if res.StatusCode != 200 || string(got) != hashOf("the body") {
		t.Errorf("%s %q", res.Status, got)
	}
	if rests := g.logged("upstream rests"); len(rests) != 1 || rests[0]["kind"] != "connect" {
		t.Errorf("these rest: %v", rests)
	}
}

// Events tell of an address that rests, and that it is back, as metrics do.
func TestRestsAreTold(t *testing.T) {
	a := newAuthority(t)
	first, second := startFailing(t, a, "unavailable", true), startFailing(t, a, "expired", true)
	pool := fmt.Sprint("told", time.Now().UnixNano()) // counters are the process's
	g := newGateway(t)
	g.global = "metrics\n events {\n on keycycler_upstream_rests keycycler_test\n on keycycler_upstream_back keycycler_test\n}"
	g.start(fmt.Sprintf(`handle /metrics {
		metrics
	}
	handle {
		keycycler %s {
			keys sk-demo-unavailable {
				upstream %s
			}
			keys sk-demo-expired {
				upstream %s
				tier 2
			}
		}
		reverse_proxy {
			dynamic keycycler
			transport keycycler {
				tls_trust_pool file %s
			}
		}
	}`, pool, first.url, second.url, a.file))
	events.Lock()
	events.seen = nil
	events.Unlock()
	for _, want := range []int{502, 200} { // where all rest, they are used
		if res, _ := live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain, "x")); res.StatusCode != want {
			t.Errorf("%s, want %d", res.Status, want)
		}
		first.fails.Store(false)
	}
	events.Lock()
	defer events.Unlock()
	if want := []string{
		`keycycler_upstream_rests {"kind":"unavailable","pool":"` + pool + `","seconds":10,"upstream":"` + first.url + `"}`,
		`keycycler_upstream_rests {"kind":"connect","pool":"` + pool + `","seconds":10,"upstream":"` + second.url + `"}`,
		`keycycler_upstream_back {"pool":"` + pool + `","upstream":"` + first.url + `"}`,
	}; !slices.Equal(events.seen, want) {
		t.Errorf("events: %q, want %q", events.seen, want)
	}
	_, metrics := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/metrics", ""))
	for _, want := range []string{
		`caddy_keycycler_upstream_failures_total{kind="unavailable",pool="` + pool + `"} 1`,
		`caddy_keycycler_upstream_failures_total{kind="connect",pool="` + pool + `"} 1`,
		`caddy_keycycler_upstream_failures_total{kind="reset",pool="` + pool + `"} 0`,
		`caddy_keycycler_attempts_total{outcome="served",pool="` + pool + `"} 1`,
	} {
		if !strings.Contains(string(metrics), want+"\n") {
			t.Errorf("the metrics do not show %s", want)
		}
	}
	if !strings.Contains(string(metrics), "\ncaddy_keycycler_upstreams_resting ") {
		t.Error("the metrics do not show how many addresses rest")
	}
	for _, e := range g.logged("upstream rests") {
		if text := fmt.Sprint(e["error"]); e["kind"] == "connect" && !strings.Contains(text, "certificate has expired") {
			t.Errorf("the log says %q", text)
		}
	}
}
