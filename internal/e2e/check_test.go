package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/internal/testkit/pools"
)

// vendor is a provider that knows keys, and is asked about them.
type vendor struct {
	*httptest.Server

	mu    sync.Mutex
	is    map[string]string // what a key gets: "", good; else how it is refused
	paths string            // the only ones at which it knows keys, as one text
	asked []string          // path, key and proxy
}

func startVendor(t *testing.T, paths string) *vendor {
	t.Helper()
	v := &vendor{is: make(map[string]string), paths: paths}
	v.Server = httptest.NewServer(v)
	t.Cleanup(func() { live.CloseServer(t, v.Server) })
	return v
}

// makes says what a key gets from now on.
func (v *vendor) makes(key, refusal string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.is[key] = refusal
}

// heard returns what it was asked since the last time.
func (v *vendor) heard() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := strings.Join(v.asked, ", ")
	v.asked = nil
	return all
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	v.mu.Lock()
	v.asked = append(v.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+key))
	refusal, known := v.is[key]
	if !strings.Contains(v.paths, r.URL.Path) {
		refusal, known = "404", true
	}
	v.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case key == "" || !known || refusal == "invalid":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":{"message":"Incorrect API key provided: %s","type":"invalid_request_error","code":"invalid_api_key"}}`, key)
	case refusal == "limited":
		w.Header().Set("Retry-After", "40")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, live.RateLimitBody)
	case refusal == "broken":
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, `{"error":{"message":"The server had an error"}}`)
	case refusal == "404":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"message":"Invalid URL"}}`)
	default:
		io.WriteString(w, `{"object":"list","data":[]}`)
	}
}

// keysFile returns the path of a file with the keys.
func keysFile(t *testing.T, keys ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check.keys")
	if err := os.WriteFile(path, []byte(strings.Join(keys, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// test asks about a key as an operator does.
func test(t *testing.T, pool, key string) observe.CheckStatus {
	t.Helper()
	return adminapi.AskFor[observe.CheckStatus](t, "POST", "/keycycler/pools/"+pool+"/keys/"+testkit.IDOf(key)+"/test", "")
}

// keyOf returns what is known of a key.
func keyOf(t *testing.T, pool, key string) observe.KeyStatus {
	t.Helper()
	return adminapi.AskFor[observe.KeyStatus](t, "GET", "/keycycler/pools/"+pool+"/keys/"+testkit.IDOf(key), "")
}

// An operator tests keys, and what the upstream says of each has the consequences that it
// has for a request. The key never shows.
func TestAnOperatorTestsKeys(t *testing.T) {
	const good, bad, other = "sk-check-good-1", "sk-check-bad-2", "sk-check-other-3"
	v := startVendor(t, "/v1/models")
	v.makes(good, "")
	v.makes(bad, "invalid")
	v.makes(other, "")
	g := startGateway(t, fmt.Sprintf("keycycler check-e2e {\n keys_file %s\n}\nreverse_proxy %s", keysFile(t, good, bad, other), v.URL))

	if s := test(t, "check-e2e", good); s.Result != "good" || s.Status != 200 || s.Did != "nothing" || s.State != "ready" || s.Answer != "" {
		t.Errorf("a good key: %+v", s)
	}
	if heard := v.heard(); heard != "GET /v1/models "+good+", GET /v1/models" {
		t.Errorf("the upstream heard %s", heard)
	}
	s := test(t, "check-e2e", bad)
	if s.Result != "refused" || s.Class != "invalid_key" || s.Status != 401 || s.Did != "cools" || s.State != "cooling" || s.Seconds < 86400 {
		t.Errorf("a bad key: %+v", s)
	}
	if !strings.Contains(s.Answer, "Incorrect API key provided") || strings.Contains(s.Answer, bad) {
		t.Errorf("the answer is shown as %s", s.Answer)
	}
	if k := keyOf(t, "check-e2e", bad); k.Class != "invalid_key" || k.Proven == nil || !*k.Proven || k.Attempts != 0 {
		t.Errorf("it is %+v", k)
	}

	v.makes(bad, "")
	if s := test(t, "check-e2e", bad); s.Result != "good" || s.Did != "freed" || s.State != "ready" {
		t.Errorf("a key that was mended: %+v", s)
	}
	v.makes(bad, "limited")
	if s := test(t, "check-e2e", bad); s.Result != "refused" || s.Class != "rate_limited" || s.Source != "retry-after" || s.Did != "suspected" || s.Seconds < 40 || s.Seconds > 44 {
		t.Errorf("a key at its limit: %+v", s)
	}
	v.makes(bad, "")
	if s := test(t, "check-e2e", bad); s.Result != "good" || s.Did != "nothing" || s.State != "cooling" {
		t.Errorf("a limit is not over because the key is known: %+v", s)
	}

	adminapi.Ask("POST", "/keycycler/pools/check-e2e/keys/"+testkit.IDOf(other)+"/disable", "")
	if s := test(t, "check-e2e", other); s.Result != "good" || s.State != "disabled" {
		t.Errorf("a disabled key: %+v", s)
	}
	v.makes(good, "broken")
	if s := test(t, "check-e2e", good); s.Result != "failed" || s.Status != 500 || s.Did != "nothing" || s.State != "ready" {
		t.Errorf("an upstream that fails: %+v", s)
	}
	v.makes(good, "404")
	if s := test(t, "check-e2e", good); s.Result != "inconclusive" || s.Did != "nothing" || s.State != "ready" {
		t.Errorf("a path that does not exist: %+v", s)
	}
	for _, key := range []string{good, bad, other} {
		if strings.Contains(g.log(), key) {
			t.Errorf("the log holds %s", key)
		}
	}
}

// A refusal without another key to compare with proves nothing.
func TestATestOfTheOnlyKeyConvictsNobody(t *testing.T) {
	const key = "sk-check-only-1"
	v := startVendor(t, "/v1/models")
	v.makes(key, "invalid")
	startGateway(t, fmt.Sprintf("keycycler check-only {\n keys %s\n}\nreverse_proxy %s", key, v.URL))
	if s := test(t, "check-only", key); s.Result != "refused" || s.Did != "suspected" || s.State != "ready" {
		t.Errorf("%+v", s)
	}
	v.makes(key, "")
	if s := test(t, "check-only", key); s.Did != "freed" {
		t.Errorf("then it is mended: %+v", s)
	}
}

// A path that is answered without a key frees none.
func TestAPathThatAnswersAnybodyProvesNothing(t *testing.T) {
	const key, good = "sk-check-open-1", "sk-check-open-2"
	open := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" || r.Header.Get("Authorization") == "Bearer "+good {
			io.WriteString(w, "{}")
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`)
	})
	g := startGateway(t, fmt.Sprintf("keycycler check-open {\n keys %s %s\n}\nreverse_proxy %s", key, good, open.URL))
	live.Eventually(t, "the key is refused", func() bool {
		live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain+"/v1/x", "{}"))
		return keyOf(t, "check-open", key).State == "cooling"
	})
	if s := test(t, "check-open", key); s.Result != "inconclusive" || s.State != "cooling" || !strings.Contains(s.Error, "without a key, too") {
		t.Errorf("%+v", s)
	}
}

