// Package client lets requests in that present a valid client token, and tells others
// apart from them. A pool without tokens lets everybody in.
//
// It knows Caddy's placeholders and where requests carry credentials, and nothing of keys
// or attempts. What a token allows goes here.
package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/credential"
)

// MaxPresented is how many credentials of one request are looked at: clients send one
// or two.
const MaxPresented = 16

// UserPlaceholder is where Caddy's authentication handler puts who asks, and where
// access logs look.
const UserPlaceholder = "http.auth.user.id"

// clientName is a client's name in {http.auth.user.id}. By its type it is told from
// what an authentication handler has put there: whoever may use the pool is not
// whoever may operate it.
type clientName string

// String returns the name.
func (n clientName) String() string { return string(n) }

// Clients are those whom a handler lets in. It is safe for concurrent use.
type Clients struct {
	source  *Source
	tokens  atomic.Pointer[tokenSet] // changes when a tokens file does
	unwatch func()                   // nil where nothing can change
}

// New reads the tokens and watches them.
func New(source *Source) (*Clients, error) {
	in := source.From
	state := in.Sources()
	set, err := source.read()
	switch {
	case err != nil:
		return nil, err
	case len(set) == 0:
		return nil, errors.New("client_tokens_file: no token in the files: nobody would be let in")
	}
	c := &Clients{source: source}
	c.tokens.Store(&set)
	source.tellStrangers(set)
	c.unwatch = in.Watch(state, c.reload, func(err error) {
		source.Log.Warn("client tokens were not read again: going on with the last good ones", zap.Error(err))
	})
	return c, nil
}

// reload reads the tokens again. A file that cannot be read changes nothing. One
// that is there and empty takes its tokens away: where none is left, nobody is let in.
func (c *Clients) reload() error {
	set, err := c.source.read()
	if err != nil {
		return err
	}
	same := func(a, b *Client) bool { return a.Name == b.Name }
	switch old := *c.tokens.Swap(&set); {
	case maps.EqualFunc(old, set, same):
	case len(set) == 0:
		c.source.Log.Warn("no client token is left: nobody is let in")
	default:
		c.source.Log.Info("client tokens have changed", zap.Int("tokens", len(set)))
	}
	return nil
}

// Stop ends the watching. c may be nil.
func (c *Clients) Stop() {
	if c != nil && c.unwatch != nil {
		c.unwatch()
	}
}

// Admit returns the client that presents a valid token, nil if none does, and whether
// there was anything to look at. Of several tokens one is enough: software sends a
// default one beside its user's, and more guesses a request help nobody against tokens
// that cannot be guessed in a lifetime.
func (c *Clients) Admit(r *http.Request) (admitted *Client, presented bool) {
	tokens, left := *c.tokens.Load(), MaxPresented
	for token := range credential.Of(r) {
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
func (s tokenSet) find(token string) *Client {
	if len(token) > credential.MaxLen {
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

// Tell puts the client's name where Caddy's authentication handler puts a user's,
// unless such a handler has said who asks.
func (c *Client) Tell(r *http.Request) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if c.Name == "" || !ok || UserOf(repl) != "" {
		return
	}
	repl.Set(UserPlaceholder, c.user)
}

// UserOf returns who asks, as an authentication handler found; "" if none has, whoever
// a client token may belong to.
func UserOf(repl *caddy.Replacer) string {
	user, _ := repl.Get(UserPlaceholder)
	if _, ours := user.(clientName); ours {
		return ""
	}
	return caddy.ToString(user)
}
