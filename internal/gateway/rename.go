package gateway

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/replay"
	"github.com/keycycler/keycycler/rotator"
)

// collection stands before the name of a model where Google's APIs name it as a resource.
const collection = "models/"

// renames tells whether models have other names where any of the keys work.
func renames(keys *keyset.Source) bool {
	return slices.ContainsFunc(*keys.Groups, func(g keyset.Group) bool {
		return g.Place != nil && hasRenames(g.Place.Offer)
	})
}

func hasRenames(o *catalog.Offer) bool { return o != nil && len(o.Renames) > 0 }

// namer returns how models are called where the slot's key works, or nil where that is how
// clients call them.
func (x *exchange) namer(s rotator.Slot) func(model string) (string, bool) {
	offer := x.roster.Place(s).Offer
	if !hasRenames(offer) {
		return nil
	}
	return func(model string) (string, bool) { return nameThere(offer, model) }
}

// renameInURL gives the attempt's URL the name that its model has where the slot's key
// works. The client's request, and what is told of it, stay as they are.
func (x *exchange) renameInURL(request *http.Request, s rotator.Slot) {
	if name := x.namer(s); name != nil {
		request.RequestURI = peek.RenameInURL(request.URL, request.RequestURI, name)
	}
}

// renameInBody is renameInURL for the attempt's body.
func (x *exchange) renameInBody(body *replay.AttemptBody, request *http.Request, s rotator.Slot) {
	if name := x.namer(s); name != nil && !body.Rename(request, name) {
		x.g.unrenamed.tell(x.g)
	}
}

// nameThere returns what the offer calls the model. Where the client has named it as a
// resource, the new name is one as well.
func nameThere(offer *catalog.Offer, model string) (string, bool) {
	bare, isResource := strings.CutPrefix(model, collection)
	name, other := offer.Name(bare)
	if other && isResource && !strings.HasPrefix(name, collection) {
		name = collection + name
	}
	return name, other
}

// unrenamed tells once that a body goes out with the client's name of the model.
type unrenamed struct{ told atomic.Bool }

func (u *unrenamed) tell(g *Gateway) {
	if u.told.CompareAndSwap(false, true) {
		g.Logger.Warn("the model is not renamed in some bodies: they are compressed and too large, or name it very often")
	}
}
