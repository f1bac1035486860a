package gateway

import (
	"net/http"
	"time"

	"github.com/keycycler/keycycler/internal/resource"
	"github.com/keycycler/keycycler/rotator"
)

// follow begins to look for what the request names, as far as its head says. It returns
// what is to look through the body, or nil.
func (x *exchange) follow(r *http.Request) *resource.Follower {
	x.bound, x.shows = false, false
	api := x.g.resources
	if api == nil {
		return nil
	}
	x.shows = api.Shows(r.URL.Path, r.Header)
	if x.roster.Pool.Resources() == 0 {
		return nil
	}
	f := resource.NewFollower(api, x.roster.Pool, r, time.Now())
	x.followers = append(x.followers, f)
	return f
}

// followed ends what follow began. It may get nil.
func (x *exchange) followed(f *resource.Follower) {
	if f != nil {
		x.owner, x.bound = f.Release()
	}
}

// among returns the slots of the keys that can serve a request which names what one of
// them has made: that key's, which is the first, and those of its group. It returns nil
// for other requests, and where the key was removed from the pool.
func (x *exchange) among() []rotator.Slot {
	if !x.bound {
		return nil
	}
	p, ok := x.roster.Find(x.owner)
	if !ok {
		return nil
	}
	among := []rotator.Slot{p.Slot}
	for _, s := range x.roster.Family(p.Slot) {
		if s != p.Slot {
			among = append(among, s)
		}
	}
	return among
}

// census counts the keys that can serve the request.
func (x *exchange) census(now time.Time) (c rotator.Census, bound bool) {
	among := x.among()
	c = x.roster.Pool.CensusFor(now, rotator.Want{Scope: x.scope, Among: among, Shut: x.shut()})
	if x.drawn.Cramped > 0 {
		x.drawn.Cramp(&c, x.g.Limit.Reason)
	}
	return c, among != nil
}
