package keycycler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/rotator"
)

// demoKeys returns n keys that are obviously none.
func demoKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("sk-demo-%d", i+1)
	}
	return keys
}

// provision returns a handler with n demo keys, cleaned up when the test ends.
func provision(t testing.TB, n int, configure func(*Handler)) *Handler {
	t.Helper()
	h := &Handler{Keys: demoKeys(n)}
	if configure != nil {
		configure(h)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	if err := h.Provision(ctx); err != nil {
		cancel()
		t.Fatalf("provision: %v", err)
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		cancel() // cleans up the state module
	})
	if err := h.Validate(); err != nil {
		t.Fatalf("validate: %v", err)
	}
	return h
}

var pools atomic.Int64

// freshPool returns a name that no pool had before: what is kept by the name of a pool
// outlives its config, and the test, which may run again in this process.
func freshPool(name string) string { return fmt.Sprint(name, "-", pools.Add(1)) }

// call is what an upstream saw of one attempt.
type call struct {
	key    string // what came as bearer token
	body   string
	header http.Header
	query  string
}

// fakeUpstream is a next handler that answers by a script: by the number of the
// attempt, from 0 on.
type fakeUpstream struct {
	mu     sync.Mutex
	calls  []call
	answer func(n int, w http.ResponseWriter, r *http.Request) error
}

func (u *fakeUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	c := call{
		key:    strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
		header: r.Header.Clone(),
		query:  r.URL.RawQuery,
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return caddyhttp.Error(http.StatusBadGateway, err)
		}
		c.body = string(body)
	}
	u.mu.Lock()
	n := len(u.calls)
	u.calls = append(u.calls, c)
	u.mu.Unlock()
	return u.answer(n, w, r)
}

// keys returns the keys of the calls, in order.
func (u *fakeUpstream) keys() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	keys := make([]string, len(u.calls))
	for i, c := range u.calls {
		keys[i] = c.key
	}
	return keys
}

// script returns an upstream whose n-th call is answered by the n-th reply; the
// last one answers all that follow.
func script(replies ...reply) *fakeUpstream {
	return &fakeUpstream{answer: func(n int, w http.ResponseWriter, _ *http.Request) error {
		return replies[min(n, len(replies)-1)].write(w)
	}}
}

// reply is one scripted response.
type reply struct {
	status int
	header map[string]string
	body   string
	err    error // returned by the handler; with status 0, nothing is written
	panics any
}

func (a reply) write(w http.ResponseWriter) error {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
		if _, err := io.WriteString(w, a.body); err != nil && !errors.Is(err, errRejected) {
			return err
		}
	}
	if a.panics != nil {
		panic(a.panics)
	}
	return a.err
}

var (
	limited = reply{status: 429, header: map[string]string{"Retry-After": "40"},
		body: `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`}
	spent = reply{status: 429,
		body: `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`}
	badKey = reply{status: 401,
		body: `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`}
	tooLarge = reply{status: 429,
		body: `{"error":{"message":"Request too large. Limit 30000, Requested 36278","type":"tokens","code":"rate_limit_exceeded"}}`}
	fine = reply{status: 200, header: map[string]string{"Content-Type": "text/plain"}, body: "fine"}
)

// serve sends one request through the handler.
func serve(h *Handler, next caddyhttp.Handler, r *http.Request) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, r, next)
	return w, err
}

func post(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
}

// distinct fails the test when a key stands twice.
func distinct(t *testing.T, keys []string) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(keys))
	if unique := slices.Compact(slices.Clone(sorted)); len(unique) != len(keys) {
		t.Errorf("keys were used twice: %v", keys)
	}
}

func reasonCounts(h *Handler, c rotator.Census) string {
	return fmt.Sprintf("ready %d, soonest %s, cooling %v", c.Ready, c.Soonest, c.Cooling)
}

// ample is a limit of all requests' memory for tests that are about another one.
const ample = 1 << 40

// request returns the request of an attempt that no handler has made.
func (in *injector) request(ctx context.Context, r *http.Request, s rotator.Slot) *http.Request {
	o := in.attempt(ctx, r, s)
	o.context.report = new(report)
	return &o.request
}

// silence turns logging off: its sampling depends on the clock.
func silence(h *Handler) {
	h.logger = zap.NewNop()
	h.announcer.logger, h.announcer.sampled = h.logger, h.logger
}
