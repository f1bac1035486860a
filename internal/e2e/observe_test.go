package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator"
)

// logged returns the gateway's log entries with this message.
func (g *gateway) logged(message string) (entries []map[string]any) {
	g.t.Helper()
	for line := range strings.Lines(g.log()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			entries = append(entries, entry)
		}
	}
	return entries
}

// Access logs, headers and handle_errors can tell what keycycler did.
func TestPlaceholders(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, r.Header.Get("X-Sent"))
	})
	const values = "{http.keycycler.pool} {http.keycycler.key_id} {http.keycycler.attempts} {http.keycycler.outcome}"
	g := startGateway(t, fmt.Sprintf(`
		log_append pool {http.keycycler.pool}
		log_append key_id {http.keycycler.key_id}
		log_append attempts {http.keycycler.attempts}
		log_append outcome {http.keycycler.outcome}
		log_append model {http.keycycler.model}
		header >X-Told "%[1]s"
		keycycler first {
			keys %[2]s
		}
		reverse_proxy %[3]s {
			header_up X-Sent "%[1]s"
		}
		handle_errors {
			respond "{err.status_code}: %[1]s"
		}`, values, demoKeys(4), upstream.URL))
	lastEntry := func() map[string]any {
		entries := g.logged("handled request")
		if len(entries) == 0 {
			return nil
		}
		return entries[len(entries)-1]
	}
	told := func() string {
		last := lastEntry()
		return fmt.Sprint(last["pool"], " ", last["key_id"], " ", last["attempts"], " ", last["outcome"])
	}

	upstream.LimitFirst(2)
	upstream.Prove()
	res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
	id := rotator.IDOf(upstream.Seen()[2].Key).String()
	// Until an attempt is over, the outcome is that of the one before.
	if want := "first " + id + " 3 rate_limited"; string(body) != want {
		t.Errorf("the upstream was sent %q, want %q", body, want)
	}
	if want := "first " + id + " 3 rate_limited"; res.Header.Get("X-Told") != want {
		t.Errorf("the header says %q, want %q", res.Header.Get("X-Told"), want)
	}
	live.Eventually(t, "the access log tells", func() bool { return told() == "first "+id+" 3 served" })

	_, body = live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain+"/abort", ""))
	last := upstream.Seen()
	id = rotator.IDOf(last[len(last)-1].Key).String()
	if !strings.HasPrefix(string(body), "502: first ") || !strings.HasSuffix(string(body), " 1 failed") {
		t.Errorf("handle_errors says %q", body)
	}

	const large = 1 << 20
	models := map[string]string{
		`{"model":"gpt-demo","messages":[]}`: "gpt-demo",
		`{"messages":[{"content":"` + strings.Repeat("x", large) + `\"model\":\"decoy\""}],"model":"gpt-late"}`: "gpt-late",
		`{"messages":[]}`: "",
	}
	for sent, want := range models {
		r := live.Request(t, "POST", g.plain+"/v1/chat/completions", sent)
		r.Header.Set("Content-Type", "application/json")
		live.Do(t, http.DefaultClient, r)
		live.Eventually(t, "the access log tells the model "+want, func() bool { return lastEntry()["model"] == want })
	}
	live.Do(t, http.DefaultClient, live.Request(t, "POST", g.plain+"/v1beta/models/gemini-demo:generateContent", "{}"))
	live.Eventually(t, "the path's model is told", func() bool { return lastEntry()["model"] == "gemini-demo" })

	upstream.LimitFirst(2)
	live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
	live.Eventually(t, "the access log tells of exhaustion", func() bool { return strings.HasSuffix(told(), " 2 exhausted") })
	live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
	live.Eventually(t, "and that no key was tried", func() bool { return told() == "first  0 exhausted" })
}