// A check goes the way of a request, whatever stands between keycycler and the upstream, and
// wherever keycycler stands.
func TestChecksGoTheWayOfRequests(t *testing.T) {
	const key, east = "sk-check-way-1", "sk-check-way-2"
	v := startVendor(t, "/base/v1/models /v1/models /deep/v1/models")
	v.makes(key, "")
	v.makes(east, "")
	proxy := startOutbound(t, "ops", false)
	address, _ := url.Parse(v.URL)
	for _, row := range []struct {
		sentence, directives, heard string
	}{
		{"the address stands in reverse_proxy alone", "keycycler way-e2e {\n keys " + key + "\n}\nreverse_proxy " + v.URL, "/v1/models"},
		{"handlers between them", "route {\nkeycycler way-e2e {\n keys " + key + "\n}\nrewrite * /deep{uri}\nreverse_proxy " + v.URL + "\n}", "/deep/v1/models"},
		{"what only a request that has come somewhere has", "keycycler way-e2e {\n keys " + key + "\n}\nreverse_proxy " + v.URL + " {\n header_up X-Local \"{http.request.local} {http.request.local.host} {http.request.local.port}\"\n}", "/v1/models"},
		{"a path of its own", "keycycler way-e2e {\n keys " + key + "\n check {\n uri /base/v1/models?x=1\n interval 0\n }\n}\nreverse_proxy " + v.URL, "/base/v1/models?x=1"},
		{"handle within handle", "handle_path /llm/* {\nhandle {\nkeycycler way-e2e {\n keys " + key + "\n}\nreverse_proxy " + v.URL + "\n}\n}", "/v1/models"},
		{"a fallback", "error /x 502\nhandle_errors 502 {\nkeycycler way-e2e {\n keys " + key + "\n}\nreverse_proxy " + v.URL + "\n}", "/v1/models"},
		{"for answers of a reverse_proxy", "reverse_proxy http://127.0.0.1:1 {\n@out status 5xx\nhandle_response @out {\nkeycycler way-e2e {\n keys " + key + "\n}\nreverse_proxy " + v.URL + "\n}\n}", "/v1/models"},
		{"for answers of any handler", "intercept {\n@out status 5xx\nhandle_response @out {\nkeycycler way-e2e {\n keys " + key + "\n}\nreverse_proxy " + v.URL + "\n}\n}\nrespond 503", "/v1/models"},
		{"another site's path is none of its", "@chat path /v1/chat/*\nreverse_proxy @chat http://127.0.0.1:1\nkeycycler way-e2e {\n keys " + key + "\n}\nreverse_proxy " + v.URL, "/v1/models"},
		{"the key's own upstream, by its proxy", "keycycler way-e2e {\n keys " + key + " {\n upstream " + v.URL + "/base\n proxy http://ops:" + outboundPassword + "@" + proxy.address + "\n}\n}\nreverse_proxy {\n dynamic keycycler\n transport keycycler\n}", "/base/v1/models"},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			startGateway(t, row.directives)
			if s := test(t, "way-e2e", key); s.Result != "good" {
				t.Errorf("%s: %+v", row.sentence, s)
			}
			if heard := v.heard(); heard != "GET "+row.heard+" "+key+", GET "+row.heard {
				t.Errorf("%s: the upstream heard %s", row.sentence, heard)
			}
		})
	}
	if went := proxy.targets(); went != address.Host {
		t.Errorf("the proxy went to %s", went)
	}
}

