package misuse

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// pool stands for keycycler.
type pool struct{ _ int }

func (*pool) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

// always has what it does for all requests, some for some of them.
func always(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
	return caddyhttp.Route{Handlers: handlers}
}

func some(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
	return caddyhttp.Route{Handlers: handlers, MatcherSets: caddyhttp.MatcherSets{{caddyhttp.MatchPath{"/v1/*"}}}}
}

func in(group string, r caddyhttp.Route) caddyhttp.Route {
	r.Group = group
	return r
}

func terminal(r caddyhttp.Route) caddyhttp.Route {
	r.Terminal = true
	return r
}

func sub(routes ...caddyhttp.Route) *caddyhttp.Subroute { return &caddyhttp.Subroute{Routes: routes} }

func TestUnreached(t *testing.T) {
	h, other, proxy := new(pool), new(pool), new(reverseproxy.Handler)
	passes := &reverseproxy.Handler{HandleResponse: []caddyhttp.ResponseHandler{{}}}
	fails := sub(always(proxy))
	fails.Errors = new(caddyhttp.HTTPErrorConfig)
	for _, row := range []struct {
		sentence  string
		routes    caddyhttp.RouteList
		unreached bool
	}{
		{"as it is meant", caddyhttp.RouteList{always(h), always(proxy)}, false},
		{"behind reverse_proxy in a route block", caddyhttp.RouteList{always(sub(always(proxy), always(h)))}, true},
		{"behind it in one route", caddyhttp.RouteList{always(proxy, h)}, true},
		{"behind one for some requests", caddyhttp.RouteList{some(proxy), always(h), always(proxy)}, false},
		{"in a site of its own", caddyhttp.RouteList{terminal(some(sub(always(proxy)))), terminal(some(sub(always(h), always(proxy))))}, false},
		{"in a site of its own, behind its proxy", caddyhttp.RouteList{terminal(some(sub(always(other)))), terminal(some(sub(always(proxy), always(h))))}, true},
		{"beside a handle block that takes all", caddyhttp.RouteList{in("g", always(sub(always(proxy)))), always(h)}, true},
		{"beside handle blocks, of which the last takes the rest", caddyhttp.RouteList{in("g", some(sub(always(proxy)))), in("g", always(sub(always(proxy)))), always(h)}, true},
		{"beside handle blocks, of which one goes on", caddyhttp.RouteList{in("g", some(sub(always(other)))), in("g", always(sub(always(proxy)))), always(h)}, false},
		{"beside a handle block for some", caddyhttp.RouteList{in("g", some(sub(always(proxy)))), always(h), always(proxy)}, false},
		{"behind forward_auth", caddyhttp.RouteList{always(passes), always(h), always(proxy)}, false},
		{"behind respond", caddyhttp.RouteList{always(new(caddyhttp.StaticResponse)), always(h)}, true},
		{"behind error", caddyhttp.RouteList{always(new(caddyhttp.StaticError)), always(h)}, true},
		{"behind a block that handles its errors", caddyhttp.RouteList{always(fails), always(h)}, false},
		{"behind a terminal route", caddyhttp.RouteList{terminal(always(other)), always(h)}, true},
		{"another one is", caddyhttp.RouteList{always(h), always(proxy), always(other)}, false},
		{"at two places, of which one is reached", caddyhttp.RouteList{some(h), always(proxy), always(h)}, false},
		{"nowhere among them", caddyhttp.RouteList{always(proxy)}, false},
	} {
		if got := Unreached(row.routes, h); got != row.unreached {
			t.Errorf("%s: %t", row.sentence, got)
		}
	}
}