// A pool that another falls back to is the one that is told of.
func TestPlaceholdersOfASecondPool(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	second := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	g := startGateway(t, fmt.Sprintf(`
		keycycler first {
			keys sk-demo-secret-1
		}
		reverse_proxy %s {
			@failed status 5xx
			handle_response @failed {
				error 503
			}
		}
		handle_errors {
			log_append pool {http.keycycler.pool}
			log_append attempts {http.keycycler.attempts}
			log_append outcome {http.keycycler.outcome}
			keycycler second {
				keys sk-demo-secret-2
			}
			reverse_proxy %s
		}`, upstream.URL, second.URL))
	_, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
	if string(body) != "fine" {
		t.Fatalf("the client got %q", body)
	}
	live.Eventually(t, "the access log tells of the second pool", func() bool {
		entries := g.logged("handled request")
		return len(entries) > 0 && entries[0]["pool"] == "second" && entries[0]["attempts"] == 1.0 && entries[0]["outcome"] == "served"
	})
}

// subscriber keeps the events that it is told.
type subscriber struct{}

var events struct {
	sync.Mutex
	seen []string
}

func init() { caddy.RegisterModule(subscriber{}) }

func (subscriber) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.keycycler_test", New: func() caddy.Module { return new(subscriber) }}
}

func (subscriber) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

func (subscriber) Handle(_ context.Context, e caddy.Event) error {
	text, err := json.Marshal(e.Data)
	events.Lock()
	defer events.Unlock()
	events.seen = append(events.seen, e.Name()+" "+string(text))
	return err
}

var _ caddyevents.Handler = subscriber{}

func TestEvents(t *testing.T) {
	upstream := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	g := newGateway(t)
	g.global = "events {\n on keycycler_cooling keycycler_test\n on keycycler_exhausted keycycler_test\n}"
	events.Lock()
	events.seen = nil
	events.Unlock()
	g.start(fmt.Sprintf("keycycler watched {\n keys %s\n cooldown {\n jitter 0\n }\n}\nreverse_proxy %s", demoKeys(2), upstream.URL))
	upstream.LimitFirst(2)
	for range 3 {
		live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
	}
	events.Lock()
	defer events.Unlock()
	if len(events.seen) != 3 {
		t.Fatalf("events: %q", events.seen)
	}
	for i, want := range []string{
		`keycycler_cooling {"class":"rate_limited","key_id":"` + rotator.IDOf(upstream.Seen()[0].Key).String() + `","key_name":"","pool":"watched","scope":"key","seconds":40,"source":"retry-after","status":429}`,
		`keycycler_cooling {"class":"rate_limited","key_id":"` + rotator.IDOf(upstream.Seen()[1].Key).String() + `","key_name":"","pool":"watched","scope":"key","seconds":40,"source":"retry-after","status":429}`,
		`keycycler_exhausted {"class":"rate_limited","keys":2,"pool":"watched","seconds":40}`,
	} {
		if events.seen[i] != want {
			t.Errorf("event %d is %s, want %s", i, events.seen[i], want)
		}
	}
}