// A check that nobody waits for any more, as when its operator leaves or the config is unloaded,
// has not been made: it is not counted.
func TestATestThatIsGivenUp(t *testing.T) {
	const key = "sk-check-given-up-1"
	asked := make(chan struct{}, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(func() { live.CloseServer(t, upstream) })
	startGateway(t, "keycycler given-up-e2e {\n keys "+key+"\n check {\n interval 1h\n }\n}\nreverse_proxy "+upstream.URL)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-asked
		leave()
	}()
	w := httptest.NewRecorder()
	adminapi.Mux().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/keycycler/pools/given-up-e2e/keys/"+testkit.IDOf(key)+"/test", nil))
	if n := checksCounted(t, "given-up-e2e", "failed"); n != 0 || w.Code == http.StatusOK {
		t.Errorf("%d %s, and %v checks have failed", w.Code, w.Body, n)
	}
}

// Within a handler of another module nobody knows the way. A pool that would check its keys
// says so.
func TestNoWayForChecks(t *testing.T) {
	const key, line = "sk-check-lost-1", "no key is checked: keycycler stands within a handler of another module"
	for _, row := range []struct {
		sentence, within, check string
		says                    bool
	}{
		{"within a handler of another module", "box", " check\n", true},
		{"without checks", "box", "", false},
		{"within a route", "route", " check\n", false},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			g := startGateway(t, row.within+" {\nkeycycler lost-e2e {\n keys "+key+"\n"+row.check+"}\nreverse_proxy http://127.0.0.1:1\n}")
			if says := strings.Contains(g.log(), line); says != row.says {
				t.Errorf("%s: %s", row.sentence, g.log())
			}
		})
	}
	startGateway(t, "box {\nkeycycler lost-e2e {\n keys "+key+"\n}\nreverse_proxy http://127.0.0.1:1\n}")
	if status, text := adminapi.Ask("POST", "/keycycler/pools/lost-e2e/keys/"+testkit.IDOf(key)+"/test", ""); status != 409 || !strings.Contains(text, "within a handler of another module") {
		t.Errorf("%d %s", status, text)
	}
}

// box is a handler of another module, with a route within it.
type box struct{ caddyhttp.Subroute }

