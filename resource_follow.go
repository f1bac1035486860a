package keycycler

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

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

// follow begins to look for what the request names, as far as its head says. It returns
// what is to look through the body, or nil.
func (x *exchange) follow(r *http.Request) *follower {
	x.bound, x.shows = false, false
	api := x.h.resources
	if api == nil {
		return nil
	}
	x.shows = api.shows(r.URL.Path, r.Header)
	if x.roster.pool.Resources() == 0 {
		return nil
	}
	f := followers.Get().(*follower)
	f.api, f.pool, f.now, f.found = api, x.roster.pool, time.Now(), false
	f.scanner.begin(f, false, clientNotes)
	f.lookInHead(r)
	return f
}

// followed ends what follow began. It may get nil.
func (x *exchange) followed(f *follower) {
	if f == nil {
		return
	}
	x.owner, x.bound = f.owner, f.found
	f.pool = nil
	followers.Put(f)
}

// among returns the slots of the keys that can serve a request which names what one of
// them has made: that key's, which is the first, and those of its group. It returns nil
// for other requests, and where the key was removed from the pool.
func (x *exchange) among() []rotator.Slot {
	if !x.bound {
		return nil
	}
	p, ok := x.roster.find(x.owner)
	if !ok {
		return nil
	}
	among := []rotator.Slot{p.slot}
	for _, s := range x.roster.family(p.slot) {
		if s != p.slot {
			among = append(among, s)
		}
	}
	return among
}

// census counts the keys that can serve the request.
func (x *exchange) census(now time.Time) (c rotator.Census, bound bool) {
	if among := x.among(); among != nil {
		return x.roster.pool.CensusAmong(now, x.scope, among), true
	}
	return x.roster.pool.CensusIn(now, x.scope), false
}

// exhaustedOwner tells that none of the keys is ready that can serve a request for what
// one of them has made.
func (a *announcer) exhaustedOwner(keys int, f refusal) {
	if e := a.sampled.Check(zapcore.WarnLevel, "no key is ready that can use the resource"); e != nil {
		e.Write(zap.Int("keys", keys), zap.String("class", f.reason()), zap.Float64("seconds", f.wait.Seconds()))
	}
}
