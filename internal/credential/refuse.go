package credential

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/provider"
)

// allowedMethods is what a client is told that asks for another.
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

var (
	errMethod = errors.New("keycycler: method refused: what answers it repeats the key, or is a forward proxy that would get it")
	errPath   = errors.New("keycycler: path refused: whether it leads to the imitation of OpenAI's API depends on who reads it")
)

// Refuse answers requests that no attempt is made with, and returns nil for others. auth
// is how the key travels; nil: as the preset says.
func Refuse(w http.ResponseWriter, r *http.Request, p *provider.Preset, auth *provider.Auth) error {
	if refusesMethod(r) {
		w.Header().Set("Allow", allowedMethods)
		return caddyhttp.Error(http.StatusMethodNotAllowed, errMethod)
	}
	if auth == nil && p.Ambiguous(r.URL) {
		return caddyhttp.Error(http.StatusBadRequest, errPath)
	}
	return nil
}

// refusesMethod tells whether no attempt is made with the request's method. What
// TRACE (RFC 9110 §9.3.8) and TRACK are answered with is the request as the upstream
// has received it, and so the key. CONNECT is for forward proxies, which would get
// the key in place of their own credentials; an extended CONNECT (RFC 8441 and 9220)
// is a websocket's handshake, and passes.
func refusesMethod(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodGet:
		return false
	case http.MethodConnect:
		return !isExtendedConnect(r)
	}
	return strings.EqualFold(r.Method, http.MethodTrace) || strings.EqualFold(r.Method, "TRACK") ||
		strings.EqualFold(r.Method, http.MethodConnect)
}

// isExtendedConnect tells it as reverse_proxy does: HTTP/2's server keeps the
// protocol in the header, HTTP/3's where the version would stand.
func isExtendedConnect(r *http.Request) bool {
	const websocket = "websocket"
	return r.ProtoMajor == 2 && r.Header.Get(":protocol") == websocket || r.ProtoMajor == 3 && r.Proto == websocket
}