// What a key is called is seen wherever its id is: in placeholders, during the attempt and
// after it, in events and in spans.
func TestNamesOfKeys(t *testing.T) {
	told := new(spans)
	server := httptest.NewServer(told)
	defer live.CloseServer(t, server)
	for name, value := range map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_BSP_SCHEDULE_DELAY": "20",
	} {
		t.Setenv(name, value)
	}
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("X-Sent")) })
	g := newGateway(t)
	g.global = "events {\n on keycycler_cooling keycycler_test\n}"
	events.Lock()
	events.seen = nil
	events.Unlock()
	const values = "[{http.keycycler.key_name}][{http.keycycler.group}]"
	g.start(fmt.Sprintf(`tracing {
			span gateway
		}
		log_append called {http.keycycler.key_name}
		log_append of {http.keycycler.group}
		header >X-Told "%[1]s"
		keycycler named {
			keys sk-demo-1 {
				name east
				group acme
			}
			keys sk-demo-2 {
				tier 2
			}
		}
		reverse_proxy %[2]s {
			header_up X-Sent "%[1]s"
		}`, values, upstream.URL))
	res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
	if string(body) != "[east][acme]" || res.Header.Get("X-Told") != "[east][acme]" {
		t.Errorf("the attempt sees %s, and afterwards %s is seen", body, res.Header.Get("X-Told"))
	}
	upstream.LimitFirst(1)
	upstream.Prove()
	if _, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, "")); string(body) != "[][]" {
		t.Errorf("the attempt with a key without a name sees %s", body)
	}
	live.Eventually(t, "access logs tell", func() bool {
		entries := g.logged("handled request")
		return len(entries) == 2 && fmt.Sprint(entries[0]["called"], entries[0]["of"], entries[1]["called"], entries[1]["of"]) == "eastacme"
	})
	if cooling := g.logged("key is cooling"); len(cooling) != 1 || cooling[0]["key_name"] != "east" {
		t.Errorf("logged %v", cooling)
	}
	live.Eventually(t, "the attempts are told", func() bool { return len(told.attempts()) >= 1 })
	if got := told.attempts()[0]; !strings.Contains(got, "keycycler.key_name=east") {
		t.Errorf("an attempt has %s", got)
	}
	events.Lock()
	defer events.Unlock()
	if len(events.seen) != 1 || !strings.Contains(events.seen[0], `"key_name":"east","pool":"named"`) {
		t.Errorf("events: %q", events.seen)
	}
}

// spans is a collector that speaks OTLP.
type spans struct {
	mu  sync.Mutex
	all []*trace.Span
}

func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, _ = io.ReadAll(z)
		}
	}
	var told collector.ExportTraceServiceRequest
	if proto.Unmarshal(body, &told) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range told.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			s.all = append(s.all, scope.GetSpans()...)
		}
	}
}

// attempts returns the attempts' events of the first span that has any, as text.
func (s *spans) attempts() (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.all {
		for _, event := range span.GetEvents() {
			if event.GetName() != "keycycler.attempt" {
				continue
			}
			var text strings.Builder
			for _, a := range event.GetAttributes() {
				fmt.Fprintf(&text, "%s=%s%d ", a.GetKey(), a.GetValue().GetStringValue(), a.GetValue().GetIntValue())
			}
			texts = append(texts, text.String())
		}
	}
	return texts
}

// Where Caddy's tracing is on, the attempts are events of the request's span.
func TestSpanEvents(t *testing.T) {
	told := new(spans)
	server := httptest.NewServer(told)
	defer live.CloseServer(t, server)
	for name, value := range map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_BSP_SCHEDULE_DELAY": "20",
	} {
		t.Setenv(name, value)
	}
	upstream := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	g := startGateway(t, fmt.Sprintf("tracing {\n span gateway\n}\nkeycycler traced {\n keys %s\n}\nreverse_proxy %s", demoKeys(3), upstream.URL))
	upstream.LimitFirst(1)
	r := live.Request(t, "POST", g.plain, `{"model":"demo"}`)
	r.Header.Set("Content-Type", "application/json")
	live.Do(t, http.DefaultClient, r)
	live.Eventually(t, "the attempts are told", func() bool { return len(told.attempts()) == 2 })
	seen := upstream.Seen()
	for i, want := range [][]string{
		{"keycycler.pool=traced", "keycycler.attempt=1", "keycycler.outcome=rate_limited", "gen_ai.provider.name=openai", "http.response.status_code=429", "error.type=rate_limited"},
		{"keycycler.pool=traced", "keycycler.attempt=2", "keycycler.outcome=served", "gen_ai.provider.name=openai", "gen_ai.request.model=demo", "http.response.status_code=200"},
	} {
		for _, attribute := range append(want, "keycycler.key_id="+rotator.IDOf(seen[i].Key).String()) {
			if got := told.attempts()[i]; !strings.Contains(got, attribute) {
				t.Errorf("attempt %d has %s, want %s", i+1, got, attribute)
			}
		}
	}
}

