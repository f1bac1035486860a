package keycycler

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// maxPresented is how many credentials of one request are looked at: clients send one
// or two.
const maxPresented = 16

// userPlaceholder is where Caddy's authentication handler puts who asks, and where
// access logs look.
const userPlaceholder = "http.auth.user.id"

// clientName is a client's name in {http.auth.user.id}. By its type it is told from
// what an authentication handler has put there: whoever may use the pool is not
// whoever may operate it.
type clientName string

// String returns the name.
func (n clientName) String() string { return string(n) }

// clients are those whom a handler lets in. It is safe for concurrent use.
type clients struct {
	tokens  atomic.Pointer[tokenSet] // changes when a tokens file does
	unwatch func()                   // nil where nothing can change
}

// loadClients reads the tokens that the config wants of clients, and watches them.
func (h *Handler) loadClients() error {
	if !h.wantsTokens() {
		h.logger.Info("no client tokens: whoever reaches this site may use its keys")
		return nil
	}
	in := h.tokenInputs()
	state := in.sources()
	set, err := h.readTokens()
	switch {
	case err != nil:
		return err
	case len(set) == 0:
		return errors.New("client_tokens_file: no token in the files: nobody would be let in")
	}
	h.clients = new(clients)
	h.clients.tokens.Store(&set)
	h.clients.unwatch = in.watch(state, h.reloadTokens, func(err error) {
		h.logger.Warn("client tokens were not read again: going on with the last good ones", zap.Error(err))
	})
	return nil
}

// reloadTokens reads the tokens again. A file that cannot be read changes nothing. One
// that is there and empty takes its tokens away: where none is left, nobody is let in.
func (h *Handler) reloadTokens() error {
	set, err := h.readTokens()
	if err != nil {
		return err
	}
	same := func(a, b *client) bool { return a.name == b.name }
	switch old := *h.clients.tokens.Swap(&set); {
	case maps.EqualFunc(old, set, same):
	case len(set) == 0:
		h.logger.Warn("no client token is left: nobody is let in")
	default:
		h.logger.Info("client tokens have changed", zap.Int("tokens", len(set)))
	}
	return nil
}

// stop ends the watching. c may be nil.
func (c *clients) stop() {
	if c != nil && c.unwatch != nil {
		c.unwatch()
	}
}

// admit returns the client that presents a valid token, nil if none does, and whether
// there was anything to look at. Of several tokens one is enough: software sends a
// default one beside its user's, and more guesses a request help nobody against tokens
// that cannot be guessed in a lifetime.
func (c *clients) admit(r *http.Request) (admitted *client, presented bool) {
	tokens, left := *c.tokens.Load(), maxPresented
	for token := range credentialsOf(r) {
		presented = true
		if admitted = tokens.find(token); admitted != nil {
			return admitted, true
		}
		if left--; left == 0 {
			break
		}
	}
	return nil, presented
}

// find returns the client that has this token. How long it takes to look up a digest
// may tell how much of it is right, but nobody can choose digests: to have one that
// begins as a token's takes as long as guessing, and brings the token no nearer. That
// the digest is the one that was found is compared in constant time all the same.
func (s tokenSet) find(token string) *client {
	if len(token) > maxTokenLen {
		return nil
	}
	var common [512]byte // tokens that fit cost no allocation
	d := digest(sha256.Sum256(append(common[:0], token...)))
	c := s[d]
	if c == nil || subtle.ConstantTimeCompare(c.digest[:], d[:]) != 1 {
		return nil
	}
	return c
}

// tell puts the client's name where Caddy's authentication handler puts a user's,
// unless such a handler has said who asks.
func (c *client) tell(r *http.Request) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if c.name == "" || !ok || userOf(repl) != "" {
		return
	}
	repl.Set(userPlaceholder, c.user)
}

// userOf returns who asks, as an authentication handler found; "" if none has, whoever
// a client token may belong to.
func userOf(repl *caddy.Replacer) string {
	user, _ := repl.Get(userPlaceholder)
	if _, ours := user.(clientName); ours {
		return ""
	}
	return caddy.ToString(user)
}

// letIn tells whether the request may go on, and whose it is.
func (h *Handler) letIn(r *http.Request) (name string, presented, ok bool) {
	if h.clients == nil {
		return "", false, true
	}
	c, presented := h.clients.admit(r)
	if c == nil {
		return "", presented, false
	}
	c.tell(r)
	return c.name, presented, true
}

// unauthorized answers a request without a valid token. It reads nothing of its body,
// and says nothing of what was presented.
func (h *Handler) unauthorized(w http.ResponseWriter, r *http.Request, presented bool) error {
	h.metrics.unauthorized.Inc()
	h.announcer.unauthorized(presented)
	report := reportFor(r)
	report.pool, report.path, report.outcome = h.Pool, r.URL.Path, outcomeUnauthorized
	challenge := `Bearer realm="keycycler"`
	if presented { // RFC 6750 §3.1: no error code where nothing was
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("Www-Authenticate", challenge)
	return h.writeRefusal(w, r, refusal{unauthorized: true})
}
