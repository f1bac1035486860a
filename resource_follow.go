package keycycler

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// follower finds the first id in a request whose key is known: in the path, the query,
// the client's credentials and then the JSON body, as far as that is read ahead. It is
// not safe for concurrent use.
type follower struct {
	scanner stringScanner
	api     *resourceAPI
	pool    *rotator.Pool
	now     time.Time
	text    []byte // that is looked at, to be used again

	owner rotator.ID
	found bool
}

var followers = sync.Pool{New: func() any { return new(follower) }}

// clientNotes are JSON members in which ids mean nothing to the upstream.
var clientNotes = set("metadata")

// ended tells whether there is nothing more to look for.
func (f *follower) ended() bool { return f.found }

// write takes the body's next piece.
func (f *follower) write(p []byte) {
	if !f.found {
		f.scanner.write(p)
	}
}

// takeValue implements valueTaker.
func (f *follower) takeValue(_, value []byte) { f.look(value) }

// look looks for a known id in text.
func (f *follower) look(text []byte) {
	if f.found || len(text) == 0 {
		return
	}
	f.api.ids(text, func(id []byte) bool {
		f.owner, f.found = f.pool.Owner(f.now, f.api.resource(id))
		return !f.found
	})
}

// lookAt is look for a string, with what stands before it.
func (f *follower) lookAt(before, text string) {
	f.text = append(append(f.text[:0], before...), text...)
	f.look(f.text)
}

// lookInHead looks where requests name resources but in the body.
func (f *follower) lookInHead(r *http.Request) {
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
	for _, offered := range r.Header[protocolHeader] {
		for protocol := range strings.SplitSeq(offered, ",") {
			if _, secret, ok := strings.Cut(protocol, credentialProtocols[0]); ok {
				f.lookAt("", secret)
			}
		}
	}
}

// newFollower returns what looks for an id whose key the pool knows: by now in the head of
// the request, later in what it is given of the body. Give it back with release.
func newFollower(api *resourceAPI, pool *rotator.Pool, r *http.Request, now time.Time) *follower {
	f := followers.Get().(*follower)
	f.api, f.pool, f.now, f.found = api, pool, now, false
	f.scanner.begin(f, false, clientNotes)
	f.lookInHead(r)
	return f
}

// release gives f back, and tells whose what the request names is, if it was found.
func (f *follower) release() (owner rotator.ID, found bool) {
	owner, found = f.owner, f.found
	f.pool = nil
	followers.Put(f)
	return owner, found
}