func init() {
	caddy.RegisterModule(new(box))
	httpcaddyfile.RegisterHandlerDirective("box", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		within, err := httpcaddyfile.ParseSegmentAsSubroute(h)
		if err != nil {
			return nil, err
		}
		return &box{*within.(*caddyhttp.Subroute)}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("box", httpcaddyfile.Before, "respond")
}

func (*box) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.box", New: func() caddy.Module { return new(box) }}
}

// What cannot be asked says what to write.
func TestWhatCannotBeTested(t *testing.T) {
	const key = "sk-check-not-1"
	path := "/keycycler/pools/not-e2e/keys/" + testkit.IDOf(key) + "/test"
	for _, row := range []struct {
		sentence, directives string
		status               int
		want                 string
	}{
		{"the provider has no path that is known", "keycycler not-e2e {\n keys " + key + "\n provider generic\n}\nreverse_proxy http://127.0.0.1:1", 409, "write one as 'check { uri "},
		{"nothing stands behind it", "keycycler not-e2e {\n keys " + key + "\n}", 409, "no reverse_proxy was asked"},
		{"something else answers", "keycycler not-e2e {\n keys " + key + "\n}\nreverse_proxy /v1/chat/* http://127.0.0.1:1\nrespond hello", 409, "no reverse_proxy was asked"},
		{"another pool stands behind it", "route {\nkeycycler not-e2e {\n keys " + key + "\n}\nkeycycler other-e2e {\n keys sk-other-1\n}\nreverse_proxy http://127.0.0.1:1\n}", 409, "another keycycler"},
		{"nobody is at the address", "keycycler not-e2e {\n keys " + key + "\n}\nreverse_proxy http://127.0.0.1:1", 200, `"result":"failed"`},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			startGateway(t, row.directives)
			if status, text := adminapi.Ask("POST", path, ""); status != row.status || !strings.Contains(text, row.want) || strings.Contains(text, key) {
				t.Errorf("%s: %d %s", row.sentence, status, text)
			}
		})
	}
	if status, text := adminapi.Ask("POST", path, ""); status != 404 {
		t.Errorf("no config runs: %d %s", status, text)
	}
}

// An upstream that does not answer says nothing of the key, and why in words for people:
// without the ids and lines of source that Caddy's own log has.
func TestATestOfAnUpstreamThatFails(t *testing.T) {
	const key = "sk-check-failing-1"
	plain := startVendor(t, "/v1/models")
	for _, row := range []struct{ sentence, upstream, want string }{
		{"nobody is at the address", "http://127.0.0.1:1", "connect: dial tcp 127.0.0.1:1: "},
		{"it speaks no TLS", "https" + strings.TrimPrefix(plain.URL, "http"), "connect: tls: first record does not look like a TLS handshake"},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			startGateway(t, "keycycler failing-e2e {\n keys "+key+"\n}\nreverse_proxy "+row.upstream)
			if s := test(t, "failing-e2e", key); s.Result != "failed" || !strings.HasPrefix(s.Error, row.want) || s.Did != "nothing" || s.State != "ready" {
				t.Errorf("%+v, want %s", s, row.want)
			}
		})
	}
}

