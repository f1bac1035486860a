package upstream

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(Dynamic{}) }

// Dynamic sends each attempt of `keycycler` to where its key works: the `upstream` of the
// key's block, or of the pool. It stands in `reverse_proxy` in place of addresses. Health
// checks that `reverse_proxy` makes by itself (`fail_duration`, `unhealthy_status`) count
// each address for its own.
//
// A request that has not come through `keycycler`, or whose key has no upstream, is
// answered with 503, and so is one that the transport cannot bring there as the upstream
// wants it: `https` and an outbound proxy need `transport keycycler`, or `https` alone a
// transport with `tls`. A line in the log says what is missing.
type Dynamic struct {
	logger *zap.Logger
	proxy  *reverseproxy.Handler // whose source this is; nil: unknown
	told   *complaints
}

// CaddyModule returns the module's ID and how it is made.
func (Dynamic) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.keycycler",
		New: func() caddy.Module { return new(Dynamic) },
	}
}

// Provision finds out whose source this is.
func (d *Dynamic) Provision(ctx caddy.Context) error {
	d.logger, d.told = ctx.Logger(), new(complaints)
	for _, module := range ctx.Modules() {
		if h, ok := module.(*reverseproxy.Handler); ok {
			d.proxy = h
		}
	}
	return nil
}

// UnmarshalCaddyfile parses `dynamic keycycler`, which has no options.
func (*Dynamic) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	if d.NextArg() || d.NextBlock(0) {
		return d.Err("dynamic keycycler takes no options: 'upstream <url>' stands in the block of the keys, or in keycycler's own")
	}
	return nil
}

// one is an upstream, and the list of it, in one allocation.
type one struct {
	list     [1]*reverseproxy.Upstream
	upstream reverseproxy.Upstream
}

// GetUpstreams returns where the request's key works: a new upstream at each call, since
// reverse_proxy writes into it.
func (d *Dynamic) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	a := Of(r.Context())
	switch {
	case a == nil:
		d.told.tell(d.logger, "dynamic keycycler: this request did not come through keycycler: put 'keycycler' before 'reverse_proxy'")
	case a.Site.Scheme == "":
		d.told.tell(d.logger, placed(r, "key {http.keycycler.key_id} of pool {http.keycycler.pool} has no upstream: give its block 'upstream <url>', or the pool"))
	default:
		if lack := d.lacks(a.Site); lack != "" {
			d.told.tell(d.logger, placed(r, "the upstream of key {http.keycycler.key_id} of pool {http.keycycler.pool} "+lack))
			break
		}
		if twice := a.Site.twice(r.URL.Path); twice != "" && d.told.due(time.Now(), twice) {
			d.logger.Warn(placed(r, "requests of pool {http.keycycler.pool} go to a path with "+twice+" in it twice: clients write it, too: take it out of 'upstream <url>'"))
		}
		o := new(one)
		o.upstream.Dial, o.list[0] = a.Site.Dial, &o.upstream
		return o.list[:], nil
	}
	return nil, nil // an error would be logged as if other upstreams were used
}

// lacks tells what the transport lacks for the site, "" for nothing. A key never goes out
// in plain text where TLS is wanted, nor past its proxy.
func (d *Dynamic) lacks(s Site) string {
	if d.proxy == nil {
		return ""
	}
	switch t := d.proxy.Transport.(type) {
	case *Transport:
		return ""
	case *reverseproxy.HTTPTransport:
		return lacking(s, t.TLS != nil && !slices.Contains(t.TLS.ExceptPorts, s.port()))
	case reverseproxy.TLSTransport:
		return lacking(s, t.TLSEnabled())
	}
	return "" // unknown: it may know by itself
}

func lacking(s Site, secure bool) string {
	switch {
	case s.Proxy != "":
		return "has a proxy: add 'transport keycycler'"
	case s.Scheme == "https" && !secure:
		return "is https: add 'transport keycycler' (or 'tls' in its transport)"
	case s.Scheme == "http" && secure:
		return "is http, and the transport has TLS: add 'transport keycycler' (or take 'tls' out of its transport)"
	}
	return ""
}

// placed returns the text with the attempt's placeholders in place.
func placed(r *http.Request, text string) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return text
	}
	return repl.ReplaceAll(text, "")
}

// Format writes which module this is, whatever the verb.
func (d *Dynamic) Format(f fmt.State, _ rune) { fmt.Fprint(f, "dynamic keycycler") }

// Interface guards
var (
	_ caddy.Provisioner           = (*Dynamic)(nil)
	_ caddyfile.Unmarshaler       = (*Dynamic)(nil)
	_ reverseproxy.UpstreamSource = (*Dynamic)(nil)
)
