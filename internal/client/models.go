package client

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/quota"
)

// Strays tells whether the request's head may be for a model that the client may not ask for, and
// for which; "" where it does not say. terms may be nil: all models.
func Strays(r *http.Request, terms *quota.Terms) (model string, strays bool) {
	if model, strays = strayInPath(r.URL.Path, terms); strays {
		return model, true
	}
	if isCall(r.URL.Path) {
		return "", true // its session's model is in a form's field, which is not read
	}
	model, strays, named := strayParameters(r.URL, terms)
	if strays || named || !isWebsocket(r) {
		return model, strays
	}
	from, to := peek.PlaceInPath(r.URL.Path)
	return "", from == to // it is named in what is said, which is not read
}

// strayInPath looks at the path, also as one that is cleaned up and in lower case: there are
// upstreams that take it so.
func strayInPath(p string, terms *quota.Terms) (name string, strays bool) {
	clean := path.Clean(p)
	lower := strings.ToLower(clean)
	for _, as := range [...]struct{ path, seen string }{{p, p}, {clean, clean}, {clean, lower}} {
		from, to := peek.PlaceInPath(as.seen)
		if to > len(as.path) { // letters have other lengths
			return "", true
		}
		if name = as.path[from:to]; from < to && !serves(terms, name) {
			return name, true
		}
	}
	return "", false
}

// isCall tells of the path at which OpenAI's realtime calls begin.
func isCall(p string) bool {
	return strings.HasSuffix(strings.ToLower(path.Clean(p)), "/realtime/calls")
}

// strayParameters looks at each parameter of a path that ends in /realtime, also Azure's
// deployment. named tells that there is one.
func strayParameters(u *url.URL, terms *quota.Terms) (name string, strays, named bool) {
	if u.RawQuery == "" || !strings.HasSuffix(strings.ToLower(path.Clean(u.Path)), "/realtime") {
		return "", false, false
	}
	for _, separators := range [...]string{"&", "&;"} { // some have both
		between := func(r rune) bool { return strings.ContainsRune(separators, r) }
		for part := range strings.FieldsFuncSeq(u.RawQuery, between) {
			value, is := modelParameter(part)
			if is && !serves(terms, value) {
				return value, true, true
			}
			named = named || is
		}
	}
	return "", false, named
}

// modelParameter returns the value of a query's part that names a model; "" where it cannot be
// read.
func modelParameter(part string) (value string, is bool) {
	name, value, _ := strings.Cut(part, "=")
	if name, _ = url.QueryUnescape(name); !strings.EqualFold(name, "model") && !strings.EqualFold(name, "deployment") {
		return "", false
	}
	value, _ = url.QueryUnescape(value)
	return value, true
}

// serves tells whether that is the name of a model that the client may ask for.
func serves(terms *quota.Terms, name string) bool {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	return name != "" && len(name) <= catalog.MaxName && utf8.ValidString(name) && !strings.ContainsFunc(name, odd) && terms.Serves(name)
}

// isWebsocket tells whether the request asks for a websocket, as Caddy sees it (RFC 6455, RFC 8441
// and RFC 9220).
func isWebsocket(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return r.ProtoMajor >= 2
	}
	return strings.Contains(strings.ToLower(strings.Join(r.Header["Upgrade"], ",")), "websocket")
}
