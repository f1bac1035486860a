package upstream

import (
	"net/http"
	"net/url"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http2"
)

// proxied are the transports that go by proxies of keys. Each has connections of its own:
// net/http takes up an HTTP/2 connection to a host whichever proxy it goes by. It is safe
// for concurrent use.
type proxied struct {
	base  *http.Transport // what they are like besides
	http2 bool

	mu   sync.RWMutex
	each map[Proxy]*http.Transport
}

// by returns the transport that goes by the proxy.
func (p *proxied) by(proxy Proxy) http.RoundTripper {
	p.mu.RLock()
	t := p.each[proxy]
	p.mu.RUnlock()
	if t != nil {
		return t
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t = p.each[proxy]; t != nil {
		return t
	}
	t, err := p.make(proxy)
	if err != nil {
		return failing{err}
	}
	if p.each == nil {
		p.each = make(map[Proxy]*http.Transport)
	}
	p.each[proxy] = t
	return t
}

func (p *proxied) make(proxy Proxy) (*http.Transport, error) {
	u, err := url.Parse(string(proxy))
	if err != nil {
		return nil, errProxy // which it holds is nobody's business
	}
	t := p.base.Clone()
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		caddyhttp.SetVar(r.Context(), proxyVar, true)
		return u, nil
	}
	if p.http2 { // the clone's goes to the base's connections
		t.TLSNextProto = nil
		if err := http2.ConfigureTransport(t); err != nil { //nolint:staticcheck // as Caddy does with the base
			return nil, err
		}
	}
	return t, nil
}

// proxyVar is the variable by which Caddy's transport knows, when it dials, that this is to
// the proxy. Caddy puts the URL there, which may hold a password.
const proxyVar = "reverse_proxy.proxy"

func (p *proxied) closeIdle() {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, t := range p.each {
		t.CloseIdleConnections()
	}
}

// failing answers each request with an error.
type failing struct{ err error }

// RoundTrip implements http.RoundTripper.
func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }
