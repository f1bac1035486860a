package gateway

import (
	"net/http"
	"slices"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
)

// unknownModel answers a request for a model that no key serves, or none that it may get.
func (x *exchange) unknownModel(w http.ResponseWriter) error {
	x.g.metrics.UnknownModel.Inc()
	if x.unknown() && x.roster.Lots.News(x.model) {
		x.g.announcer.UnknownModel(x.model, x.roster.Pool.Len())
	}
	x.report.Outcome = observe.OutcomeUnknownModel
	return x.g.writeRefusal(w, x.r, provider.Refusal{Model: x.model})
}

// unknown tells whether no key serves the request's model.
func (x *exchange) unknown() bool { return x.roster.Lots.Without(x.model).All }

// offersOf returns what the keys of the source serve, each once.
func offersOf(s *keyset.Source) (all []*catalog.Offer) {
	for _, g := range *s.Groups {
		if g.Place != nil && g.Place.Offer != nil && !slices.Contains(all, g.Place.Offer) {
			all = append(all, g.Place.Offer)
		}
	}
	return all
}

// listed tells whether the request is answered from the list of models, and for which one
// of them; "" stands for all.
func (g *Gateway) listed(r *http.Request) (name string, ok bool) {
	if !g.ModelsEndpoint || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "", false
	}
	return g.Provider.ModelsAt(r.URL.Path)
}

// listModels answers such a request. It calls no upstream.
func (g *Gateway) listModels(w http.ResponseWriter, r *http.Request, client, name string) error {
	report := new(observe.Report)
	report.Begin(r)
	report.Pool, report.Client, report.Outcome = g.seen, client, observe.OutcomeModels
	switch {
	case name == "":
		return g.Provider.WriteModels(w, r.URL.Path, catalog.Names(g.offers))
	case catalog.Has(g.offers, name):
		return g.Provider.WriteModel(w, r.URL.Path, name)
	}
	report.Outcome = observe.OutcomeUnknownModel
	g.metrics.UnknownModel.Inc()
	return g.writeRefusal(w, r, provider.Refusal{Model: name})
}
