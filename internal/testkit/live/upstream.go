package live

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Attempt is one call as the upstream saw it.
type Attempt struct {
	Key    string
	Body   []byte
	Header http.Header
	Length int64
}

// Provider is an upstream that limits the keys it is told to.
type Provider struct {
	*httptest.Server
	Serve func(w http.ResponseWriter, r *http.Request) // answers the keys that are not limited
	Wait  string                                       // Retry-After of the others, in seconds. Default: 40

	mu      sync.Mutex
	calls   []Attempt
	limited map[string]bool // keys
	first   int             // so many calls are limited, whatever their key
	proves  bool            // the answer does so that the key is at its limit
}

// RateLimitBody is what a limited key gets.
const RateLimitBody = `{"error":{"message":"Rate limit reached. Please try again in 40s.","type":"requests","param":null,"code":"rate_limit_exceeded"}}`

// StartProvider starts one, which ends with the test.
func StartProvider(t testing.TB, serve http.HandlerFunc) *Provider {
	t.Helper()
	p := &Provider{Serve: serve, limited: make(map[string]bool)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() { CloseServer(t, p.Server) })
	return p
}

func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	a := Attempt{Key: key, Header: r.Header.Clone(), Length: r.ContentLength}
	p.mu.Lock()
	limited, proves := p.limited[key], p.proves
	if p.first > 0 {
		p.first--
		limited = true
	}
	p.mu.Unlock()
	if limited {
		a.Body, _ = io.ReadAll(r.Body)
		p.note(a)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Retry-After", cmp.Or(p.Wait, "40"))
		h.Set("X-Rejected", "yes")
		if proves {
			h.Set("X-Ratelimit-Limit-Requests", "60")
			h.Set("X-Ratelimit-Remaining-Requests", "0")
			h.Set("X-Ratelimit-Reset-Requests", "40s")
		}
		h.Set("Trailer", "X-Rejected-Trailer")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, RateLimitBody)
		h.Set("X-Rejected-Trailer", "yes")
		return
	}
	var copied bytes.Buffer
	r.Body = io.NopCloser(io.TeeReader(r.Body, &copied))
	p.Serve(w, r)
	a.Body = copied.Bytes()
	p.note(a)
}

func (p *Provider) note(a Attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, a)
}

// Limit makes the key meet a rate limit from now on.
func (p *Provider) Limit(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limited[key] = true
}

// Prove makes the answers to limited keys prove that nothing remains: such a key cools,
// whatever becomes of the request.
func (p *Provider) Prove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proves = true
}

// LimitFirst makes the next n calls meet a rate limit.
func (p *Provider) LimitFirst(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first, p.calls = n, nil
}

// Seen returns the calls so far.
func (p *Provider) Seen() []Attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Attempt(nil), p.calls...)
}

// LimitedOnce starts an upstream whose first call meets a limit: whoever comes then
// waits.
func LimitedOnce(t *testing.T) *Provider {
	t.Helper()
	upstream := StartProvider(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	upstream.LimitFirst(1)
	upstream.Prove()
	return upstream
}
