package sdk

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hop stands between a client and the gateway, counts, and keeps what passes.
type hop struct {
	url      string // an API base URL, like the gateway's
	requests atomic.Int64

	mu        sync.Mutex
	exchanges []exchange
}

// exchange is what a hop saw of a request and its answer.
type exchange struct {
	asked    time.Time // when the request had come
	answered time.Time // just before the client got the answer's header
	status   int
	header   http.Header // the answer's
	client   http.Header // the request's
}

// retryAfter returns how long the client was told to wait: whole seconds, at least
// one.
func (e exchange) retryAfter(t *testing.T) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(e.header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		t.Errorf("Retry-After: %q", e.header.Get("Retry-After"))
	}
	return time.Duration(seconds) * time.Second
}

// seen returns the exchanges so far.
func (h *hop) seen() []exchange {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.exchanges)
}

// startHop starts a hop that speaks what the gateway at base speaks: HTTP/1.1, or
// TLS with HTTP/2.
func startHop(t *testing.T, base string) *hop {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	transport := newTransport(t)
	h := new(hop)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		// An answer may come before the last of the request has been read. The server
		// closes the request's body then, unless it is told not to, and with it goes
		// the connection on which the answer is under way.
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		one := exchange{asked: time.Now(), client: r.Header.Clone()}
		forward := &httputil.ReverseProxy{
			Transport: transport,
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			ModifyResponse: func(answer *http.Response) error {
				one.answered, one.status, one.header = time.Now(), answer.StatusCode, answer.Header.Clone()
				h.mu.Lock()
				defer h.mu.Unlock()
				h.exchanges = append(h.exchanges, one)
				return nil
			},
		}
		forward.ServeHTTP(w, r)
	}))
	if target.Scheme == "https" {
		pair, err := tls.LoadX509KeyPair(edge.certFile, edge.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	h.url = server.URL + "/v1"
	return h
}
