package misuse

import (
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Unreached tells whether the handler stands among the routes, and no request can come to
// it: a handler before it answers them all. The routes must be provisioned. What cannot be
// told from the routes alone, such as what a handler of somebody else's answers, counts as
// reached.
func Unreached(routes caddyhttp.RouteList, h caddyhttp.MiddlewareHandler) bool {
	w := walk{to: h}
	w.routes(routes, false)
	return w.found && !w.reached
}

// walk goes through routes as requests do.
type walk struct {
	to             caddyhttp.MiddlewareHandler
	found, reached bool
}

// routes goes on with requests of which ended says whether none is left. It returns whether
// none is left behind the routes.
func (w *walk) routes(all caddyhttp.RouteList, ended bool) bool {
	passed := make(map[string]bool) // groups in which some requests take a route and go on
	for _, r := range all {
		none := w.handlers(r.Handlers, ended) || r.Terminal
		every := len(r.MatcherSets) == 0 && !passed[r.Group]
		ended = ended || none && every
		passed[r.Group] = r.Group != "" && (passed[r.Group] || !none)
	}
	return ended
}

// handlers goes on likewise through the handlers of one route.
func (w *walk) handlers(all []caddyhttp.MiddlewareHandler, ended bool) bool {
	for _, h := range all {
		if h == w.to {
			w.found, w.reached = true, w.reached || !ended
		}
		ended = w.handler(h, ended) || ended
	}
	return ended
}

// handler tells whether no request goes on behind the handler.
func (w *walk) handler(h caddyhttp.MiddlewareHandler, ended bool) bool {
	switch h := h.(type) {
	case *caddyhttp.Subroute:
		return w.routes(h.Routes, ended) && h.Errors == nil
	case *caddyhttp.StaticResponse, *caddyhttp.StaticError:
		return true
	case *reverseproxy.Handler:
		return len(h.HandleResponse) == 0 // which may let requests go on, as forward_auth does
	}
	return false
}
