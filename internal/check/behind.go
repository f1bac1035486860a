package check

import (
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// way is where requests go that have come to a handler.
type way struct {
	server *caddyhttp.Server
	next   caddyhttp.Handler
}

// wayOf returns the way of requests from the handler on, in the config that runs. It is nil
// if the handler is not in that, or stands within a handler of others.
func wayOf(self caddyhttp.MiddlewareHandler) *way {
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		return nil
	}
	servers := app.(*caddyhttp.App).Servers
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		for _, routes := range routesOf(servers[name]) {
			if next := behind(routes, self, caddyhttp.HandlerFunc(unhandled)); next != nil {
				return &way{servers[name], next}
			}
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
	sub, ok := h.(*caddyhttp.Subroute)
	if !ok {
		return nil
	}
	found := behind(sub.Routes, self, rest)
	if found == nil && sub.Errors != nil {
		found = behind(sub.Errors.Routes, self, rest)
	}
	return found
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
