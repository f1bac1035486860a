package gateway

import (
	"hash/fnv"
	"net/http"

	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/internal/session"
	"github.com/keycycler/keycycler/rotator"
)

// seeksSessions tells whether keys are chosen by the conversation.
func (g *Gateway) seeksSessions() bool {
	return g.Sessions || g.Hash == observe.PlaceholderPrefix+"session"
}

// seekSession begins to look for the request's conversation, where keys are chosen by it. It
// returns what is to look through the body, or nil where the header tells.
func (x *exchange) seekSession(r *http.Request) *session.Finder {
	if !x.g.seeksSessions() {
		return nil
	}
	if x.session.ID = session.Named(r.Header); x.session.ID != 0 || !replay.Has(r) {
		return nil
	}
	f := session.NewFinder()
	x.followers = append(x.followers, f)
	return f
}

// foundSession ends what seekSession began. It may get nil.
func (x *exchange) foundSession(f *session.Finder) {
	if f != nil {
		x.session = f.Release()
	}
	x.report.Session = x.session.ID
	clear(x.followers)
	x.followers = x.followers[:0]
}

// home returns the slot of the key that the request's conversation is with, plus one; 0: of
// none that the roster has.
func (x *exchange) home() rotator.Slot {
	if !x.g.Sessions || x.session.ID == 0 {
		return 0
	}
	id, ok := x.roster.Pool.Home(x.lodger(x.session.ID))
	if !ok {
		return 0
	}
	place, ok := x.roster.Find(id)
	if !ok {
		return 0
	}
	return place.Slot + 1
}

// moveIn notes that the request's conversation is with the key which has served it, also by
// how it begins: of longer requests that may be all that is seen.
func (x *exchange) moveIn() {
	if !x.g.Sessions || x.session.ID == 0 {
		return
	}
	x.roster.Pool.SetHome(x.lodger(x.session.ID), x.drawn.Slot)
	if x.session.Prompt != x.session.ID {
		x.roster.Pool.SetHome(x.lodger(x.session.Prompt), x.drawn.Slot)
	}
}

// lodger returns the conversation as one of this pool: others may have keys of their own for
// it.
func (x *exchange) lodger(id session.ID) rotator.Session {
	if id == 0 {
		return 0
	}
	return rotator.Session(uint64(id) ^ x.g.salt)
}

// saltOf tells pools of different names apart.
func saltOf(pool string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(pool))
	return h.Sum64()
}
