package check

import (
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// way is where requests go that have come to a handler.
type way struct {
	server *caddyhttp.Server
	next   caddyhttp.Handler
}

// wayOf returns the way of requests from the handler on, in the config that runs. It is nil
// if the handler is not in that, or stands within a handler of another module.
func wayOf(self caddyhttp.MiddlewareHandler) *way {
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		return nil
	}
	servers := app.(*caddyhttp.App).Servers
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		if next := wayIn(servers[name], self); next != nil {
			return &way{servers[name], next}
		}
	}
	return nil
}

// Finds tells whether it can be told from the server's routes where requests go from the
// handler on: not if that stands within a handler of another module. The routes must be
// provisioned.
func Finds(s *caddyhttp.Server, self caddyhttp.MiddlewareHandler) bool { return wayIn(s, self) != nil }

// wayIn returns the handlers behind the handler, nil if the server's routes do not have it.
func wayIn(s *caddyhttp.Server, self caddyhttp.MiddlewareHandler) caddyhttp.Handler {
	for _, routes := range routesOf(s) {
		if next := behind(routes, self, caddyhttp.HandlerFunc(unhandled)); next != nil {
			return next
		}
	}
	return nil
}

// routesOf returns all lists of routes that requests of the server may come to first.
func routesOf(s *caddyhttp.Server) []caddyhttp.RouteList {
	all := []caddyhttp.RouteList{s.Routes}
	if s.Errors != nil {
		all = append(all, s.Errors.Routes)
	}
	for _, name := range slices.Sorted(maps.Keys(s.NamedRoutes)) {
		all = append(all, caddyhttp.RouteList{*s.NamedRoutes[name]})
	}
	return all
}

// unhandled is where requests end that nobody answers. Caddy's own does the same.
func unhandled(_ http.ResponseWriter, r *http.Request) error {
	caddyhttp.SetVar(r.Context(), "unhandled", true)
	return nil
}

// behind returns the handlers behind the one that is looked for, nil if it is not there. end
// is what follows the routes.
func behind(routes caddyhttp.RouteList, self caddyhttp.MiddlewareHandler, end caddyhttp.Handler) caddyhttp.Handler {
	for i, route := range routes {
		rest := end
		if !route.Terminal {
			rest = routes[i+1:].Compile(end)
		}
		if found := within(route.Handlers, self, rest); found != nil {
			return found
		}
	}
	return nil
}

// within is behind in the handlers of a route, after which comes rest.
func within(handlers []caddyhttp.MiddlewareHandler, self caddyhttp.MiddlewareHandler, rest caddyhttp.Handler) caddyhttp.Handler {
	for _, h := range slices.Backward(handlers) {
		if h == self {
			return rest
		}
		if found := inside(h, self, rest); found != nil {
			return found
		}
		rest = link{h, rest}
	}
	return nil
}

// inside is behind in the routes within a handler.
func inside(h, self caddyhttp.MiddlewareHandler, rest caddyhttp.Handler) caddyhttp.Handler {
	switch h := h.(type) {
	case *caddyhttp.Subroute:
		found := behind(h.Routes, self, rest)
		if found == nil && h.Errors != nil {
			found = behind(h.Errors.Routes, self, rest)
		}
		return found
	case *reverseproxy.Handler:
		return afterAnswers(h.HandleResponse, self, rest)
	case *intercept.Intercept:
		return afterAnswers(h.HandleResponse, self, caddyhttp.HandlerFunc(unhandled))
	}
	return nil
}

// afterAnswers is behind in the routes of those answers that a handler has others handle.
func afterAnswers(all []caddyhttp.ResponseHandler, self caddyhttp.MiddlewareHandler, rest caddyhttp.Handler) caddyhttp.Handler {
	for _, h := range all {
		if found := behind(h.Routes, self, rest); found != nil {
			return found
		}
	}
	return nil
}

// link is a handler with what follows it.
type link struct {
	handler caddyhttp.MiddlewareHandler
	next    caddyhttp.Handler
}

// ServeHTTP implements caddyhttp.Handler.
func (l link) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	return l.handler.ServeHTTP(w, r, l.next)
}
