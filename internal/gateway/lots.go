package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/rotator"
)

// maxModels is for how many names of models it is remembered who serves them: clients
// choose names. Past it all are forgotten.
const maxModels = 256

// lots are the keys of a roster by what they can serve: those of one place are a lot. It
// is safe for concurrent use.
type lots struct {
	of     []uint16        // slot → its lot; nil: all are of lot 0
	places []*keyset.Place // lot → its place; nil for one of which nothing is said
	picky  bool            // some lots do not serve all models

	mu     sync.RWMutex
	models map[string]unserved
}

// unserved are the lots that do not serve a model. It is never changed.
type unserved struct {
	lots rotator.Lots
	all  bool // no lot serves it
}

// newLots numbers the places of the slots; nil: nothing is said of any.
func newLots(places []*keyset.Place) (*lots, error) {
	if places == nil {
		return &lots{places: []*keyset.Place{nil}}, nil
	}
	l, numbers := &lots{of: make([]uint16, len(places))}, make(map[*keyset.Place]int)
	for s, place := range places {
		n, known := numbers[place]
		if !known {
			n = len(l.places)
			numbers[place], l.places = n, append(l.places, place)
			l.picky = l.picky || isPicky(place)
		}
		l.of[s] = uint16(n)
	}
	if len(l.places) > rotator.MaxRanks {
		return nil, fmt.Errorf("keys of %d different combinations of upstream, proxy and models are too many: at most %d; let more of them have the same", len(l.places), rotator.MaxRanks)
	}
	return l, nil
}

// lot returns the slot's.
func (l *lots) lot(s rotator.Slot) uint16 {
	if l.of == nil {
		return 0
	}
	return l.of[s]
}

// without returns the lots that do not serve the model; "" is that of a request which
// names none. It does not allocate for a name that came lately.
func (l *lots) without(model string) unserved {
	if !l.picky || model == "" {
		return unserved{}
	}
	l.mu.RLock()
	u, known := l.models[model]
	l.mu.RUnlock()
	if !known {
		u = l.look(model)
		l.remember(strings.Clone(model), u)
	}
	return u
}

func (l *lots) look(model string) unserved {
	u := unserved{all: true}
	for lot, place := range l.places {
		if place == nil || place.Offer.Serves(model) {
			u.all = false
		} else {
			u.lots.Add(uint16(lot))
		}
	}
	return u
}

func (l *lots) remember(model string, u unserved) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.models == nil || len(l.models) >= maxModels {
		l.models = make(map[string]unserved)
	}
	l.models[model] = u
}

// isPicky tells whether there are models that the place's keys do not serve. It may get nil.
func isPicky(p *keyset.Place) bool { return p != nil && p.Offer != nil && len(p.Offer.Models) > 0 }

// patterns returns what the lots' models are called in the config, each once, in order.
func (l *lots) patterns() []string {
	seen := make(map[string]struct{})
	for _, place := range l.places {
		if isPicky(place) {
			for _, pattern := range place.Offer.Models {
				seen[pattern] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// shut returns the lots whose keys the request does not get, nil for none: those that do
// not serve its model, and those that have failed it. It is good until the next call.
func (x *exchange) shut() rotator.Lots {
	unserved := x.roster.lots.without(x.model).lots
	switch {
	case len(x.closed) == 0:
		return unserved
	case len(unserved) == 0:
		return x.closed
	}
	x.merged = append(x.merged[:0], unserved...)
	x.merged.Merge(x.closed)
	return x.merged
}

// unknown tells whether no key serves the request's model.
func (x *exchange) unknown() bool { return x.roster.lots.without(x.model).all }

// nameOfLots writes the set so that equal ones are written alike, and an empty one as "".
func nameOfLots(l rotator.Lots) string {
	for len(l) > 0 && l[len(l)-1] == 0 {
		l = l[:len(l)-1]
	}
	if len(l) == 0 {
		return ""
	}
	return fmt.Sprintf("\x00%x", []uint64(l))
}

// offers tells whether keys of the source serve some models only, or by other names.
func offers(s *keyset.Source) bool {
	return slices.ContainsFunc(*s.Groups, func(g keyset.Group) bool { return g.Place != nil && g.Place.Offer != nil })
}