// When a whole pool collapses, the log says so without a line for each key, and the
// upstream is not asked with each of them.
func TestACollapseIsLoggedInFewLines(t *testing.T) {
	const keys, requests = 2000, 5
	upstream := live.StartProvider(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	upstream.LimitFirst(1 << 30)
	g := startGateway(t, fmt.Sprintf("keycycler collapsing {\n keys %s\n max_attempts 1000\n}\nreverse_proxy %s", demoKeys(keys), upstream.URL))
	for range requests {
		res, body := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
		if res.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(body), "rate_limit_exceeded") {
			t.Errorf("the client got %s %s", res.Status, body)
		}
	}
	const seconds = 20 // generous: how long this may have taken
	for message, most := range map[string]int{
		"key is cooling": 10 * seconds,
		"every key refuses every request: the upstream is asked now and then": 1,
	} {
		if n := len(g.logged(message)); n < 1 || n > most {
			t.Errorf("%d lines say %q", n, message)
		}
	}
	if n := len(upstream.Seen()); n > 100+requests {
		t.Errorf("%d calls", n)
	}
	upstream.LimitFirst(0)
	live.Eventually(t, "a request finds out that it is over", func() bool {
		res, _ := live.Do(t, http.DefaultClient, live.Request(t, "GET", g.plain, ""))
		return res.StatusCode == http.StatusOK
	})
	if len(g.logged("requests are served again")) != 1 {
		t.Error("nothing says that requests are served again")
	}
}

// While a config is loaded, operators see and change the pools of the one that runs, and go on
// so when the new one fails.
func TestOperatorsSeeTheConfigThatRuns(t *testing.T) {
	const key = "sk-runs-1"
	names := func() string {
		var all []string
		for _, p := range adminapi.AskFor[[]observe.PoolStatus](t, "GET", "/keycycler/pools", "") {
			all = append(all, p.Pool)
		}
		return strings.Join(all, " ")
	}
	pool := func(name string) string { return "keycycler " + name + " {\n keys " + key + "\n}\n" }
	g := startGateway(t, "route {\n"+pool("runs-e2e")+pool("too-e2e")+"respond fine\n}")
	const config = "route {\n%slookout\n%srespond fine\n}"
	asked := 0
	lookout.look = func() error {
		asked++
		if got := names(); got != "runs-e2e too-e2e" {
			t.Errorf("while another config is loaded there are the pools %s", got)
		}
		if status, text := adminapi.Ask("POST", "/keycycler/pools/too-e2e/keys/"+testkit.IDOf(key)+"/disable", ""); status != http.StatusOK {
			t.Errorf("and a key of one is not disabled: %d %s", status, text)
		}
		return errors.New("this config fails")
	}
	t.Cleanup(func() { lookout.look = nil })
	if err := g.tryLoad(fmt.Sprintf(config, pool("next-e2e"), pool("last-e2e"))); err == nil || asked == 0 {
		t.Fatalf("it was loaded: %v, and looked at %d times", err, asked)
	}
	if got := names(); got != "runs-e2e too-e2e" {
		t.Errorf("when it has failed there are the pools %s", got)
	}
	lookout.look = func() error { return nil }
	g.load(fmt.Sprintf(config, pool("next-e2e"), pool("last-e2e")))
	if got := names(); got != "last-e2e next-e2e" {
		t.Errorf("when it runs there are the pools %s", got)
	}
}

// lookout is a handler that looks around while its config is loaded.
var lookout struct {
	look func() error
}

type lookoutHandler struct{}

func init() {
	caddy.RegisterModule(lookoutHandler{})
	httpcaddyfile.RegisterHandlerDirective("lookout", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return lookoutHandler{}, nil
	})
}

func (lookoutHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.lookout", New: func() caddy.Module { return new(lookoutHandler) }}
}

func (lookoutHandler) Provision(caddy.Context) error { return lookout.look() }

func (lookoutHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}
