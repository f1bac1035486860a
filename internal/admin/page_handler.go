package admin

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/directive"
)

func init() {
	caddy.RegisterModule(new(StatusPage))
	httpcaddyfile.RegisterHandlerDirective("keycycler_status", parseStatusPage)
	httpcaddyfile.RegisterDirectiveOrder("keycycler_status", httpcaddyfile.Before, "reverse_proxy")
}

// StatusPage serves keycycler's status page from a site, for those who have Caddy's
// admin endpoint off, or who want to open the page in a browser from elsewhere. The
// page can disable every key: so it answers only who has been authenticated, by
// `basic_auth` or another authentication handler before it, by `forward_auth`, or by a
// client certificate that the site's TLS has verified. Anybody else gets 403, with the
// sentence that says so; the log tells of the first. A client token of keycycler's opens
// nothing here. At paths that end in `/ready` it tells anybody whether this node is ready,
// and nothing else: `{"ready":true}` with 200, or false with 503.
type StatusPage struct {
	logger *zap.Logger
	told   sync.Once // of somebody who was turned away
}

// CaddyModule returns the Caddy module information.
func (*StatusPage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.keycycler_status",
		New: func() caddy.Module { return new(StatusPage) },
	}
}

// Provision implements caddy.Provisioner.
func (s *StatusPage) Provision(ctx caddy.Context) error {
	s.logger = ctx.Logger()
	return nil
}

// unauthenticated says what to do.
const unauthenticated = "keycycler_status answers authenticated users only: put basic_auth, forward_auth or client certificates before it"

// ServeHTTP serves the page at whatever path it was asked for.
func (s *StatusPage) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if asksReady(r) {
		return tellReady(w)
	}
	if !authenticated(r) {
		s.told.Do(s.tell)
		if handlesError(r) { // what went wrong first is what the client hears
			return caddyhttp.Error(http.StatusForbidden, errors.New(unauthenticated))
		}
		http.Error(w, unauthenticated+".", http.StatusForbidden)
		return nil
	}
	// Links on the page lead to where the browser is, whatever was stripped of it.
	path := r.URL.Path
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		path = original.URL.Path
	}
	path = "/" + strings.TrimLeft(path, `/\`) // what begins with two slashes names a host
	asked := *r
	u := *r.URL
	u.Path, asked.URL = path, &u
	page(path).ServeHTTP(w, &asked)
	return nil
}

func (s *StatusPage) tell() {
	if s.logger != nil {
		s.logger.Warn(unauthenticated)
	}
}

// authenticated tells whether an authentication handler, forward_auth or TLS knows who
// asks. A client token of keycycler's does not count: it is for using the pool.
func authenticated(r *http.Request) bool {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return false
	}
	return client.UserOf(repl) != "" || forwarded(r, repl)
}

// forwarded tells whether forward_auth, which is a reverse_proxy, has asked somebody who
// said yes, and let the request go on. After an error the answer may be another one's.
func forwarded(r *http.Request, repl *caddy.Replacer) bool {
	if handlesError(r) {
		return false
	}
	status, _ := repl.Get("http.reverse_proxy.status_code")
	code, ok := status.(int)
	return ok && code >= 200 && code < 300
}

// handlesError tells whether the request has come to a handle_errors.
func handlesError(r *http.Request) bool { return r.Context().Value(caddyhttp.ErrorCtxKey) != nil }

func parseStatusPage(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(StatusPage)
	return s, s.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	keycycler_status [<matcher>]
func (*StatusPage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.Errf("keycycler_status: surplus argument")
	}
	for d.NextBlock(0) {
		return d.Errf("keycycler_status: unknown option %s: it has none", directive.ShownName(d.Val()))
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*StatusPage)(nil)
	_ caddyhttp.MiddlewareHandler = (*StatusPage)(nil)
	_ caddyfile.Unmarshaler       = (*StatusPage)(nil)
)