// With check, a pool finds bad keys out by itself, and keys that were mended; a reload does
// not ask again, and the checks end with the config.
func TestAPoolChecksItsKeys(t *testing.T) {
	const good, bad, used = "sk-check-self-1", "sk-check-self-2", "sk-check-self-3"
	v := startVendor(t, "/v1/models /v1/chat")
	for _, key := range []string{good, used} {
		v.makes(key, "")
	}
	v.makes(bad, "invalid")
	file := keysFile(t, used)
	const site = "keycycler self-e2e {\n keys_file %s\n check {\n on_start\n }\n}\nreverse_proxy %s"
	without := fmt.Sprintf(strings.Replace(site, "check {\n on_start\n }\n", "", 1), file, v.URL)
	g := startGateway(t, without)
	live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain+"/v1/chat", "{}")) // with the only key
	if err := os.WriteFile(file, []byte(used+"\n"+good+"\n"+bad+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.heard()
	counted := checksCounted(t, "self-e2e", "invalid_key")
	with := fmt.Sprintf(site, file, v.URL)
	g.load(with)
	live.Eventually(t, "the bad key cools", func() bool { return keyOf(t, "self-e2e", bad).Class == "invalid_key" })
	rounds := func() int { return strings.Count(g.log(), "keys were checked") }
	live.Eventually(t, "the rounds of both sites are over", func() bool { return rounds() == 2 })
	heard := v.heard()
	if strings.Count(heard, good) > 2 || !strings.Contains(heard, good) || strings.Count(heard, bad) != 1 {
		t.Errorf("the upstream heard %s", heard)
	}
	if k := keyOf(t, "self-e2e", used); k.State != "ready" {
		t.Errorf("the key in use is %+v", k)
	}

	g.load(strings.Replace(with, "on_start", "on_start\n interval 168h", 1))
	live.Eventually(t, "the round after the reload is over", func() bool { return rounds() == 4 })
	if heard := v.heard(); strings.Contains(heard, good) {
		t.Errorf("after a reload the upstream heard %s", heard)
	}
	if n := checksCounted(t, "self-e2e", "invalid_key") - counted; n != 1 {
		t.Errorf("%v refusals were counted", n)
	}
	if strings.Contains(g.log(), bad) || strings.Contains(g.log(), good) {
		t.Error("the log holds a key")
	}
}

// checksCounted returns how often a pool's checks came to this result.
func checksCounted(t *testing.T, pool, result string) float64 {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == "caddy_keycycler_checks_total" && labels["pool"] == pool && labels["result"] == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// Load balancers are told of nodes that run, also of those whose keys all cool.
func TestReadiness(t *testing.T) {
	const key = "sk-check-ready-1"
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") })
	ready := func() string {
		one, _ := adminapi.Ask("GET", "/keycycler/ready", "")
		pool, text := adminapi.Ask("GET", "/keycycler/ready/ready-e2e", "")
		if strings.Contains(text, key) {
			t.Errorf("the answer holds the key: %s", text)
		}
		return fmt.Sprint(one, " ", pool)
	}
	if got := ready(); got != "503 404" {
		t.Errorf("before the config runs: %s", got)
	}
	g := newGateway(t)
	g.start(fmt.Sprintf("handle /v1/* {\nkeycycler ready-e2e {\n keys %s\n cooldown {\n min 0s\n }\n}\nreverse_proxy %s\n}\nhandle {\n keycycler_status\n}", key, upstream.URL))
	site := func() string {
		res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/ready", ""))
		if strings.Contains(string(body), "ready-e2e") {
			t.Errorf("a name is told: %s", body)
		}
		return fmt.Sprint(res.StatusCode, " ", strings.TrimSpace(string(body)))
	}
	verb := func(name, body string) {
		adminapi.AskFor[observe.KeyStatus](t, "POST", "/keycycler/pools/ready-e2e/keys/"+testkit.IDOf(key)+"/"+name, body)
	}
	for _, row := range []struct {
		sentence string
		do       func()
		want     string
		site     string
	}{
		{"a pool that is ready", func() {}, "200 200", `200 {"ready":true}`},
		{"one whose keys all cool", func() { verb("cool", `{"seconds":600}`) }, "200 503", `200 {"ready":true}`},
		{"and are cleared", func() { verb("clear", "") }, "200 200", `200 {"ready":true}`},
		{"one whose keys are all disabled", func() { verb("disable", "") }, "503 503", `503 {"ready":false}`},
		{"and enabled", func() { verb("enable", "") }, "200 200", `200 {"ready":true}`},
		{"and disabled again", func() { verb("disable", "") }, "503 503", `503 {"ready":false}`},
		{"a config that is loaded, and does not run yet, says nothing", func() { pools.Named(t, "ready-next-e2e") }, "503 503", `503 {"ready":false}`},
	} {
		row.do()
		if got := ready(); got != row.want {
			t.Errorf("%s: %s, want %s", row.sentence, got, row.want)
		}
		if got := site(); got != row.site {
			t.Errorf("%s: the site says %s", row.sentence, got)
		}
	}
	res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/status", ""))
	if res.StatusCode != http.StatusForbidden || strings.Contains(string(body), "ready") {
		t.Errorf("the page without authentication: %d %s", res.StatusCode, body)
	}
	if res, _ := live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain+"/ready", "")); res.StatusCode != http.StatusForbidden {
		t.Errorf("a change at the path: %d", res.StatusCode)
	}
	live.InTime(t, "the config ends", func() { caddy.Stop() })
	if got := ready(); got != "503 404" {
		t.Errorf("after the config has ended: %s", got)
	}
}
