// Package resource follows what was made with a key: files, batches, stored responses. It
// reads their ids from answers, looks for them in requests, and so finds the key.
//
// Which ids there are is a table of package provider, and who made which is known to the
// engine. How ids are found in requests and answers goes here.
package resource

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/rotator"
)

// Follower finds the first id in a request whose key is known: in the path, the query,
// the client's credentials and then the JSON body, as far as that is read ahead. It is
// not safe for concurrent use.
type Follower struct {
	Scanner peek.StringScanner
	API     *provider.Resources
	pool    *rotator.Pool
	now     time.Time
	text    []byte // that is looked at, to be used again

	owner rotator.ID
	found bool
}

var followers = sync.Pool{New: func() any { return new(Follower) }}

// ClientNotes are JSON members in which ids mean nothing to the upstream.
var ClientNotes = provider.Set("metadata")

// Ended tells whether there is nothing more to look for.
func (f *Follower) Ended() bool { return f.found }

// Write takes the body's next piece.
func (f *Follower) Write(p []byte) {
	if !f.found {
		f.Scanner.Write(p)
	}
}

// TakeValue implements valueTaker.
func (f *Follower) TakeValue(name, value []byte) {
	if !f.found && isSealed(f.API, name, value) {
		f.owner, f.found = f.pool.Owner(f.now, sealed(value))
		return
	}
	f.look(value)
}

// look looks for a known id in text.
func (f *Follower) look(text []byte) {
	if f.found || len(text) == 0 {
		return
	}
	f.API.Ids(text, func(id []byte) bool {
		f.owner, f.found = f.pool.Owner(f.now, f.API.Resource(id))
		return !f.found
	})
}

// lookAt is look for a string, with what stands before it.
func (f *Follower) lookAt(before, text string) {
	f.text = append(append(f.text[:0], before...), text...)
	f.look(f.text)
}

// lookInHead looks where requests name resources but in the body.
func (f *Follower) lookInHead(r *http.Request) {
	f.lookAt("", r.URL.Path)
	if r.URL.RawQuery != "" {
		f.lookAt("?", r.URL.RawQuery)
	}
	// Short-lived secrets that a key has made for a client (ek_…, auth_tokens/…) are
	// taken off as all credentials are: the key that made them stands in for them.
	for _, value := range r.Header["Authorization"] {
		_, secret, _ := strings.Cut(value, " ")
		f.lookAt("", secret)
	}
	for _, offered := range r.Header[credential.ProtocolHeader] {
		for protocol := range strings.SplitSeq(offered, ",") {
			if _, secret, ok := strings.Cut(protocol, provider.CredentialProtocols[0]); ok {
				f.lookAt("", secret)
			}
		}
	}
}

// NewFollower returns what looks for an id whose key the pool knows: by now in the head of
// the request, later in what it is given of the body. Give it back with release.
func NewFollower(api *provider.Resources, pool *rotator.Pool, r *http.Request, now time.Time) *Follower {
	f := followers.Get().(*Follower)
	f.API, f.pool, f.now, f.found = api, pool, now, false
	f.Scanner.Begin(f, false, ClientNotes)
	f.lookInHead(r)
	return f
}

// Release gives f back, and tells whose what the request names is, if it was found.
func (f *Follower) Release() (owner rotator.ID, found bool) {
	owner, found = f.owner, f.found
	f.pool = nil
	followers.Put(f)
	return owner, found
}
