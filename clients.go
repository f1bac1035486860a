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
	source  *tokenSource
	tokens  atomic.Pointer[tokenSet] // changes when a tokens file does
	unwatch func()                   // nil where nothing can change
}

// newClients reads the tokens and watches them.
func newClients(source *tokenSource) (*clients, error) {
	in := source.from
	state := in.sources()
	set, err := source.read()
	switch {
	case err != nil:
		return nil, err
	case len(set) == 0:
		return nil, errors.New("client_tokens_file: no token in the files: nobody would be let in")
	}
	c := &clients{source: source}
	c.tokens.Store(&set)
	c.unwatch = in.watch(state, c.reload, func(err error) {
		source.log.Warn("client tokens were not read again: going on with the last good ones", zap.Error(err))
	})
	return c, nil
}

// reload reads the tokens again. A file that cannot be read changes nothing. One
// that is there and empty takes its tokens away: where none is left, nobody is let in.
func (c *clients) reload() error {
	set, err := c.source.read()
	if err != nil {
		return err
	}
	same := func(a, b *client) bool { return a.name == b.name }
	switch old := *c.tokens.Swap(&set); {
	case maps.EqualFunc(old, set, same):
	case len(set) == 0:
		c.source.log.Warn("no client token is left: nobody is let in")
	default:
		c.source.log.Info("client tokens have changed", zap.Int("tokens", len(set)))
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
