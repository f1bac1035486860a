package upstream

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Attempt is what an attempt's handlers are told by its context. It is immutable:
// attempts that go to one site share theirs.
type Attempt struct {
	Site Site // the zero Site: where the config of reverse_proxy says
}

// key is the type of what contexts hold an attempt by.
type key struct{}

// Key is what the context of an attempt's request holds its *Attempt by.
var Key any = key{}

// hostKey is the type of HostKey.
type hostKey struct{}

// HostKey is what the context of an attempt's request holds a *string by: the Host of the
// client's request.
var HostKey any = hostKey{}

// proxiedKey is the type of ProxiedKey.
type proxiedKey struct{}

// ProxiedKey is what the context of an attempt's request holds a Proxied by.
var ProxiedKey any = proxiedKey{}

// Proxied is told that the attempt goes by its key's proxy.
type Proxied interface{ GoesByProxy() }

// Unguided is the attempt with a key that names no site.
var Unguided = new(Attempt)

// Of returns the attempt of the context, or nil where there is none: the request has not
// come through keycycler.
func Of(ctx context.Context) *Attempt {
	a, _ := ctx.Value(Key).(*Attempt)
	return a
}

// Text returns the URL of the site, "" where there is none.
func (a *Attempt) Text() string {
	if a == nil || a.Site.Scheme == "" {
		return ""
	}
	return a.Site.String()
}

// Direct puts the site's base path before the request's path, whose escapes stay.
func (a *Attempt) Direct(r *http.Request) {
	base, u := a.Site.Base, r.URL
	if base == "" || !strings.HasPrefix(u.Path, "/") {
		return
	}
	escaped := base + u.EscapedPath()
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return // EscapedPath has made it, and ParseSite has read the base
	}
	u.Path, u.RawPath = path, ""
	if u.EscapedPath() != escaped {
		u.RawPath = escaped
	}
	if strings.HasPrefix(r.RequestURI, "/") {
		r.RequestURI = base + r.RequestURI
	}
}
