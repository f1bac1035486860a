package upstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() { caddy.RegisterModule(Transport{}) }

// Transport is Caddy's own `http` transport with all its options, which brings each attempt
// of `keycycler` to where its key works: the scheme, the server name of TLS and the `Host`
// follow the key's `upstream`, and the outbound proxy its `proxy`. A `Host` that the config
// sets (`header_up Host`) stays. The options of TLS hold for all upstreams that are
// `https`, whether or not `tls` is written; where the attempt's key has no upstream, or
// `reverse_proxy` has addresses of its own, `tls` says what it says in the `http` transport.
//
// A small body, which is in memory, goes out in one write with the header. Over HTTP/2, a
// request that the upstream has not begun to process (GOAWAY, REFUSED_STREAM) is sent again.
type Transport struct {
	reverseproxy.HTTPTransport

	proxied *proxied
}

// CaddyModule returns the module's ID and how it is made.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.keycycler",
		New: func() caddy.Module { return new(Transport) },
	}
}

// Provision makes the transport ready.
func (t *Transport) Provision(ctx caddy.Context) error {
	if err := t.HTTPTransport.Provision(ctx); err != nil {
		return err
	}
	t.proxied = &proxied{base: t.Transport, http2: slices.Contains(t.Versions, "2") || slices.Contains(t.Versions, "h2c")}
	return nil
}

// UnmarshalCaddyfile parses `transport keycycler`, whose block is that of `transport http`.
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	if d.NextArg() {
		return d.Err("transport keycycler takes a block, as transport http does, and no arguments")
	}
	d.Reset()
	if err := t.HTTPTransport.UnmarshalCaddyfile(d); err != nil {
		return fmt.Errorf("transport keycycler: %w", err)
	}
	return nil
}

// RoundTrip sends the request to where its attempt's key works.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	a := Of(r.Context())
	if a == nil {
		return t.HTTPTransport.RoundTrip(r)
	}
	site := t.siteOf(r, a)
	hand(r, t.inOneWrite())
	response, err := t.by(r.Context(), site.Proxy).RoundTrip(r)
	if err != nil {
		return nil, cause(r.Context(), err)
	}
	return response, nil
}

// siteOf points the request to its site, and returns that: another one where the config
// of reverse_proxy names an address that is not the site's.
func (t *Transport) siteOf(r *http.Request, a *Attempt) Site {
	if a.Site.Scheme == "" {
		t.SetScheme(r)
		return a.Site
	}
	dial, _ := reverseproxy.GetDialInfo(r.Context())
	if dial.Address != a.Site.Dial {
		t.SetScheme(r)
		return Site{Proxy: a.Site.Proxy}
	}
	r.URL.Scheme = a.Site.Scheme
	if r.Host == clientHost(r.Context()) || r.Host == dial.Address { // the latter is what `tls` makes of it
		r.Host = a.Site.Host
	}
	return a.Site
}

// clientHost returns the Host as the client's request has it.
func clientHost(ctx context.Context) string {
	if host, ok := ctx.Value(HostKey).(*string); ok {
		return *host
	}
	return ""
}

// inOneWrite returns how long a body may be to go out in one write with the header.
func (t *Transport) inOneWrite() int {
	if t.WriteBufferSize > 0 {
		return t.WriteBufferSize
	}
	return writeBuffer
}

// writeBuffer is net/http's, in bytes.
const writeBuffer = 4 << 10

// by returns what goes by this proxy, and notes that the attempt of the context does.
func (t *Transport) by(ctx context.Context, p Proxy) http.RoundTripper {
	if p == "" {
		return &t.HTTPTransport
	}
	if c, ok := ctx.Value(ProxiedKey).(Proxied); ok {
		c.GoesByProxy()
	}
	return t.proxied.by(p)
}

// Cleanup closes idle connections.
func (t *Transport) Cleanup() error {
	if t.proxied != nil {
		t.proxied.closeIdle()
	}
	return t.HTTPTransport.Cleanup()
}

// Interface guards: whatever reverse_proxy asks of Caddy's own it finds here.
var (
	_ caddy.Provisioner                                = (*Transport)(nil)
	_ caddy.CleanerUpper                               = (*Transport)(nil)
	_ caddyfile.Unmarshaler                            = (*Transport)(nil)
	_ http.RoundTripper                                = (*Transport)(nil)
	_ reverseproxy.TLSTransport                        = (*Transport)(nil)
	_ reverseproxy.H2CTransport                        = (*Transport)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*Transport)(nil)
	_ reverseproxy.ProxyProtocolTransport              = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport           = (*Transport)(nil)
)
